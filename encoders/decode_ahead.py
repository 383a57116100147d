"""Videos decoded ahead of whoever looks at them, in a bounded number of worker processes.

Each worker decodes one video at a time on one thread; its pixels come back through a pipe straight into
the array that is handed on. A worker that dies is started again and its video tried once more. A video that cannot be
decoded, takes too long or kills its worker twice is an error of that video alone; where no worker can be started at
all, that is an error at once.
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
"""The exit status of a worker that was about to start workers of its own."""
GUARD = (
    "if it was started by a script of your own, guard what the script does: put it under "
    "'if __name__ == \"__main__\":', because each worker imports the script once more"
)
CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT})
_DEATH_SECONDS = 5.0
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True, eq=False)
class DecodedClip:
    """One clip's frames, or the error it gave instead, with what it cost.

    `decode_seconds` were spent in the worker, `wait_seconds` by whoever asked for it.
    """

    clip: Clip
    frames: Frames | None
    error: LongvidError | None
    decode_seconds: float
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class AheadPolicy:
    """How far ahead to decode: `workers` processes, at most `ahead` videos decoded or being decoded.

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

    The workers end when the iterator does: exhausted, closed or dropped by an exception. Raises DecoderStartError.
    """
    with Decoders(ahead or AheadPolicy()) as decoders:
        yield from decoders.decode(clips, policy)


class Decoders:
    """The worker processes, for any number of calls of `decode` after each other; they end with the context."""

    def __init__(self, ahead: AheadPolicy) -> None:
        if multiprocessing.current_process().name == WORKER_NAME:
            # A worker imports the script that started it. One that does its work when imported would do all of it a
            # second time here, into the same files, while its starter waits.
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
        """Start at most so many workers and wait for the first. Raises DecoderStartError where none can work."""
        starts = [self._pool.submit(_start_one, self._idle) for _ in range(min(most, len(self._workers)))]
        for first in wait(starts, return_when=FIRST_COMPLETED).done:
            first.result()

    def decode(self, clips: Iterable[Clip], policy: FramePolicy) -> Generator[DecodedClip, None, None]:
        """As `decode_ahead`; where the iterator is dropped, what has begun is decoded to its end, and nothing more."""
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
    """A process that decodes what it is sent; started when first needed, and again when it died."""

    def __init__(self, ahead: AheadPolicy) -> None:
        self._ahead = ahead
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._busy = False
        self._stopped = False
        self._fault: DecoderStartError | None = None

    def decode(self, clip: Clip, policy: FramePolicy) -> DecodedClip:
        """A clip decoded, by a second process where the first dies: it may have been killed for no fault of the clip's.

        Raises VideoError, and DecoderStartError where no process can be started.
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
        """The pipe to a process that is ready; None where it was killed before. Raises DecoderStartError."""
        if self._fault is not None:
            raise self._fault
        if self._busy:
            # What is left in the pipe would be taken for the next clip's.
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
        self._process, self._pipe = process, ours  # only now: another thread may kill what is there
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
        """Kill the process and start no other; whoever waits for it gets a DecodeWorkerError."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def end(self, patience: float = 0.0) -> int | None:
        """Kill the process unless it ends within `patience` seconds, free what it held, and return its exit status."""
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
    """What is started within it is born with SIGINT blocked: while it imports, that would be a traceback of its own."""
    with _blocked(signal.SIGHUP):
        # Python's own helper: born deaf to what closes a terminal, or it would be missed, aloud, at the next start. It
        # unblocks SIGINT where it is started together with the first process.
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
    return f"a decoding process ended while it started (exit status {code}; its own words stand above); {GUARD}"


def _death(code: int | None) -> str:
    """How a process that was asked for a clip ended, `TRIES` times."""
    if code is not None and -code in CRASHES:
        return f"decoding it crashed {TRIES} processes ({signal.strsignal(-code)}); the file may be damaged"
    if code is not None and code >= 0:
        return f"{TRIES} processes that were to decode it ended with exit status {code}, through no fault of the file's"
    how = f" ({signal.strsignal(-code)})" if code is not None else ""
    return (
        f"{TRIES} processes that were to decode it were killed from outside{how}, as happens where memory runs out: "
        "take fewer workers, or fewer or smaller frames"
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
        # What the script set when it was imported was meant for its own process; what `nohup` set stays.
        if callable(signal.getsignal(other)):
            signal.signal(other, signal.SIG_DFL)
    # Whoever asked may be gone at any moment.
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
    """What is sent back: the frames' shape and times with their pixels, or the error alone."""
    began = time.perf_counter()
    # A future keeps whatever is raised.
    outcome = decoding.submit(read_frames, clip, policy, backend=backend)
    error = outcome.exception()
    spent = time.perf_counter() - began
    if error is not None:
        return DecodedClip(clip, None, blamed(clip, error), spent, 0.0), None
    frames = outcome.result()
    return (frames.pixels.shape, frames.seconds, frames.frame_seconds, frames.share_of_clip, spent), frames.pixels


def blamed(clip: Clip, error: BaseException) -> LongvidError:
    """An error by whose fault it is: the file's, the machine's or the program's."""
    if isinstance(error, LongvidError):
        return error
    if isinstance(error, MemoryError):
        return memory_error(clip.path, error)
    if isinstance(error, OSError):
        return UnreadableVideoError(f"{clip.path}: can't be read ({error.strerror or error})")
    last = traceback.extract_tb(error.__traceback__)[-1]
    return DecodeFaultError(
        f"{clip.path}: decoding failed through a fault of longvid's, not of the file's: please report it "
        f"({type(error).__name__}: {error}, {Path(last.filename).name} line {last.lineno})"
    )


@dataclass(frozen=True, slots=True, eq=False)
class ReadClip:
    """A clip's frames, the seconds that decoding them took wherever it was done, and those the caller waited."""

    frames: Frames
    decode_seconds: float
    wait_seconds: float

    @property
    def seconds(self) -> dict[str, float]:
        """As a trace has them: only waiting held the model up."""
        return {"decode": self.decode_seconds, "wait": self.wait_seconds}


@dataclass(frozen=True, slots=True)
class Reading:
    """`workers` decode ahead, up to `batch` clips that are asked for at once and as many to follow.

    A clip that comes unannounced and alone is decoded in this process by `threads` threads.
    """

    workers: int = 2
    batch: int = 8
    threads: int = 1

    @property
    def ahead(self) -> AheadPolicy:
        """Enough to fill the next batch while one is in use, and to keep every worker busy."""
        return AheadPolicy(self.workers, self.batch + 2 * self.workers)


class FrameSource:
    """Frames of clips by one policy. For one thread; memory is bounded by `Reading`, never by the run's length."""

    def __init__(self, policy: FramePolicy, reading: Reading) -> None:
        self._policy = policy
        self._reading = reading
        self._expected: set[Clip] = set()
        self._stream: Iterator[DecodedClip] = iter(())
        self._decoders: Decoders | None = None
        # Of the last batch: where one of its clips is bad, the others are asked for again.
        self._held: OrderedDict[Clip, DecodedClip] = OrderedDict()

    @property
    def reading(self) -> Reading:
        """How frames are read."""
        return self._reading

    @contextmanager
    def ahead(self, clips: Iterable[Clip]) -> Generator[None, None, None]:
        """Within it, `clips` are decoded in this order, each once, while earlier ones are in use.

        The workers end with it, however it ends; one within another has the outer one's workers. Raises
        DecoderStartError where none can work.
        """
        expected = list(dict.fromkeys(clips))
        before = self._expected, self._stream
        with self._started() as decoders, closing(decoders.decode(expected, self._policy)) as stream:
            # Here and not at the first clip, whose own error it would be taken for.
            decoders.start(len(expected))
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
        """Within it, these clips are at hand and nothing is waited for."""
        before = self._held
        self._held = OrderedDict((one.clip, one) for one in decoded)
        try:
            yield
        finally:
            self._held = before

    def read(self, clips: Sequence[Clip]) -> list[ReadClip]:
        """Frames of each clip. Raises the first one's VideoError: the caller decides what a bad video means."""
        announced = [clip for clip in clips if clip in self._expected or clip in self._held]
        others = [clip for clip in dict.fromkeys(clips) if clip not in announced]
        apart = dict(zip(others, self._read_apart(others), strict=True))
        return [_usable(apart[clip] if clip in apart else self._take(clip)) for clip in clips]

    def _take(self, clip: Clip) -> DecodedClip:
        if clip in self._held:
            self._held.move_to_end(clip)
            done = self._held[clip]
            return DecodedClip(done.clip, done.frames, done.error, 0.0, 0.0)
        waited = 0.0
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
        """Clips that nobody announced: several at once by workers, one alone right here."""
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
