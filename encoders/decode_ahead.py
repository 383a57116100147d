"""Decode videos ahead of their use, in a bounded number of worker processes.

Each worker decodes one video at a time on one thread; its pixels come back through a pipe straight into the returned
array. A worker that dies is restarted and its video tried once more. A video that can't be decoded, takes too long or
kills its worker twice is an error of that video alone; if no worker can be started at all, that is an error at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import Self

import numpy as np
from numpy.typing import NDArray

from encoders.frames import Backend, Frames, read_frames
from encoders.sampling import FramePolicy
from encoders.video_errors import (
    DecodeFaultError,
    DecoderStartError,
    DecodeTimeoutError,
    DecodeWorkerError,
    UnreadableVideoError,
    memory_error,
)
from tasks.errors import LongvidError
from tasks.task import Clip

WORKER_NAME = "longvid-decoder"
TRIES = 2
UNGUARDED = 78
"""The exit status of a worker that tried to start workers itself."""
GUARD = (
    "if your own script started it, guard the script's code: put it under "
    "'if __name__ == \"__main__\":', because each worker imports the script once more"
)
CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT})
_DEATH_SECONDS = 5.0
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True, eq=False)
class DecodedClip:
    """One clip's frames, or the error instead, with the time taken.

    `decode_seconds` were spent in the worker, `wait_seconds` by the caller.
    """

    clip: Clip
    frames: Frames | None
    error: LongvidError | None
    decode_seconds: float
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class AheadPolicy:
    """How far ahead to decode: `workers` processes, at most `ahead` videos decoded or in progress.

    Memory is bounded by `ahead` videos' frames and `workers` decoders. A video that takes longer than
    `timeout` seconds becomes a DecodeTimeoutError; a worker that is not ready after `start_timeout`, a
    DecoderStartError.
    """

    workers: int = 2
    ahead: int = 4
    timeout: float = 600.0
    start_timeout: float = 300.0
    backend: Backend = "pyav"


def decode_ahead(
    clips: Iterable[Clip], policy: FramePolicy, ahead: AheadPolicy | None = None
) -> Generator[DecodedClip, None, None]:
    """Yield every clip in the given order, decoded while earlier ones are in use.

    The workers end with the iterator: exhausted, closed or dropped by an exception. Raises DecoderStartError.
    """
    with Decoders(ahead or AheadPolicy()) as decoders:
        yield from decoders.decode(clips, policy)


class Decoders:
    """The worker processes, for any number of successive calls of `decode`; they end with the context."""

    def __init__(self, ahead: AheadPolicy) -> None:
        if multiprocessing.current_process().name == WORKER_NAME:
            # A worker imports the script that started it. A script without a guard would do all of its work again
            # here, into the same files, while its parent waits.
            os._exit(UNGUARDED)
        self._ahead = ahead
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._workers = [_Worker(ahead) for _ in range(ahead.workers)]
        for worker in self._workers:
            self._idle.put(worker)
        self._pool = ThreadPoolExecutor(ahead.workers, thread_name_prefix="decode-ahead")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.end()

    def start(self, most: int) -> None:
        """Start at most `most` workers and wait for the first. Raises DecoderStartError if none can start."""
        starts = [self._pool.submit(_start_one, self._idle) for _ in range(min(most, len(self._workers)))]
        for first in wait(starts, return_when=FIRST_COMPLETED).done:
            first.result()

    def decode(self, clips: Iterable[Clip], policy: FramePolicy) -> Generator[DecodedClip, None, None]:
        """Do the same as `decode_ahead`; if the iterator is dropped, clips in progress are finished, and no others."""
        pending: deque[Future[DecodedClip]] = deque()
        source = iter(clips)
        try:
            while True:
                while len(pending) < max(self._ahead.ahead, 1) and (clip := next(source, None)) is not None:
                    pending.append(self._pool.submit(_decode_with, self._idle, clip, policy))
                if not pending:
                    return
                asked = time.perf_counter()
                done = pending.popleft().result()
                waited = time.perf_counter() - asked
                yield DecodedClip(done.clip, done.frames, done.error, done.decode_seconds, waited)
        finally:
            for future in pending:
                future.cancel()


def _start_one(idle: SimpleQueue[_Worker]) -> None:
    worker = idle.get()
    try:
        worker.start()
    finally:
        idle.put(worker)


def _decode_with(idle: SimpleQueue[_Worker], clip: Clip, policy: FramePolicy) -> DecodedClip:
    worker = idle.get()
    began = time.perf_counter()
    try:
        return worker.decode(clip, policy)
    except DecoderStartError:
        raise
    except LongvidError as error:
        return DecodedClip(clip, None, error, time.perf_counter() - began, 0.0)
    except MemoryError as error:
        return DecodedClip(clip, None, memory_error(clip.path, error), time.perf_counter() - began, 0.0)
    finally:
        idle.put(worker)


class _Worker:
    """A decoding process; started when first needed, and restarted when it has died."""

    def __init__(self, ahead: AheadPolicy) -> None:
        self._ahead = ahead
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._busy = False
        self._stopped = False
        self._fault: DecoderStartError | None = None

    def decode(self, clip: Clip, policy: FramePolicy) -> DecodedClip:
        """Decode a clip, with a second process if the first dies, which may not be the clip's fault.

        Raises VideoError, and DecoderStartError if no process can be started.
        """
        code: int | None = None
        for _ in range(TRIES):
            pipe = None if self._stopped else self.start()
            if pipe is not None:
                try:
                    return self._ask(pipe, clip, policy)
                except (EOFError, OSError):
                    code = self.end(_DEATH_SECONDS)
            if self._stopped:
                raise DecodeWorkerError(f"{clip.path}: decoding was stopped")
        raise DecodeWorkerError(f"{clip.path}: {_death(code)}")

    def start(self) -> Connection | None:
        """Return the pipe to a ready process; None if it was killed before. Raises DecoderStartError."""
        if self._fault is not None:
            raise self._fault
        if self._busy:
            # Data left in the pipe would be taken for the next clip's.
            self.end()
        if self._pipe is not None:
            return self._pipe
        pipe = self._spawn()
        try:
            if pipe.poll(self._ahead.start_timeout):
                pipe.recv()
                return pipe
            reason = f"a decoding process was not ready after {self._ahead.start_timeout:g} s; {GUARD}"
            self.end()
        except (EOFError, OSError):
            code = self.end(_DEATH_SECONDS)
            if self._stopped or code is None or code < 0:
                return None
            reason = _failed_start(code)
        self._fault = DecoderStartError(reason)
        raise self._fault

    def _spawn(self) -> Connection:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_serve, args=(theirs,), daemon=True, name=WORKER_NAME)
        try:
            with _interrupts_held():
                process.start()
        except OSError as error:
            ours.close()
            raise DecoderStartError(f"no decoding process can be started: {error.strerror or error}") from error
        finally:
            theirs.close()
        self._process, self._pipe = process, ours  # only now: another thread may kill the current process
        if self._stopped:
            process.kill()
        return ours

    def _ask(self, pipe: Connection, clip: Clip, policy: FramePolicy) -> DecodedClip:
        self._busy = True
        pipe.send((clip, policy, self._ahead.backend))
        if not pipe.poll(self._ahead.timeout):
            self.end()
            raise DecodeTimeoutError(
                f"{clip.path}: decoding took longer than {self._ahead.timeout:g} s and was stopped"
            )
        done = _receive(pipe, clip)
        self._busy = False
        return done

    def stop(self) -> None:
        """Kill the process and start no other; a waiting caller gets a DecodeWorkerError."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def end(self, patience: float = 0.0) -> int | None:
        """Kill the process unless it ends within `patience` seconds, free its resources, and return its exit status."""
        code = None
        if self._process is not None:
            self._process.join(patience)
            code = self._process.exitcode
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None
        self._busy = False
        return code


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes inside this context with SIGINT blocked, which would print a traceback while they import."""
    with _blocked(signal.SIGHUP):
        # Python's own helper process ignores the signals that close a terminal; without that, the next start would
        # print a warning about its end. It unblocks SIGINT if it is started together with the first process.
        resource_tracker.ensure_running()
    with _blocked(signal.SIGINT):
        yield


@contextmanager
def _blocked(one: signal.Signals) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {one})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _failed_start(code: int) -> str:
    if code == UNGUARDED:
        return (
            "the script that is run decodes videos as soon as it is imported, and each decoding process imports it "
            "once more: guard your script, that is, put what it does under 'if __name__ == \"__main__\":'"
        )
    return f"a decoding process ended while it started (exit status {code}; its messages are above); {GUARD}"


def _death(code: int | None) -> str:
    """Describe how the processes that were asked for a clip ended, `TRIES` times."""
    if code is not None and -code in CRASHES:
        return f"decoding it crashed {TRIES} processes ({signal.strsignal(-code)}); the file may be damaged"
    if code is not None and code >= 0:
        return f"{TRIES} processes decoding it ended with exit status {code}, which is not the file's fault"
    how = f" ({signal.strsignal(-code)})" if code is not None else ""
    return (
        f"{TRIES} processes decoding it were killed from outside{how}, as happens when memory runs out: "
        "use fewer workers, or fewer or smaller frames"
    )


def _receive(pipe: Connection, clip: Clip) -> DecodedClip:
    header = pipe.recv()
    if isinstance(header, DecodedClip):
        return header
    shape, seconds, frame_seconds, share, spent = header
    pixels = np.empty(shape, dtype=np.uint8)
    pipe.recv_bytes_into(pixels.reshape(-1).data)
    return DecodedClip(clip, Frames(pixels, seconds, frame_seconds, share), None, spent, 0.0)


def _serve(pipe: Connection) -> None:
    """Answer requests until the pipe closes; an interrupt is the parent's to handle, other signals end it silently."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for other in (signal.SIGTERM, signal.SIGHUP):
        # Handlers that the script set on import were meant for its own process; those of `nohup` are kept.
        if callable(signal.getsignal(other)):
            signal.signal(other, signal.SIG_DFL)
    # The parent may be gone at any moment.
    with suppress(EOFError, OSError), ThreadPoolExecutor(1) as decoding:
        pipe.send(None)
        while True:
            header, pixels = _attempt(decoding, *pipe.recv())
            pipe.send(header)
            if pixels is not None:
                pipe.send_bytes(pixels.reshape(-1).data)


def _attempt(
    decoding: ThreadPoolExecutor, clip: Clip, policy: FramePolicy, backend: Backend
) -> tuple[DecodedClip | tuple[object, ...], NDArray[np.uint8] | None]:
    """Return what is sent back: the frames' shape and times with their pixels, or the error alone."""
    began = time.perf_counter()
    # The future keeps whatever is raised.
    outcome = decoding.submit(read_frames, clip, policy, backend=backend)
    error = outcome.exception()
    spent = time.perf_counter() - began
    if error is not None:
        return DecodedClip(clip, None, blamed(clip, error), spent, 0.0), None
    frames = outcome.result()
    return (frames.pixels.shape, frames.seconds, frames.frame_seconds, frames.share_of_clip, spent), frames.pixels


def blamed(clip: Clip, error: BaseException) -> LongvidError:
    """Return an error that says whose fault it is: the file's, the machine's or the program's."""
    if isinstance(error, LongvidError):
        return error
    if isinstance(error, MemoryError):
        return memory_error(clip.path, error)
    if isinstance(error, OSError):
        return UnreadableVideoError(f"{clip.path}: can't be read ({error.strerror or error})")
    last = traceback.extract_tb(error.__traceback__)[-1]
    return DecodeFaultError(
        f"{clip.path}: decoding failed because of a fault in longvid, not in the file: please report it "
        f"({type(error).__name__}: {error}, {Path(last.filename).name} line {last.lineno})"
    )


@dataclass(frozen=True, slots=True, eq=False)
class ReadClip:
    """A clip's frames, the seconds that decoding took (anywhere), and the seconds that the caller waited."""

    frames: Frames
    decode_seconds: float
    wait_seconds: float

    @property
    def seconds(self) -> dict[str, float]:
        """The seconds by stage for a trace: only waiting delayed the model."""
        return {"decode": self.decode_seconds, "wait": self.wait_seconds}


@dataclass(frozen=True, slots=True)
class Reading:
    """`workers` processes decode ahead, up to `batch` clips that are asked for at once and as many to follow.

    A single unannounced clip is decoded in this process by `threads` threads.
    """

    workers: int = 2
    batch: int = 8
    threads: int = 1

    @property
    def ahead(self) -> AheadPolicy:
        """Enough to fill the next batch while one is in use, and to keep every worker busy."""
        return AheadPolicy(self.workers, self.batch + 2 * self.workers)


class FrameSource:
    """Reads frames of clips with one policy, for one thread; memory is bounded by `Reading` for any length of run."""

    def __init__(self, policy: FramePolicy, reading: Reading) -> None:
        self._policy = policy
        self._reading = reading
        self._expected: set[Clip] = set()
        self._stream: Iterator[DecodedClip] = iter(())
        self._decoders: Decoders | None = None
        # Seconds until the workers were ready: waiting for the first clip's frames.
        self._starting = 0.0
        # Frames of the last batch: if one of its clips is bad, the others are asked for again.
        self._held: OrderedDict[Clip, DecodedClip] = OrderedDict()

    @property
    def reading(self) -> Reading:
        """How frames are read."""
        return self._reading

    @contextmanager
    def ahead(self, clips: Iterable[Clip]) -> Generator[None, None, None]:
        """Within this context, `clips` are decoded in order, each once, while earlier ones are in use.

        The workers end with the context, however it ends; a nested context shares the outer one's workers. Raises
        DecoderStartError if none can start.
        """
        expected = list(dict.fromkeys(clips))
        before = self._expected, self._stream
        with self._started() as decoders, closing(decoders.decode(expected, self._policy)) as stream:
            # Started here, because at the first clip a failure would be taken for that clip's error.
            began = perf_counter()
            decoders.start(len(expected))
            self._starting = perf_counter() - began
            self._expected, self._stream = set(expected), stream
            try:
                yield
            finally:
                self._expected, self._stream = before
                self._held.clear()

    @contextmanager
    def _started(self) -> Generator[Decoders, None, None]:
        if self._decoders is not None:
            yield self._decoders
            return
        with Decoders(self._reading.ahead) as decoders:
            self._decoders = decoders
            try:
                yield decoders
            finally:
                self._decoders = None

    @contextmanager
    def holding(self, decoded: Iterable[DecodedClip]) -> Generator[None, None, None]:
        """Within this context, these clips are available without waiting."""
        before = self._held
        self._held = OrderedDict((one.clip, one) for one in decoded)
        try:
            yield
        finally:
            self._held = before

    def read(self, clips: Sequence[Clip]) -> list[ReadClip]:
        """Return the frames of each clip. Raises the first VideoError: the caller decides what a bad video means."""
        announced = [clip for clip in clips if clip in self._expected or clip in self._held]
        others = [clip for clip in dict.fromkeys(clips) if clip not in announced]
        apart = dict(zip(others, self._read_apart(others), strict=True))
        return [_usable(apart[clip] if clip in apart else self._take(clip)) for clip in clips]

    def _take(self, clip: Clip) -> DecodedClip:
        if clip in self._held:
            self._held.move_to_end(clip)
            done = self._held[clip]
            return DecodedClip(done.clip, done.frames, done.error, 0.0, 0.0)
        waited, self._starting = self._starting, 0.0
        for done in self._stream:
            waited += done.wait_seconds
            self._expected.discard(done.clip)
            self._held[done.clip] = done
            while len(self._held) > max(self._reading.batch, 1):
                self._held.popitem(last=False)
            if done.clip == clip:
                return DecodedClip(clip, done.frames, done.error, done.decode_seconds, waited)
        return next(iter(self._read_apart([clip])))

    def _read_apart(self, clips: Sequence[Clip]) -> Iterable[DecodedClip]:
        """Decode unannounced clips: several by workers, a single one in this process."""
        if len(clips) != 1:
            with self._started() as decoders:
                return list(decoders.decode(clips, self._policy))
        began = perf_counter()
        try:
            frames, error = read_frames(clips[0], self._policy, threads=self._reading.threads), None
        except LongvidError as fault:
            frames, error = None, fault
        except MemoryError as fault:
            frames, error = None, memory_error(clips[0].path, fault)
        spent = perf_counter() - began
        return [DecodedClip(clips[0], frames, error, spent, spent)]


def _usable(done: DecodedClip) -> ReadClip:
    if done.frames is None:
        raise done.error or RuntimeError(f"{done.clip.video_id}: no frames and no error")
    return ReadClip(done.frames, done.decode_seconds, done.wait_seconds)
