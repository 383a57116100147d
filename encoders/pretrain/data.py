"""Samples of a data source, and the batches that each step and each process gets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoders.pretrain.step import BadSample, Batch, Batches, Loaded, Request, request_at, seed_of
from encoders.pretrain.world import World
from tasks.errors import DataError, ModelError
from tasks.task import JsonValue

View: TypeAlias = Literal["image", "clip", "video", "facts"]
"""The part of a video that is read: one frame, a clip of some seconds, all of it, or what is true of it."""


@dataclass(frozen=True, slots=True)
class TextView:
    """A text that is true of a video, with similar false texts; `kind` is used for balancing.

    `prompt` is what a language model reads before it: a question, if the text is an answer.
    """

    text: str
    false: tuple[str, ...] = ()
    kind: str = ""
    prompt: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Pixels uint8 [T, H, W, 3] with their texts: at least one caption, any number of statements.

    `questions` are a benchmark's, with its options: measured on held-out samples and never trained on.
    """

    key: str
    pixels: NDArray[np.uint8]
    captions: tuple[TextView, ...]
    statements: tuple[TextView, ...] = ()
    questions: tuple[TextView, ...] = ()


class Source(Protocol):
    """A data set of `len(source)` samples.

    `load` serves requests lazily and in order; a sample that can't be
    read is returned as a BadSample and never replaced. `texts` are all that a tokenizer
    should know; `facts` go into the run's record.
    """

    @property
    def facts(self) -> Mapping[str, JsonValue]: ...

    def __len__(self) -> int: ...

    def load(self, requests: Iterable[Request]) -> Iterator[Sample | BadSample]: ...

    def texts(self) -> Iterator[str]: ...


Slot = Sample | None
Collate = Callable[[Sequence[Slot], Sequence[int]], Batch]
"""Makes a batch from samples (None for unreadable ones) and a seed for each."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Batches of `batch` samples over all processes; each process reads its own share.

    Sample i of step s, its mask and its texts do not depend on the number of processes. More
    than the share `most_bad` of unreadable samples in a batch is an error.
    """

    source: Source
    batch: int
    collate: Collate
    seed: int
    world: World = field(default_factory=World)
    family: int = 1
    most_bad: float = 0.5

    def __post_init__(self) -> None:
        """Check that batches can be shared evenly. Raises ModelError or DataError."""
        if self.batch < self.world.size or self.batch % self.world.size:
            raise ModelError(f"a batch of {self.batch} can't be shared evenly by {self.world.size} processes")
        if len(self.source) < self.batch:
            raise DataError(f"the source holds {len(self.source)} samples, fewer than one batch of {self.batch}")

        if len(self.source) % self.family:
            raise DataError(f"{len(self.source)} samples are not a multiple of families of {self.family}")

    def __call__(self, first: int) -> Iterator[Loaded]:
        found = self.source.load(request for step in count(first) for request in self._requests(step))
        for step in count(first):
            requests = self._requests(step)
            yield self._loaded(list(islice(found, len(requests))), requests, step)

    def _requests(self, step: int) -> list[Request]:
        share = self.batch // self.world.size
        start = step * self.batch + self.world.rank * share
        return [request_at(self.seed, start + i, len(self.source), self.family) for i in range(share)]

    def _loaded(self, samples: Sequence[Sample | BadSample], requests: Sequence[Request], step: int) -> Loaded:
        bad = tuple(sample for sample in samples if isinstance(sample, BadSample))
        if len(bad) > self.most_bad * len(samples):
            raise DataError(f"{len(bad)} of {len(samples)} samples of step {step} can't be read: {bad[0].error}")
        slots = [sample if isinstance(sample, Sample) else None for sample in samples]
        seeds = [seed_of(request.draw, "collate") for request in requests]
        return Loaded(self.collate(slots, seeds), len(samples), bad)


def mixed(videos: Batches, images: Batches, every: int) -> Batches:
    """Mix batches of `videos` with one of `images` at each `every`-th step (paper, image → short: mixed data)."""
    if every < 2:
        raise ModelError(f"one batch of images every {every} steps leaves none for videos: give at least 2")

    def batches(first: int) -> Iterator[Loaded]:
        seen = first // every
        of_videos, of_images = videos(first - seen), images(seen)
        for step in count(first):
            yield next(of_images if step % every == every - 1 else of_videos)

    return batches


def prefetched(batches: Batches, depth: int = 2) -> Batches:
    """Make up to `depth` batches ahead in a thread while earlier ones are trained on."""

    def ahead(first: int) -> Iterator[Loaded]:
        made = batches(first)
        pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        pending = deque(pool.submit(next, made) for _ in range(depth))
        try:
            while True:
                yield pending.popleft().result()
                pending.append(pool.submit(next, made))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    return ahead


def stack_pixels(slots: Sequence[Slot]) -> NDArray[np.uint8]:
    """Stack pixels uint8 [B, T, H, W, 3], black for missing samples. Raises DataError if shapes differ."""
    shapes = {slot.pixels.shape for slot in slots if slot is not None}
    if len(shapes) != 1:
        keys = ", ".join(slot.key for slot in slots[:3] if slot is not None)
        raise DataError(f"the pixels of a batch must have one shape, not {sorted(shapes)} ({keys} …)")
    black = np.zeros(shapes.pop(), dtype=np.uint8)
    return np.stack([black if slot is None else slot.pixels for slot in slots])
