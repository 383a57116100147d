"""`longvid leaderboard RUNS…`: show records side by side, on the screen or in a file."""

from __future__ import annotations

from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated

import typer

from evals import console
from evals.benchmark_app import DATA, WIDE

if TYPE_CHECKING:
    from evals.leaderboard.rows import Leaderboard

TABLE = "table"
SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown", ".html": "html"}


def leaderboard(
    places: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Run directories, or folders that hold some at any depth.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write; its suffix sets the format unless --format does. A folder gets all runs' pages.",
        ),
    ] = None,
    form: Annotated[str | None, typer.Option("--format", help="table, json, csv, markdown or html.")] = None,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact", help="One table, on the screen or as markdown: a line per system, a column per task."
        ),
    ] = False,
    flags: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file that 'longvid flags' wrote, or a shipped one's name: adds the figure on the questions that "
            "need the video; repeatable."
        ),
    ] = None,
    wide: WIDE = False,
    data: DATA = None,
) -> None:
    """Show one table per task and pool of complete records, with cost, floors and published figures."""
    from evals.leaderboard.build import collect_leaderboard
    from evals.leaderboard.compact import compact_markdown
    from evals.leaderboard.formats import FORMATS
    from evals.store import write_atomic
    from tasks.errors import RecordError

    if out and form is None and (out.is_dir() or not out.suffix):
        show_pages(places, out, data, flags or [], compact=compact, wide=wide)
        return
    wanted = form or (SUFFIXES.get(out.suffix) if out else TABLE)
    if wanted not in (TABLE, *FORMATS) or (out and wanted == TABLE):
        if form is None:
            raise RecordError(f"{out}: the name of a file ends in {', '.join(SUFFIXES)}; a folder gets pages")
        what = "is no file's" if form == TABLE else "is unknown"
        raise RecordError(f"format '{form}' {what}; formats are {TABLE} (for the screen), {', '.join(FORMATS)}")
    formats = {**FORMATS, "markdown": compact_markdown} if compact else FORMATS
    if compact and wanted not in (TABLE, "markdown"):
        raise RecordError(f"--compact goes with the formats {TABLE} and markdown, not {wanted}")
    board = collect_leaderboard(places, flags or [])
    if wanted != TABLE and not out:
        console.emit(formats[wanted](board))
        return
    if out:
        write_atomic(out, formats[wanted](board))
    (show_compact if compact else show)(board, wide=wide)
    if out:
        console.say(f"wrote {out}")


def show_pages(
    places: list[Path], out: Path, data: Path | None, flags: list[Path], *, compact: bool, wide: bool
) -> None:
    """Write a folder of pages, show the tables, and name the index page."""
    from evals.findings import board_findings
    from evals.html_report.index_page import write_index

    given = [word for path in flags for word in ("--flags", str(path))]
    command = join(["longvid", "leaderboard", *map(str, places), *given, "-o", str(out)])
    board, index = write_index(places, out, data, command, flags)
    (show_compact if compact else show)(board, wide=wide)
    for finding in board_findings(board):
        console.say(finding)
    console.say(f"page: {index}")


def show(board: Leaderboard, *, wide: bool = False) -> None:
    """Print the tables, and what was left out on standard error."""
    from evals.leaderboard.formats import cells, columns, least_columns, left_out, numeric_columns, remarks

    for number, table in enumerate(board.tables):
        if number:
            console.say("")
        rows = [cells(table, row) for row in table.rows]
        numeric, least = numeric_columns(table), least_columns(table)
        console.show_table(table.task.name, columns(table), rows, numeric, least=least, wide=wide)
        for note in remarks(table):
            console.note(note)
    for name, reason in left_out(board):
        console.warn(f"left out: {name}: {reason}")


def show_compact(board: Leaderboard, *, wide: bool = False) -> None:
    """Print the compact table, and what was left out on standard error."""
    from evals.leaderboard.compact import compact, compact_remarks
    from evals.leaderboard.formats import left_out

    table = compact(board)
    title = "95 % intervals in brackets" if table.rows else "complete runs"
    console.show_table(title, table.columns, table.rows, table.numeric, least=table.least, wide=wide, split=True)
    for remark in compact_remarks(board):
        console.note(remark)
    for name, reason in left_out(board):
        console.warn(f"left out: {name}: {reason}")
