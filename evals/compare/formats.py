"""Render a comparison as tables, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from evals.compare.build import ends, named, p_text, signed
from evals.compare.rows import Comparison, Difference, Pair
from evals.leaderboard.rows import NAMES as COSTS
from evals.leaderboard.rows import cost_cells
from evals.report import NOT_MEASURED, in_markdown, shown, table_lines
from tasks.family import UNPARSED_RATE, Family
from tasks.registry import family_of
from tasks.task import figure_title

RUN_COLUMNS = ("run", "value", *COSTS, "model", "route")
RUN_LEAST = ("route", *reversed(COSTS[2:]), "model", *reversed(COSTS[:2]))


@dataclass(frozen=True, slots=True)
class Grid:
    """A titled table of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[str, ...] = ()
    least: tuple[str, ...] = ()


def grids(comparison: Comparison) -> list[Grid]:
    """Return the tables of runs with their cost, of differences, and of wins."""
    family = family_of(comparison.family)
    runs = Grid(
        f"{comparison.task}: {comparison.metric} on {comparison.items} items from {comparison.clusters} clusters",
        RUN_COLUMNS,
        tuple(run_cells(comparison, family)),
        RUN_COLUMNS[1:-2],
        RUN_LEAST,
    )
    columns = ("figure", "difference", "95 % interval", "test", "first", "other", "detectable")
    differences = [
        Grid(
            f"{pair.other} against {pair.first}",
            columns,
            tuple(difference_cells(pair, row, family) for row in shown_differences(pair, family)),
            ("first", "other", "difference", "95 % interval", "detectable"),
            ("detectable", "other", "first"),
        )
        for pair in comparison.pairs
    ]
    outcomes = Grid(
        f"items, by {comparison.metric}: wins are of the second run",
        ("pair", "wins", "losses", "ties", "won", "lost"),
        tuple(
            (
                f"{p.first} / {p.other}",
                *(str(len(ids)) for ids in (p.wins, p.losses, p.ties)),
                named(p.wins),
                named(p.losses),
            )
            for p in comparison.pairs
        ),
        ("wins", "losses", "ties"),
        ("lost", "won"),
    )
    return [runs, *differences, outcomes]


def run_cells(comparison: Comparison, family: Family) -> list[tuple[str, ...]]:
    """Return the cells of runs with their cost; a cost of both runs has its ratio to the first run's."""
    return [
        (
            run.name,
            shown(comparison.metric, run.value, family),
            *cost_cells(run.cost, comparison.runs[0].cost if place else None),
            run.model + (" (imported)" if run.imported else ""),
            run.route or NOT_MEASURED,
        )
        for place, run in enumerate(comparison.runs)
    ]


def shown_differences(pair: Pair, family: Family) -> Sequence[Difference]:
    """Return the primary figure and those shown beside it; JSON has all."""
    beside = family.beside.get(pair.primary.name, ())
    return [
        row
        for row in pair.differences
        if row.primary or row.name in beside or (row.name == UNPARSED_RATE and row.first + row.other > 0)
    ]


def difference_cells(pair: Pair, row: Difference, family: Family) -> tuple[str, ...]:
    """Format a figure's difference; only the primary one has a test."""
    unit = family.unit(row.name)
    return (
        figure_title(row.name),
        signed(row.difference, unit),
        NOT_MEASURED if row.interval is None else ends(row, unit),
        p_text(pair.test) if row.primary else "",
        unit.text(row.first),
        unit.text(row.other),
        unit.amount(pair.detectable) if row.primary and pair.detectable is not None else "",
    )


def as_json(comparison: Comparison) -> str:
    """Return everything as JSON, with all items named."""
    return json.dumps(comparison.model_dump(mode="json"), indent=2)


def as_markdown(comparison: Comparison) -> str:
    """Return the conclusions, the tables and the notes as Markdown."""
    lines = [f"- {in_markdown(pair.conclusion)}" for pair in comparison.pairs]
    for grid in grids(comparison):
        lines += ["", f"### {in_markdown(grid.title)}", "", *table_lines(grid.columns, grid.rows, grid.numeric)]
    lines += [""]
    lines += [f"- {in_markdown(note)}" for note in remarks(comparison)]
    return "\n".join(lines) + "\n"


def remarks(comparison: Comparison) -> list[str]:
    """Return a line on the tests, and the notes."""
    tests = dict.fromkeys(pair.test.method for pair in comparison.pairs)
    return [f"test: {'; '.join(tests)}; correction: {comparison.correction}", *comparison.notes]
