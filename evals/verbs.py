"""`longvid run BENCHMARK …`, `longvid score RUN …`: the verbs of a benchmark's group, told the benchmark.

A command line that begins so is spelled out as the group's own, `longvid egoschema run --pool 500 …`, so that there is
one code for both. What is defined here shows the help and says what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tasks.errors import DataError, RecordError

ON_BENCHMARKS, ON_RUNS = ("run", "plan", "prepare", "import"), ("score", "report")
BENCHMARK = Annotated[
    str, typer.Argument(metavar="BENCHMARK[@POOL]", help="A benchmark, first of all; 'longvid benchmarks' lists them.")
]
RUN = Annotated[str, typer.Argument(metavar="RUN", help="A run directory, first of all.")]


def spelled_out(words: Sequence[str]) -> list[str]:
    """A command line that begins with a verb, as that of the benchmark's group; any other as it is.

    Raises DataError or RecordError where the benchmark or the run is none.
    """
    verb, *rest = words
    if not rest or rest[0].startswith("-"):
        return list(words)
    if verb in ON_BENCHMARKS:
        name, pool = named(rest[0])
        return [name, verb, *rest[1:], *(["--pool", pool] if pool else [])]
    if verb in ON_RUNS:
        return [group_of(Path(rest[0])), verb, *rest]
    return list(words)


def named(target: str) -> tuple[str, str]:
    """Benchmark and pool of `egoschema@500`, `egoschema` or a task's own name. Raises DataError for an unknown one."""
    from tasks.registry import benchmark_of, find_benchmark

    owner = benchmark_of(target)
    if owner is not None:
        return owner.name, owner.pool_of(target) or ""
    name, _, pool = target.partition("@")
    return find_benchmark(name).name, pool


def group_of(run: Path) -> str:
    """The command group of a run's benchmark. Raises RecordError for a run of none that is known."""
    from evals.store import read_run
    from tasks.registry import benchmark_of

    task = read_run(run).task.name
    owner = benchmark_of(task)
    if owner is None:
        msg = f"{run} is a run of {task}, which is no benchmark that is known here; --plugin names one of your own"
        raise RecordError(msg)
    return owner.name


def run(benchmark: BENCHMARK) -> None:
    """Answer every item, keep the record, print the result beside its floors. Resumes by default.

    Options are those of the benchmark's group: longvid egoschema run --help.
    """
    missing("run", benchmark)


def plan(benchmark: BENCHMARK) -> None:
    """Say what a run will take, from a short probe. Options: longvid egoschema plan --help."""
    missing("plan", benchmark)


def prepare(benchmark: BENCHMARK) -> None:
    """Fetch or make a benchmark's files. Options: longvid egoschema prepare --help."""
    missing("prepare", benchmark)


def import_file(benchmark: BENCHMARK) -> None:
    """Turn predictions made elsewhere into a record. Options: longvid egoschema import --help."""
    missing("import", benchmark)


def score(run: RUN) -> None:
    """Score a record again with today's parser and metrics. Options: longvid egoschema score --help."""
    missing("score", run)


def report(run: RUN) -> None:
    """Set runs beside their floors, as a table or a page. Options: longvid egoschema report --help."""
    missing("report", run)


def missing(verb: str, given: str) -> NoReturn:
    """Reached where an option stands before the benchmark or the run."""
    what = "BENCHMARK" if verb in ON_BENCHMARKS else "RUN"
    msg = f"'{verb}' takes its {what} first: longvid {verb} {given} …"
    raise DataError(msg)
