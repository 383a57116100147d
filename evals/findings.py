"""Findings in sentences: on one run beside its floors, and on a leaderboard. None says more than its figures support.

A figure is called better than another if its whole interval lies on that side of it, and two figures are called
different if their intervals do not overlap. `longvid compare` pairs items and can detect more.
"""

from __future__ import annotations

from collections.abc import Sequence

from evals.leaderboard.rows import BoardRow, BoardTable, Figure, Leaderboard
from evals.record import Results
from tasks.family import Unit
from tasks.registry import SYSTEM_TITLES, System, family_of
from tasks.task import Metric, figure_title

RUNS = ("run", "imported")
CHEAPER = 1.5
"""Our choice: costs whose ratio is below this are not mentioned."""


def run_finding(results: Results, blind: Sequence[Results] = ()) -> str:
    """State a run's figure beside its best floor or blind run on the same items."""
    metric, unit = results.primary, family_of(results.task.family).unit(results.primary.name)
    name = figure_title(metric.name)
    if metric.value is None:
        return f"{results.name} has no {name}: {metric.method}."
    seen = f"{results.name}: {name} {unit.text(metric.value)}{interval_of(metric, unit)} on {metric.n:,} items"
    if results.status != "complete":
        seen += f" of {results.counts.task_items:,}, which is no result of {results.task.name}"
    floors = [(floor.model, floor.metric) for floor in results.floors]
    floors += [(run.name, run.primary) for run in blind if run.fingerprint != results.fingerprint]
    known = [(whose, floor.value) for whose, floor in floors if floor.value is not None]
    if not known:
        return f"{seen}."
    sign = 1 if metric.higher_is_better else -1
    whose, value = max(known, key=lambda floor: sign * floor[1])
    return f"{seen}; {beside(metric, value, sign)} its best floor, {whose} at {unit.text(value)}."


def beside(metric: Metric | Figure, value: float, sign: int) -> str:
    """Say how a figure and its interval compare with a value; `sign` is −1 if lower is better."""
    if metric.interval is None or metric.value is None:
        return "without an interval nothing can be said of"
    low, high = metric.interval
    if low <= value <= high:
        return "not distinguishable from"
    return "better than" if sign * (low - value) > 0 else "worse than"


def interval_of(metric: Metric | Figure, unit: Unit) -> str:
    """Format an interval in brackets; empty if there is none."""
    if metric.interval is None:
        return ""
    return f" (95 % interval {'–'.join(map(unit.number, metric.interval))})"


def board_findings(board: Leaderboard) -> list[str]:
    """State up to three findings on the table with the most runs: best run, best of other kinds, blind runs or cost."""
    tables = [table for table in board.tables if ranked(table)]
    if not tables:
        return ["No run here is complete: there is nothing to find yet."]
    return table_findings(max(tables, key=lambda table: (len(ranked(table)), table.task.item_count)))


def table_findings(table: BoardTable) -> list[str]:
    """State at most three findings on a table; none if no run is ranked."""
    rows = ranked(table)
    if not rows:
        return []
    said = [best_finding(table, rows), others_finding(table, rows)]
    said.append(words_finding(table) if family_of(table.task.family).needs_blind else cost_finding(table, rows))
    return [sentence for sentence in said if sentence]


def ranked(table: BoardTable) -> list[BoardRow]:
    """Return the runs whose ranked figure is known, best first; blind runs count as floors here."""
    return [row for row in table.rows if row.kind in RUNS and value_of(table, row) is not None]


def value_of(table: BoardTable, row: BoardRow) -> float | None:
    """Return a row's ranked figure."""
    figure = row.figure(table.metric)
    return None if figure is None else figure.value


def told(table: BoardTable, row: BoardRow) -> str:
    """Format a row's name with its figure and interval."""
    figure, unit = row.figure(table.metric), family_of(table.task.family).unit(table.metric)
    if figure is None or figure.value is None:
        return row.name
    ends = "" if figure.interval is None else f", {'–'.join(map(unit.number, figure.interval))}"
    return f"{row.name} ({unit.text(figure.value)}{ends})"


def best_finding(table: BoardTable, rows: Sequence[BoardRow]) -> str:
    """Compare the best run with the best floor."""
    sign = 1 if table.higher_is_better else -1
    best, figure = rows[0], rows[0].figure(table.metric)
    first = value_of(table, best)
    equal = [row.name for row in rows[1:] if value_of(table, row) == first]
    of = f"best of {len(rows)} runs" if len(rows) > 1 else "the only run"
    lead = f"{table.task.name}, {figure_title(table.metric)}: {told(table, best)} is {of}"
    if equal:
        lead += f", level with {', '.join(equal)}"
    floors = [row for row in table.rows if row.kind in {"floor", "blind"} and value_of(table, row) is not None]
    if not floors or figure is None:
        return f"{lead}."
    floor = max(floors, key=lambda row: sign * (value_of(table, row) or 0.0))
    return f"{lead} and {beside(figure, value_of(table, floor) or 0.0, sign)} the best floor, {told(table, floor)}."


def others_finding(table: BoardTable, rows: Sequence[BoardRow]) -> str:
    """Compare the best run with the best one of another kind, or with the next best."""
    if len(rows) == 1:
        return ""
    best = rows[0]
    elsewhere = (row for row in rows if row.system not in {best.system, System.FLOOR})
    other = next(elsewhere, next((row for row in rows if row.system != best.system), rows[1]))
    kinds = f"{kind_of(best)} and {kind_of(other)}" if best.system != other.system else "best and next"
    sign = 1 if table.higher_is_better else -1
    ours, theirs = best.figure(table.metric), other.figure(table.metric)
    if ours is None or theirs is None or ours.interval is None or theirs.interval is None:
        return f"Best {kinds}, {best.name} and {other.name}: without intervals they cannot be told apart."
    if sign * (ours.interval[0 if sign > 0 else 1] - theirs.interval[1 if sign > 0 else 0]) > 0:
        return f"{kinds.capitalize()}: {best.name} is better than {told(table, other)}, their intervals lying apart."
    return (
        f"{kinds.capitalize()}: the intervals of {best.name} and {told(table, other)} overlap, which settles nothing; "
        f"'longvid compare' pairs them item by item."
    )


def kind_of(row: BoardRow) -> str:
    """Name the kind of a run's system in a few words."""
    return SYSTEM_TITLES[System(row.system)].partition(":")[0] if row.system in set(System) else "not declared"


def words_finding(table: BoardTable) -> str:
    """Say how well blind runs do."""
    sign = 1 if table.higher_is_better else -1
    blind = [row for row in table.rows if row.kind == "blind" and value_of(table, row) is not None]
    if not blind:
        return "No blind run is among them: what the words alone give away is not known."
    row, floors = blind[0], [r for r in table.rows if r.kind == "floor" and value_of(table, r) is not None]
    figure = row.figure(table.metric)
    if not floors or figure is None:
        return f"The words alone: {told(table, row)}."
    floor = max(floors, key=lambda other: sign * (value_of(table, other) or 0.0))
    stands = beside(figure, value_of(table, floor) or 0.0, sign)
    gives = "give answers away" if stands == "better than" else "show no shortcut"
    return f"The words alone {gives}: {told(table, row)} is {stands} {told(table, floor)}, which does not read them."


def cost_finding(table: BoardTable, rows: Sequence[BoardRow]) -> str:
    """Compare the fastest run with the best one."""
    timed = [row for row in rows if row.cost.seconds_per_item]
    best = rows[0]
    if len(timed) < 2 or not best.cost.seconds_per_item:
        return ""
    fastest = min(timed, key=lambda row: row.cost.seconds_per_item or 0.0)
    times = best.cost.seconds_per_item / (fastest.cost.seconds_per_item or 1.0)
    if times < CHEAPER:
        return ""
    return f"{told(table, fastest)} is the fastest: {best.name} takes {times:.1f} times as long for an item."
