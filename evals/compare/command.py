"""`longvid compare A B …`: each run against the first, item by item."""

from __future__ import annotations

from pathlib import Path
from shlex import join, quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals import console
from evals.benchmark_app import DATA, WIDE

if TYPE_CHECKING:
    from evals.compare.record import Record
    from evals.compare.rows import Comparison
    from tasks.task import Task


PAIR = 2


def compare(
    folders: Annotated[
        list[Path], typer.Argument(metavar="A B…", help="Run directories; each is compared with the first.")
    ],
    allow_mismatch: Annotated[
        bool, typer.Option("--allow-mismatch", help="Compare runs with different protocols, and say so in the result.")
    ] = False,
    form: Annotated[str, typer.Option("--format", help="table, markdown or json (with all items named).")] = "table",
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    data: DATA = None,
    wide: WIDE = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page of two runs: the same questions under both.")
    ] = None,
) -> None:
    """Compare runs on the items that all answered: differences with intervals, a test, wins and losses, a conclusion.

    Every run is compared with the first one; with several, p-values are adjusted by Holm's method.
    """
    from evals.compare.build import compare as build
    from evals.compare.formats import as_json, as_markdown
    from evals.compare.record import read_records
    from tasks.errors import RecordError

    if form not in ("table", "markdown", "json"):
        raise RecordError(f"unknown format '{form}'; formats are table, markdown, json")
    if html is not None and len(folders) != PAIR:
        raise RecordError(f"--html makes a page of two runs, not of {len(folders)}")
    records = read_records(folders)
    task, why_not = task_of(records[0], data)
    comparison = build(records, task, allow_mismatch=allow_mismatch, seed=seed)
    if form == "table":
        show(comparison, wide=wide)
    else:
        console.emit(as_json(comparison) if form == "json" else as_markdown(comparison))
    if why_not and form == "table":
        console.note(why_not)
    if html is not None:
        from evals.html_report.pair_page import pair_page
        from evals.store import write_atomic

        write_atomic(html, pair_page(records, comparison, task))
    if form == "table":
        made = join(["longvid", "compare", *map(str, folders), "--html", "FILE"])
        if len(folders) == PAIR:
            console.say(f"page: {html or made}")
        console.say(f"next: longvid report {quote(str(folders[0]))} --format html")


def task_of(record: Record, data: Path | None) -> tuple[Task[Any] | None, str]:
    """Load the task of a run, or return None and the reason; the recorded scores are then used.

    Raises RecordError if the local files do not hold the run's items.
    """
    from evals.benchmarks import task_of_run
    from tasks.errors import DataError, RecordError

    named = record.run.task
    try:
        task = task_of_run(record.run, data)
    except DataError as error:
        return None, str(error)
    if task.info.items_sha256 != named.items_sha256:
        raise RecordError(f"{record.folder} is a run of {named.name} on items other than those of the local files")
    return task, ""


def show(comparison: Comparison, *, wide: bool = False) -> None:
    """Print the conclusions in words, then tables, then notes."""
    from evals.compare.formats import grids, remarks

    for pair in comparison.pairs:
        console.say(pair.conclusion)
    for grid in grids(comparison):
        console.say("")
        console.show_table(grid.title, grid.columns, grid.rows, grid.numeric, least=grid.least, wide=wide)
    for note in remarks(comparison):
        console.note(note)
