"""`longvid run BENCHMARK …`, `longvid score RUN …`: the verbs of a benchmark's group as top-level commands.

Such a command line is rewritten as the group's own, `longvid egoschema run --pool 500 …`, so that both share one code.
The commands defined here show the help and report what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from evals.benchmarks import OWN_TASKS
from tasks.errors import DataError, RecordError

if TYPE_CHECKING:
    from tasks.registry import Benchmark

ON_BENCHMARKS, ON_RUNS = ("run", "plan", "prepare", "import"), ("score", "report")
BENCHMARK = Annotated[
    str,
    typer.Argument(
        metavar="BENCHMARK[@POOL]",
        help="A benchmark that 'longvid benchmarks' lists, or the folder of your own; goes before the options.",
    ),
]
RUN = Annotated[str, typer.Argument(metavar="RUN", help="A run directory; goes before the options.")]


def spelled_out(words: Sequence[str]) -> list[str]:
    """Rewrite a command line that begins with a verb as that of the benchmark's group; others are unchanged.

    Raises DataError or RecordError if the benchmark or the run is unknown.
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
    """Return group and pool of a benchmark given by its name, with or without a pool, or its folder.

    Raises DataError.
    """
    from evals.benchmarks import find_target

    benchmark, pool = find_target(target)
    return (benchmark.name if benchmark.place is None else as_path(benchmark.place)), pool


def group_of(run: Path) -> str:
    """Return the command group of a run's benchmark; for a user's own benchmark, the run itself (see `own_group`).

    Raises RecordError for a run of an unknown benchmark.
    """
    from evals.store import read_run
    from tasks.registry import benchmark_of

    record = read_run(run)
    task = record.task.name
    if record.place is not None or task.startswith(OWN_TASKS):
        return as_path(run)
    owner = benchmark_of(task)
    if owner is None:
        msg = f"{run} is a run of {task}, which is not a known benchmark; --plugin names one of your own"
        raise RecordError(msg)
    return owner.name


def as_path(path: Path) -> str:
    """Write a path so that it can't be taken for the name of a command or benchmark."""
    return str(path) if path.is_absolute() else f"{os.curdir}{os.sep}{path}"


def own_group(name: str) -> Benchmark | None:
    """Return the benchmark of a group named by a folder, a questions file or a run; None if there is none."""
    from evals.benchmarks import benchmark_of_run, holds_benchmark, own_benchmark
    from evals.store import RUN, read_run

    path = Path(name)
    if (path / RUN).is_file():
        return benchmark_of_run(read_run(path))[0]
    return own_benchmark(path) if holds_benchmark(path) else None


def run(benchmark: BENCHMARK) -> None:
    """Answer every item, keep the record, print the result beside its floors. Resumes by default.

    Options are those of the benchmark's group: longvid egoschema run --help.
    """
    missing("run", benchmark)


def plan(benchmark: BENCHMARK) -> None:
    """Estimate what a run will take, from a short probe. Options: longvid egoschema plan --help."""
    missing("plan", benchmark)


def prepare(benchmark: BENCHMARK) -> None:
    """Fetch or make a benchmark's files. Options: longvid egoschema prepare --help."""
    missing("prepare", benchmark)


def import_file(benchmark: BENCHMARK) -> None:
    """Turn predictions made elsewhere into a record. Options: longvid egoschema import --help."""
    missing("import", benchmark)


def score(run: RUN) -> None:
    """Score a record again with the current parser and metrics. Options: longvid egoschema score --help."""
    missing("score", run)


def report(run: RUN) -> None:
    """Set runs beside their floors, as a table or a page. Options: longvid egoschema report --help."""
    missing("report", run)


def missing(verb: str, given: str) -> NoReturn:
    """Fail for an option placed before the benchmark or the run."""
    what = "BENCHMARK" if verb in ON_BENCHMARKS else "RUN"
    msg = f"'{verb}' takes its {what} first: longvid {verb} {given} …"
    raise DataError(msg)
