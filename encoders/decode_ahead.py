"""Videos decoded ahead of whoever looks at them, in a bounded number of worker processes.

Each worker decodes one video at a time on one thread; its pixels come back through a pipe straight into
the array that is handed on. A video that cannot be decoded, takes too long or kills its worker is an error of
that video alone.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from typing import Self

import numpy as np

from encoders.frames import Backend, Frames, read_frames
from encoders.sampling import FramePolicy
from encoders.video_errors import DecodeTimeoutError, DecodeWorkerError
from tasks.errors import LongvidError
from tasks.task import Clip

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
    `timeout` seconds becomes a DecodeTimeoutError.
    """

    workers: int = 2
    ahead: int = 4
    timeout: float = 600.0
    backend: Backend = "pyav"


def decode_ahead(
    clips: Iterable[Clip], policy: FramePolicy, ahead: AheadPolicy | None = None
) -> Generator[DecodedClip, None, None]:
    """Yield every clip in the given order, decoded while earlier ones are in use.

    The workers end when the iterator does: exhausted, closed or dropped by an exception.
    """
    with Decoders(ahead or AheadPolicy()) as decoders:
        yield from decoders.decode(clips, policy)


class Decoders:
    """The worker processes, for any number of calls of `decode` after each other; they end with the context."""

    def __init__(self, ahead: AheadPolicy) -> None:
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


def _decode_with(idle: SimpleQueue[_Worker], clip: Clip, policy: FramePolicy) -> DecodedClip:
    worker = idle.get()
    began = time.perf_counter()
    try:
        return worker.decode(clip, policy)
    except LongvidError as error:
        return DecodedClip(clip, None, error, time.perf_counter() - began, 0.0)
    finally:
        idle.put(worker)


class _Worker:
    """A process that decodes what it is sent; started when first needed, and again when it died."""

    def __init__(self, ahead: AheadPolicy) -> None:
        self._ahead = ahead
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._stopped = False

    def decode(self, clip: Clip, policy: FramePolicy) -> DecodedClip:
        if self._stopped:
            raise DecodeWorkerError(f"{clip.path}: decoding was stopped")
        pipe = self._pipe or self._start()
        try:
            pipe.send((clip, policy, self._ahead.backend))
            if not pipe.poll(self._ahead.timeout):
                self.end()
                raise DecodeTimeoutError(
                    f"{clip.path}: decoding took longer than {self._ahead.timeout:g} s and was stopped"
                )
            return _receive(pipe, clip)
        except (EOFError, OSError) as error:
            self.end()
            raise DecodeWorkerError(f"{clip.path}: the decoding process died; the file may be damaged") from error

    def stop(self) -> None:
        """Kill the process and start no other; whoever waits for it gets a DecodeWorkerError."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def _start(self) -> Connection:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_serve, args=(theirs,), daemon=True, name="longvid-decoder")
        process.start()
        theirs.close()
        self._process, self._pipe = process, ours  # only now: another thread may kill what is there
        if self._stopped:
            process.kill()
        return ours

    def end(self) -> None:
        """Kill the process, if there is one, and free what it held."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def _receive(pipe: Connection, clip: Clip) -> DecodedClip:
    header = pipe.recv()
    if isinstance(header, DecodedClip):
        return header
    shape, seconds, frame_seconds, share, spent = header
    pixels = np.empty(shape, dtype=np.uint8)
    pipe.recv_bytes_into(pixels.reshape(-1).data)
    return DecodedClip(clip, Frames(pixels, seconds, frame_seconds, share), None, spent, 0.0)


def _serve(pipe: Connection) -> None:
    """Answer requests until the pipe closes; an interrupt is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            clip, policy, backend = pipe.recv()
        except EOFError:
            return
        began = time.perf_counter()
        try:
            frames = read_frames(clip, policy, backend=backend)
        except LongvidError as error:
            pipe.send(DecodedClip(clip, None, error, time.perf_counter() - began, 0.0))
            continue
        spent = time.perf_counter() - began
        pipe.send((frames.pixels.shape, frames.seconds, frames.frame_seconds, frames.share_of_clip, spent))
        pipe.send_bytes(frames.pixels.reshape(-1).data)
