"""Merge all tables into one: a line per system, a column per task, value and interval in a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from evals.leaderboard.formats import KINDS, figure_text, interval_text, known, left_out, public_text, remarks
from evals.leaderboard.rows import BoardRow, BoardTable, Kind, Leaderboard, count, number
from evals.report import NOT_MEASURED, in_markdown, table_lines
from tasks.registry import family_of
from tasks.task import figure_title

FLOOR: Kind = "floor"
MARKS: Mapping[Kind, str] = MappingProxyType({kind: KINDS[kind] for kind in ("floor", "imported", "reference")})
FIRST_COLUMN = "system"
COST_COLUMNS = ("s / item", "parameters")


@dataclass(frozen=True, slots=True)
class CompactTable:
    """Column names and rows of cells; all columns but the first hold numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> tuple[str, ...]:
        """The columns that hold numbers."""
        return self.columns[1:]

    @property
    def least(self) -> tuple[str, ...]:
        """The columns that a narrow terminal drops, in this order."""
        return COST_COLUMNS[::-1]


def compact(board: Leaderboard) -> CompactTable:
    """Merge the board into one table; see `lines_of`."""
    tables, lines = lines_of(board)
    columns = (FIRST_COLUMN, *(heading(table) for table in tables), *COST_COLUMNS)
    return CompactTable(columns, tuple(line_cells(name, rows, tables) for name, rows in lines))


Line = tuple[str, list[BoardRow | None]]


def lines_of(board: Leaderboard) -> tuple[list[BoardTable], list[Line]]:
    """Return the tables, most systems first, and a line per system with its row of each table, floors last.

    Systems are identified by their runs' names, in the order of the tables. Systems that were not run here are marked
    and share no line with a run of that name. Cost is that of the first task a system has a run on. A second run of the
    same name on one task gets a number.
    """
    tables = sorted(board.tables, key=lambda table: -sum(row.kind != FLOOR for row in table.rows))
    lines: dict[str, list[BoardRow | None]] = {}
    for column, table in enumerate(tables):
        for row in (*of_systems(table), *of_floors(table)):
            line = lines.setdefault(free_name(row, column, lines), [None] * len(tables))
            line[column] = row
    return tables, sorted(lines.items(), key=lambda entry: all(row is None or row.kind == FLOOR for row in entry[1]))


def of_systems(table: BoardTable) -> list[BoardRow]:
    """Return the table's rows that are not floors, best first."""
    return [row for row in table.rows if row.kind != FLOOR]


def of_floors(table: BoardTable) -> list[BoardRow]:
    """Return the table's floors, best first."""
    return [row for row in table.rows if row.kind == FLOOR]


def free_name(row: BoardRow, column: int, lines: dict[str, list[BoardRow | None]]) -> str:
    """Return the row's name with its mark, and a number if the column already has a row of that name."""
    marked = f"{row.name} ({MARKS[row.kind]})" if row.kind in MARKS else row.name
    name, number_ = marked, 2
    while name in lines and lines[name][column] is not None:
        name, number_ = f"{marked} ({number_})", number_ + 1
    return name


def heading(table: BoardTable) -> str:
    """Return the column heading: task and metric."""
    return f"{table.task.name} {figure_title(table.metric)}"


def line_cells(name: str, rows: Sequence[BoardRow | None], tables: Sequence[BoardTable]) -> tuple[str, ...]:
    """A system's line."""
    cost = next((row.cost for row in rows if row is not None and row.cost.seconds_per_item is not None), None)
    parameters = None if cost is None else cost.parameters
    return (
        name,
        *(value_cell(table, row) for table, row in zip(tables, rows, strict=True)),
        number(None if cost is None else cost.seconds_per_item, "{:.2g}"),
        NOT_MEASURED if parameters is None else count(parameters),
    )


def value_cell(table: BoardTable, row: BoardRow | None) -> str:
    """Format a value with its interval."""
    if row is None:
        return NOT_MEASURED
    figure, family = row.figure(table.metric), family_of(table.task.family)
    if not known(figure):
        return public_text(table, row, family)
    return f"{figure_text(figure, family)} ({interval_text(figure, family)})"


def compact_remarks(board: Leaderboard) -> list[str]:
    """List notes for the reader, each with the task whose column it is about."""
    return [f"{table.task.name}: {remark}" for table in board.tables for remark in remarks(table)]


def compact_markdown(board: Leaderboard) -> str:
    """Render the compact table as Markdown, with what was left out."""
    table = compact(board)
    lines = table_lines(table.columns, table.rows, table.numeric)
    lines += ["", "Intervals are 95 %."]
    lines += [f"- {in_markdown(remark)}" for remark in compact_remarks(board)]
    lines += [f"- left out: {in_markdown(f'{name}: {reason}')}" for name, reason in left_out(board)]
    return "\n".join(lines) + "\n"
