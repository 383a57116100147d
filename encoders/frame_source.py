"""Where a model's frames come from: read when asked for, or decoded ahead of the run that will ask for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from time import perf_counter

from encoders.decode_ahead import AheadPolicy, DecodedClip, Decoders
from encoders.frames import Frames, read_frames
from encoders.sampling import FramePolicy
from encoders.video_errors import memory_error
from tasks.errors import LongvidError
from tasks.task import Clip


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
