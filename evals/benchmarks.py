"""From a benchmark's name, pool and data roots to its task; nothing is imported before it is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import DataError
from tasks.registry import Benchmark, resolved

if TYPE_CHECKING:
    from tasks.task import Task

DATA_VARIABLE = "LONGVID_DATA"
OWN_TASKS = "own-"
"""How the names of tasks begin that are made of a user's own questions (tasks.own_questions)."""
DEFAULT_ROOTS = (Path("data"), Path("../shared/data"))


def data_roots(data: Path | None) -> tuple[Path, ...]:
    """Where data files are looked for: in --data alone if it is given, else $LONGVID_DATA, ./data, ../shared/data."""
    if data:
        return (data,)
    variable = os.environ.get(DATA_VARIABLE)
    return (*([Path(variable)] if variable else []), *DEFAULT_ROOTS)


def benchmark_folder(benchmark: Benchmark, data: Path | None) -> Path:
    """The benchmark's folder under the first data root that has it; one that needs no files has it anywhere.

    Raises DataError that says where was looked and how to fetch the files.
    """
    roots = data_roots(data)
    for root in roots:
        folder = root / benchmark.data_folder
        if (folder / benchmark.marker).exists():
            return folder
    if not benchmark.marker:
        return roots[0] / benchmark.data_folder
    looked = ", ".join(str(root / benchmark.data_folder) for root in roots)
    msg = (
        f"no {benchmark.name} files in {looked}: run 'longvid {benchmark.name} prepare', or name a folder with "
        f"--data or {DATA_VARIABLE}"
    )
    raise DataError(msg)


def load_task(benchmark: Benchmark, pool: str, data: Path | None) -> Task[Any]:
    """The benchmark's task for a pool. Raises DataError for an unknown pool or missing files."""
    check_pool(benchmark, pool)
    task: Task[Any] = resolved(benchmark.load)(benchmark_folder(benchmark, data), pool)
    return task


def check_pool(benchmark: Benchmark, pool: str) -> None:
    """Raise DataError for an unknown pool."""
    if pool not in benchmark.pools:
        raise DataError(f"{benchmark.name} has no pool '{pool}'; pools are {', '.join(benchmark.pools)}")


def command_of(task_name: str) -> str:
    """The command group of a task's name; the name without its pool where there is none."""
    from tasks.registry import benchmark_of

    if task_name.startswith(OWN_TASKS):
        return "ask"
    benchmark = benchmark_of(task_name)
    return benchmark.name if benchmark else task_name.partition("@")[0]
