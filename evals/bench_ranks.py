"""What ranking a large gallery costs: ours in blocks beside the whole matrix at once, each in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from evals.memory import peak_memory_bytes
from tasks.ranks import one_to_one, ranks_from_vectors

Vectors = NDArray[np.float32]
Ranks = NDArray[np.int64]
Measured = TypeVar("Measured")
DIRECTIONS = ("text_to_video", "video_to_text")


@dataclass(frozen=True, slots=True)
class RankCost:
    """One way at one size: seconds by direction, the process's peak memory, and the vectors' share of it."""

    way: str
    pairs: int
    dimensions: int
    seconds: dict[str, float]
    peak_memory_bytes: int
    vector_bytes: int
    median_rank: dict[str, float]


@dataclass(frozen=True, slots=True)
class RankBench:
    """Ours at full size; ours and the whole matrix at a size where that fits, with the share of equal ranks.

    Ranks may differ where float32 sums of another order make or break a tie.
    """

    costs: tuple[RankCost, ...]
    equal_ranks: float | None
    largest_difference: int | None


def whole_matrix_ranks(queries: Vectors, gallery: Vectors) -> Ranks:
    """Ranks by sorting the rows of the whole matrix [Q, Q], as published retrieval scripts do; ties as ours."""
    similarities = queries @ gallery.T
    ordered = np.sort(-similarities, axis=1)
    own = -np.diagonal(similarities)
    return np.array([np.searchsorted(row, mine, side="right") for row, mine in zip(ordered, own, strict=True)])


def blocked_ranks(queries: Vectors, gallery: Vectors) -> Ranks:
    """Ranks as results have them."""
    return ranks_from_vectors(queries, gallery, one_to_one(len(queries)))


WAYS: dict[str, Callable[[Vectors, Vectors], Ranks]] = {"blocked": blocked_ranks, "whole matrix": whole_matrix_ranks}


def measure(way: str, pairs: int, dimensions: int, seed: int, *, both: bool) -> tuple[RankCost, list[Ranks]]:
    """Rank seeded random vectors, in this process."""
    rng = np.random.default_rng(seed)
    texts, videos = (rng.standard_normal((pairs, dimensions), dtype=np.float32) for _ in DIRECTIONS)
    seconds, ranks = {}, {}
    for direction, (queries, gallery) in zip(DIRECTIONS[: 1 + both], [(texts, videos), (videos, texts)], strict=False):
        begin = perf_counter()
        ranks[direction] = WAYS[way](queries, gallery)
        seconds[direction] = perf_counter() - begin
    medians = {direction: float(np.median(found)) for direction, found in ranks.items()}
    held = texts.nbytes + videos.nbytes
    return RankCost(way, pairs, dimensions, seconds, peak_memory_bytes(), held, medians), list(ranks.values())


def in_its_own_process(work: Callable[[], Measured]) -> Measured:
    """The work's result from a fresh process, so that its peak memory is nothing else's."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work).result()


def bench_ranks(
    pairs: int, compare: int, dimensions: int, *, both: bool, seed: int, done: Callable[[str], None]
) -> RankBench:
    """Measure ours at `pairs`, and both ways at `compare` pairs (0: leave that out)."""
    sizes = [("blocked", pairs)] + ([("blocked", compare), ("whole matrix", compare)] if compare else [])
    costs, ranks = [], []
    for way, size in sizes:
        cost, found = in_its_own_process(partial(measure, way, size, dimensions, seed, both=both))
        costs.append(cost)
        ranks.append(np.concatenate(found))
        done(f"{way}, {size} pairs")
    if not compare:
        return RankBench(tuple(costs), None, None)
    ours, theirs = ranks[1:]
    return RankBench(tuple(costs), float((ours == theirs).mean()), int(np.abs(ours - theirs).max()))
