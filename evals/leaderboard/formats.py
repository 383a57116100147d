"""A leaderboard as text: JSON, CSV and Markdown, and the cells of a table."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from evals import console
from evals.html_report.table import leaderboard_page
from evals.leaderboard.rows import NAMES as COSTS
from evals.leaderboard.rows import BoardRow, BoardTable, Figure, Kind, Leaderboard, cost_cells
from evals.report import NOT_MEASURED, in_markdown, shown, table_lines
from tasks.family import Family
from tasks.registry import family_of
from tasks.task import figure_title

KINDS: Mapping[Kind, str] = MappingProxyType(
    {
        "run": "run",
        "blind": "run (floor: blind)",
        "floor": "floor",
        "imported": "imported: not run here",
        "reference": "published: not run here",
    }
)
WORDS = ("model", "kind", "route")
SECONDS = "s / item"
CSV_COLUMNS = (
    *("task", "metric", "primary", "kind", "run_here", "name", "model", "route", "value", "low", "high", "n"),
    *("clusters", "frames_per_item", "prompt_tokens_per_item", "completion_tokens_per_item", "seconds_per_item"),
    *("peak_memory_bytes", "parameters", "protocol", "source", "record_sha256"),
)
# A spreadsheet runs a text that begins like this, after any spaces, line ends and invisible marks; so do spreadsheets
# of locales that split lines elsewhere: at a semicolon, tab, bar or line end. A quote makes it text again.
FORMULA = re.compile(r"(^|[;|\t\r\n])(?=[\s\x00-\x20\x7f-\xa0\u200b-\u200f\u2060\ufeff'\"]*[=+\-@＝＋－＠])")


def columns(table: BoardTable) -> tuple[str, ...]:
    """Return the columns of a table for people."""
    return ("model", figure_title(table.metric), "95 % interval", *named_beside(table), "kind", *COSTS, "route")


def named_beside(table: BoardTable) -> tuple[str, ...]:
    """Return the columns of the figures beside the ranked one."""
    return tuple(figure_title(name) for name in table.beside)


def numeric_columns(table: BoardTable) -> tuple[str, ...]:
    """Return the columns that hold numbers."""
    return tuple(name for name in columns(table) if name not in WORDS)


def least_columns(table: BoardTable) -> tuple[str, ...]:
    """Return the columns that a narrow terminal drops, in this order."""
    return ("route", *(name for name in reversed(COSTS) if name != SECONDS), *reversed(named_beside(table)), SECONDS)


def cells(table: BoardTable, row: BoardRow) -> tuple[str, ...]:
    """Format a row, one cell per column; if the ranked figure is unknown, the one on public items takes its place."""
    figure, family = row.figure(table.metric), family_of(table.task.family)
    return (
        row.name,
        figure_text(figure, family) if known(figure) else public_text(table, row, family),
        interval_text(figure, family),
        *(figure_text(row.figure(name), family) for name in table.beside),
        KINDS[row.kind],
        *cost_cells(row.cost),
        row.route or NOT_MEASURED,
    )


def known(figure: Figure | None) -> bool:
    """Whether the figure has a value."""
    return figure is not None and figure.value is not None


def figure_text(figure: Figure | None, family: Family) -> str:
    """Format a value with its unit."""
    return NOT_MEASURED if figure is None else shown(figure.name, figure.value, family)


def public_text(table: BoardTable, row: BoardRow, family: Family) -> str:
    """Format the figure on items with public answers, marked, for a pool whose own figure is unknown."""
    public = row.figure(f"{table.metric}_public")
    return f"{figure_text(public, family)} (public)" if known(public) else NOT_MEASURED


def interval_text(figure: Figure | None, family: Family) -> str:
    """Format both ends of an interval."""
    if figure is None or figure.interval is None:
        return NOT_MEASURED
    return "–".join(family.unit(figure.name).number(end) for end in figure.interval)


def remarks(table: BoardTable) -> list[str]:
    """Return the table's notes, and the source and protocol of its published rows."""
    alike: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        if row.source:
            alike.setdefault((row.source, ", ".join(row.protocol.values())), []).append(row.name)
    told = (f"published in {source}: {'; '.join(names)} ({protocol})" for (source, protocol), names in alike.items())
    return [*table.notes, *told]


def as_json(board: Leaderboard) -> str:
    """Return the content of `leaderboard.json`, with a final newline."""
    return json.dumps(board.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def as_csv(board: Leaderboard) -> str:
    """Return CSV with one line per figure of each row; texts that a spreadsheet would run are quoted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for table in board.tables:
        for row in table.rows:
            writer.writerows(csv_line(table, row, figure) for figure in row.figures)
    return text.getvalue()


def csv_line(table: BoardTable, row: BoardRow, figure: Figure) -> list[object]:
    """Return a figure's CSV fields; unknown ones are empty."""
    low, high = figure.interval or (None, None)
    facts: dict[str, object] = {
        "task": table.task.name,
        "metric": figure.name,
        "primary": figure.name == table.metric,
        "value": figure.value,
        "low": low,
        "high": high,
        "n": figure.n,
        "clusters": figure.clusters,
        "protocol": "; ".join(f"{name}: {value}" for name, value in row.protocol.items()),
        **row.cost.model_dump(),
        **row.model_dump(include={"kind", "run_here", "name", "model", "route", "source", "record_sha256"}),
    }
    return [harmless(facts[name]) for name in CSV_COLUMNS]


def harmless(value: object) -> object:
    """Make a text safe for spreadsheets (no formula) and terminals (no control code); other values are unchanged."""
    return console.without_codes(FORMULA.sub(r"\1'", value)) if isinstance(value, str) else value


def as_markdown(board: Leaderboard) -> str:
    """Return a Markdown table per task, its notes, and what was left out."""
    lines: list[str] = []
    for table in board.tables:
        lines += [f"## {in_markdown(table.task.name)}", ""]
        lines += table_lines(columns(table), [cells(table, row) for row in table.rows], numeric_columns(table))
        lines += ["", *(f"- {in_markdown(note)}" for note in remarks(table)), ""]
    if board.excluded:
        lines += ["## Not in the tables", ""]
        lines += [f"- {in_markdown(f'{name}: {reason}')}" for name, reason in left_out(board)]
    return "\n".join(lines).rstrip() + "\n"


def left_out(board: Leaderboard) -> list[tuple[str, str]]:
    """Return excluded records by name, with the reason."""
    return [(f"{row.name} ({row.task})" if row.task else row.name, row.reason) for row in board.excluded]


# The formats of `--format` besides the table on the screen.
FORMATS: Mapping[str, Callable[[Leaderboard], str]] = MappingProxyType(
    {"json": as_json, "csv": as_csv, "markdown": as_markdown, "html": leaderboard_page}
)
