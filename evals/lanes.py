"""How batches of items reach a model: one after the other, or in several lanes side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from multiprocessing.pool import ThreadPool
from time import perf_counter
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def in_lanes(
    answer: Callable[[Sequence[A]], B], todo: Sequence[A], *, batch: int, lanes: int
) -> Iterator[tuple[B, float]]:
    """Answers to `todo`, `batch` items each, as they come; with each the seconds since the one before.

    So the seconds add up to the time that passed, however many lanes there are. Several lanes are threads that
    don't outlive the caller's interest: an interrupt ends the run at once, and what is in flight is lost.
    """
    batches = [todo[start : start + batch] for start in range(0, len(todo), batch)]
    if lanes == 1 or len(batches) <= 1:
        yield from _timed(map(answer, batches))
        return
    with ThreadPool(min(lanes, len(batches))) as pool:
        yield from _timed(pool.imap_unordered(answer, batches))


def _timed(results: Iterator[B]) -> Iterator[tuple[B, float]]:
    """Each result with the seconds it was waited for."""
    while True:
        started = perf_counter()
        try:
            result = next(results)
        except StopIteration:
            return
        yield result, perf_counter() - started
