"""The training step: a module whose forward pass turns a batch into a loss.

A step is any `nn.Module` with `forward(batch) -> (loss, metrics)`: a scalar to minimise and detached
scalars to log. Its parameters that require gradients are trained and stored in checkpoints, all others are unchanged.
With several processes the engine wraps it in DistributedDataParallel or shards it with FSDP, which average gradients; a
step whose loss needs the batches of all processes gathers them itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def seed_of(seed: int, *path: str | int) -> int:
    """Return a 63-bit seed for one purpose, independent of all others: a digest of the names and numbers given."""
    text = "/".join(map(str, (seed, *path)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


@dataclass(frozen=True, slots=True)
class Request:
    """Sample `index` of a source; `draw` seeds all choices within it (a moment, a caption)."""

    index: int
    draw: int


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed_of(seed, "epoch", epoch)).permutation(count)


def request_at(seed: int, position: int, count: int, family: int = 1) -> Request:
    """Return the request at a position of the endless stream: every epoch has each of `count` samples once.

    Families of `family` neighbouring samples stay together; `count` is a multiple of it.
    """
    epoch, place = divmod(position, count)
    group, member = divmod(place, family)
    index = int(_permutation(seed, epoch, count // family)[group]) * family + member
    return Request(index, seed_of(seed, "draw", position))


Metrics: TypeAlias = Mapping[str, Tensor]


class Batch(Protocol):
    """One process's share of a training batch."""

    def to(self, device: torch.device) -> Self:
        """Move the batch to another device."""
        ...


@dataclass(frozen=True, slots=True)
class BadSample:
    """A sample that gave no pixels: which one, and why."""

    key: str
    error: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A batch from the data, with its number of samples and those that could not be read."""

    batch: Batch
    samples: int
    bad: tuple[BadSample, ...] = ()


class Batches(Protocol):
    """A stage's data: the batches of steps `first`, `first + 1`, …, each a pure function of its number."""

    def __call__(self, first: int) -> Iterator[Loaded]: ...


@dataclass(frozen=True, slots=True)
class Job:
    """All that the engine needs of a stage. `evaluate` is called in the first process only.

    `units` are the parts of the step that FSDP shards one by one; every process must run each of them equally often.
    `twin` is a full copy of a sharded step, in the first process, which is evaluated, and saved in the end.
    """

    step: nn.Module
    batches: Batches
    evaluate: Callable[[], Mapping[str, float]] | None = None
    units: Sequence[nn.Module] = ()
    twin: nn.Module | None = None


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require gradients, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}
