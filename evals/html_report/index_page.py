"""The index page of a folder of runs: every system on every task, the findings, and links to each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals import console
from evals.findings import table_findings
from evals.html_report.render import render, terms
from evals.html_report.table import COSTS, Bar, CostKind, bar, bar_scale, interval_text, ranked_figure
from evals.leaderboard.compact import lines_of
from evals.leaderboard.rows import BoardRow, BoardTable, Leaderboard
from evals.report import NOT_MEASURED
from evals.store import write_atomic
from tasks.errors import DataError, RecordError
from tasks.registry import SYSTEM_TITLES, System, family_of, system_of
from tasks.task import Task, figure_title

PAPER = "https://arxiv.org/abs/2312.07395"
SHOWN_COSTS = ("seconds", "tokens", "frames", "parameters")
KINDS: Mapping[str, str] = {
    System.ENCODER: "encoder",
    System.AGGREGATOR: "aggregator",
    System.VIDEO_LLM: "video language model",
    System.TEXT: "text alone",
    System.FLOOR: "floor",
    System.ELSEWHERE: "run elsewhere",
    System.UNKNOWN: "not declared",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A system's figure on a task; `href` links to its run's page, empty if there is none."""

    value: float | None = None
    figure: str = NOT_MEASURED
    interval: str = ""
    bar: Bar | None = None
    href: str = ""


@dataclass(frozen=True, slots=True)
class LineView:
    """A system's line; `kind` is the text of its chip."""

    name: str
    system: str
    kind: str
    cells: tuple[Cell, ...]
    costs: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A task's heading and findings."""

    task: str
    metric: str
    unit: str
    lower: bool
    findings: tuple[str, ...]


def index_page(
    board: Leaderboard, pages: Mapping[str, str], command: str, others: Sequence[tuple[str, str]] = ()
) -> str:
    """Render the index page, a pure function of its arguments.

    Args:
        board: The records.
        pages: The page of a run by its record's digest, as a link from this one.
        command: The command that makes this page.
        others: Further links, each with its name.
    """
    tables, lines = lines_of(board)
    rows = [row for _, found in lines for row in found if row is not None]
    costs = [COSTS[key] for key in SHOWN_COSTS if any(COSTS[key].value(row.cost) is not None for row in rows)]
    views = [line_view(name, found, tables, costs, pages) for name, found in lines]
    kinds = [kind for kind in KINDS.values() if any(view.kind == kind for view in views)]
    return render(
        "index.html.j2",
        title="Runs",
        columns=[column_view(table, None if place == 0 else 1) for place, table in enumerate(tables)],
        lines=views,
        costs=costs,
        kinds=[(kind, sum(view.kind == kind for view in views)) for kind in kinds],
        floor=KINDS[System.FLOOR],
        excluded=board.excluded,
        command=command,
        others=others,
        paper=PAPER,
        without_page=sum(row.record_sha256 is not None and row.record_sha256 not in pages for row in rows),
        terms=terms(table.task.family for table in tables),
        titles=[(key, SYSTEM_TITLES[key]) for key in SYSTEM_TITLES if any(view.system == key for view in views)],
    )


INDEX, RUN_PAGES = "index.html", "pages"
MOST_PAGES = 40
"""Our choice: pages of more runs take too long to write; each can be made by its own command."""


def write_index(
    places: Sequence[Path], out: Path, data: Path | None, command: str, flags: Sequence[Path] = ()
) -> tuple[Leaderboard, Path]:
    """Write a folder's pages: the index, the tables as page and JSON, and a page for each of the first runs.

    A run whose benchmark's files are missing has a page without questions. Raises RecordError.
    """
    from evals.find_runs import read_runs
    from evals.html_report.run_page import write_run_page
    from evals.leaderboard.build import board_of, record_sha256
    from evals.leaderboard.formats import FORMATS

    found, skipped = read_runs(places)
    board = board_of(found, skipped, flags)
    folders = {record_sha256(run.results): run.folder for run in found}
    ranked = [row.record_sha256 for table in board.tables for row in table.rows if row.record_sha256 in folders]
    shown = [digest for digest in ranked if digest is not None][:MOST_PAGES]
    complete = {record_sha256(run.results): run.results for run in found if run.results.status == "complete"}
    pages: dict[str, str] = {}
    task_of = task_loader(data)
    with console.progress("pages of runs", len(shown), 0) as tick:
        for number, digest in enumerate(shown, start=1):
            href = f"{RUN_PAGES}/{number:03d}.html"
            folder = folders[digest]
            beside = tuple(results for other, results in complete.items() if other != digest)
            write_run_page(folder, out / href, task_of(folder), beside=beside)
            pages[digest] = href
            tick("")
    for form, suffix in (("json", "json"), ("html", "html")):
        write_atomic(out / f"leaderboard.{suffix}", FORMATS[form](board))
    others = (("Tables and plots", "leaderboard.html"), ("Figures as JSON", "leaderboard.json"))
    write_atomic(out / INDEX, index_page(board, pages, command, others))
    return board, out / INDEX


def task_loader(data: Path | None) -> Callable[[Path], Task[Any] | None]:
    """Return a loader of run directories' tasks that loads each once; it gives None if the files are missing."""
    from evals.benchmarks import task_of_run
    from evals.store import read_run

    known: dict[tuple[str, str], Task[Any] | None] = {}

    def load(folder: Path) -> Task[Any] | None:
        try:
            run = read_run(folder)
            key = (run.task.name, run.task.items_sha256)
            if key not in known:
                known[key] = None
                known[key] = task_of_run(run, data)
        except (DataError, RecordError):
            return None
        return known[key]

    return load


def column_view(table: BoardTable, most: int | None) -> Column:
    """Return a task's heading with at most `most` findings."""
    unit = family_of(table.task.family).unit(table.metric).symbol
    found = tuple(table_findings(table)[:most])
    return Column(table.task.name, figure_title(table.metric), unit, not table.higher_is_better, found)


def line_view(
    name: str,
    rows: Sequence[BoardRow | None],
    tables: Sequence[BoardTable],
    costs: Sequence[CostKind],
    pages: Mapping[str, str],
) -> LineView:
    """Return a system's line; its cost is that of the first task it has a run on."""
    known = [row for row in rows if row is not None]
    first = next((row for row in known if row.cost.seconds_per_item is not None), known[0])
    system = (
        System.FLOOR if first.kind == "floor" else system_of(first.model, first.system, imported=not first.run_here)
    )
    cells = tuple(cell(table, row, pages) for table, row in zip(tables, rows, strict=True))
    spent = tuple((kind.cell(first.cost), kind.value(first.cost)) for kind in costs)
    return LineView(first.name if system == System.FLOOR else name, system, KINDS[system], cells, spent)


def cell(table: BoardTable, row: BoardRow | None, pages: Mapping[str, str]) -> Cell:
    """Return a system's figure on one task."""
    figure = None if row is None else ranked_figure(row, table.metric)
    if row is None or figure is None or figure.value is None:
        return Cell()
    family = family_of(table.task.family)
    all_figures = [found for other in table.rows if (found := ranked_figure(other, table.metric))]
    return Cell(
        value=figure.value,
        figure=family.unit(table.metric).number(figure.value),
        interval=interval_text(table.metric, figure, family),
        bar=bar(figure, bar_scale(all_figures)),
        href=pages.get(row.record_sha256 or "", ""),
    )
