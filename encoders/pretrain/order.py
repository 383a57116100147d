"""Which sample comes when: a pure function of seed and position, whatever the number of workers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def seed_of(seed: int, *path: str | int) -> int:
    """A 63-bit seed for one purpose, independent of all others': a digest of the names and numbers given."""
    text = "/".join(map(str, (seed, *path)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


@dataclass(frozen=True, slots=True)
class Request:
    """Sample `index` of a source; `draw` seeds whatever is chosen within it (a moment, a caption)."""

    index: int
    draw: int


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed_of(seed, "epoch", epoch)).permutation(count)


def request_at(seed: int, position: int, count: int, family: int = 1) -> Request:
    """What stands at a position of the endless stream: every epoch holds each of `count` samples once.

    Families of `family` neighbouring samples stay together; `count` is a multiple of it.
    """
    epoch, place = divmod(position, count)
    group, member = divmod(place, family)
    index = int(_permutation(seed, epoch, count // family)[group]) * family + member
    return Request(index, seed_of(seed, "draw", position))
