"""Cost of ranking a large gallery: ours in blocks against the whole matrix at once, each in a separate process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from time import perf_counter, process_time
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from evals.runner import peak_memory_bytes
from lab.bench.result import Facts, Measured, Result, in_turn
from tasks.machine import machine_facts
from tasks.ranks import one_to_one, ranks_from_vectors

Vectors = NDArray[np.float32]
Ranks = NDArray[np.int64]
Found = TypeVar("Found")
DIRECTIONS = ("text_to_video", "video_to_text")
OURS, PEER = "ours", "whole matrix"


def whole_matrix_ranks(queries: Vectors, gallery: Vectors) -> Ranks:
    """Rank by sorting the rows of the whole matrix [Q, Q], as published retrieval scripts do; ties as in ours."""
    similarities = queries @ gallery.T
    ordered = np.sort(-similarities, axis=1)
    own = -np.diagonal(similarities)
    return np.array([np.searchsorted(row, mine, side="right") for row, mine in zip(ordered, own, strict=True)])


def blocked_ranks(queries: Vectors, gallery: Vectors) -> Ranks:
    """Rank as in results."""
    return ranks_from_vectors(queries, gallery, one_to_one(len(queries)))


WAYS: dict[str, Callable[[Vectors, Vectors], Ranks]] = {OURS: blocked_ranks, PEER: whole_matrix_ranks}


def measure(way: str, pairs: int, dimensions: int, seed: int, *, both: bool) -> tuple[Measured, Ranks]:
    """Rank seeded random vectors in this process, one direction or both; returns all ranks concatenated."""
    rng = np.random.default_rng(seed)
    texts, videos = (rng.standard_normal((pairs, dimensions), dtype=np.float32) for _ in DIRECTIONS)
    seconds, cpu, ranks = {}, 0.0, []
    for direction, (queries, gallery) in zip(DIRECTIONS[: 1 + both], [(texts, videos), (videos, texts)], strict=False):
        begin, before = perf_counter(), process_time()
        ranks.append(WAYS[way](queries, gallery))
        seconds[direction] = perf_counter() - begin
        cpu += process_time() - before
    facts: Facts = {
        "seconds_by_direction": seconds,
        "peak_memory_bytes": peak_memory_bytes(),
        "vector_bytes": texts.nbytes + videos.nbytes,
        "median_rank": float(np.median(np.concatenate(ranks))),
    }
    return Measured(sum(seconds.values()), cpu, facts), np.concatenate(ranks)


def in_its_own_process(work: Callable[[], Found]) -> Found:
    """Return the work's result from a new process, so that peak memory is its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work).result()


def bench_ranks(
    pairs: int, compare: int, dimensions: int, *, both: bool, seed: int, repeats: int, done: Callable[[str], None]
) -> Result:
    """Compare ours with the whole matrix at `compare` pairs (0: skip), and time ours alone once at `pairs`.

    Each run has its own process, so that peak memory is its own. Ranks may differ if float32 sums in another order make
    or break a tie.
    """
    found: dict[str, Ranks] = {}

    def apart(way: str, size: int) -> Measured:
        measured, ranks = in_its_own_process(partial(measure, way, size, dimensions, seed, both=both))
        if size == compare:
            found[way] = ranks
        return measured

    comparisons = []
    details: Facts = {}
    if compare:
        ways = {way: partial(apart, way, compare) for way in WAYS}
        comparisons.append(in_turn(_work(compare, dimensions), ways, repeats, done, warm_up=False))
        ours, theirs = found[OURS], found[PEER]
        details = {
            "equal_ranks": float((ours == theirs).mean()),
            "largest_difference": int(np.abs(ours - theirs).max()),
        }
    if pairs:
        alone = {OURS: partial(apart, OURS, pairs)}
        comparisons.append(in_turn(_work(pairs, dimensions), alone, 1, done, warm_up=False))
    settings: Facts = {"dimensions": dimensions, "both_directions": both, "seed": seed, "repeats": repeats}
    return Result("ranks", machine_facts(), settings, tuple(comparisons), details)


def _work(pairs: int, dimensions: int) -> str:
    return f"ranks of {pairs:,} × {pairs:,} random vectors of {dimensions} dimensions"
