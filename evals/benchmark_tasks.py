"""From a benchmark's name, pool and data root to its task; nothing is imported before it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.benchmarks import Benchmark, benchmark_folder

if TYPE_CHECKING:
    from tasks.task import Task


def load_task(benchmark: Benchmark, pool: str, data: Path | None) -> Task[Any]:
    """The benchmark's task for a pool. Raises DataError for an unknown pool or missing files."""
    from evals.models import resolve

    check_pool(benchmark, pool)
    task: Task[Any] = resolve(benchmark.load)(benchmark_folder(benchmark, data), pool)
    return task


def check_pool(benchmark: Benchmark, pool: str) -> None:
    """Raise DataError for an unknown pool."""
    from tasks.errors import DataError

    if pool not in benchmark.pools:
        raise DataError(f"{benchmark.name} has no pool '{pool}'; pools are {', '.join(benchmark.pools)}")
