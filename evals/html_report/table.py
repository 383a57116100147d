"""A leaderboard as a page shows it: figures as text, intervals as bars on one scale, costs with their units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from evals.html_report.plot import Axes, Level, Plot, Point, draw
from evals.html_report.render import render, terms
from evals.leaderboard.rows import BoardRow, BoardTable, CostColumns, Figure, Leaderboard
from evals.report import NOT_MEASURED
from tasks.family import Family
from tasks.registry import SYSTEM_TITLES, family_of, system_of
from tasks.retrieval import DIRECTIONS

SUFFIXES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
BYTE_SUFFIXES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def three_figures(value: float) -> str:
    """Format a non-negative number with about three significant digits and no exponent."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.0e}"


def count(value: float) -> str:
    """Format tokens, frames or parameters: 1,659 as `1.66k`."""
    for size, suffix in SUFFIXES:
        if value >= size:
            return f"{three_figures(value / size)}{suffix}"
    return three_figures(value)


def seconds(value: float) -> str:
    """Format seconds; as minutes from two minutes on, as milliseconds below a tenth of a second."""
    if value < 0.1:
        return f"{three_figures(1000 * value)} ms"
    return f"{three_figures(value / 60)} min" if value >= 120 else f"{three_figures(value)} s"


def memory(value: float) -> str:
    """Format bytes in decimal units."""
    for size, suffix in BYTE_SUFFIXES:
        if value >= size:
            return f"{three_figures(value / size)} {suffix}"
    return f"{value:.0f} B"


@dataclass(frozen=True, slots=True)
class CostKind:
    """One kind of cost: its names, how to read it from a row, and how to format it."""

    title: str
    short: str
    value: Callable[[CostColumns], float | None]
    text: Callable[[float], str]

    def cell(self, cost: CostColumns) -> str:
        """Format a row's cost."""
        value = self.value(cost)
        return NOT_MEASURED if value is None else self.text(value)


COSTS: Mapping[str, CostKind] = MappingProxyType(
    {
        "seconds": CostKind("time per item", "time", lambda cost: cost.seconds_per_item, seconds),
        "tokens": CostKind(
            "tokens per item",
            "tokens",
            lambda cost: (
                None
                if cost.prompt_tokens_per_item is None
                else cost.prompt_tokens_per_item + (cost.completion_tokens_per_item or 0.0)
            ),
            count,
        ),
        "frames": CostKind("frames per item", "frames", lambda cost: cost.frames_per_item, count),
        "memory": CostKind("peak memory", "memory", lambda cost: cost.peak_memory_bytes, memory),
        "parameters": CostKind("parameters", "params", lambda cost: cost.parameters, count),
    }
)


BAR_WIDTH, BAR_MARGIN = 150.0, 5.0
WIDE, NARROW = (1110.0, 430.0), (358.0, 330.0)  # the text column on a screen and on a phone, in pixels
KINDS: Mapping[str, str] = MappingProxyType(
    {"run": "", "blind": "blind", "floor": "floor", "imported": "imported", "reference": "not run here"}
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and its interval as positions on a scale from 0 to `BAR_WIDTH`."""

    at: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RowView:
    """A row of a table, as text."""

    anchor: str
    rank: str
    name: str
    kind: str
    chip: str
    system: str
    about: str
    value: float | None
    figure: str
    interval: str
    bar: Bar | None
    n: str
    beside: tuple[str, ...]
    costs: tuple[tuple[str, float | None], ...]
    here: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CostPlot:
    """One cost's plot, drawn for a screen and for a phone."""

    key: str
    title: str
    wide: Plot
    narrow: Plot


@dataclass(frozen=True, slots=True)
class TableView:
    """A task's table with its plots; `here` is the row that the page is about."""

    anchor: str
    table: BoardTable
    unit: str
    rows: tuple[RowView, ...]
    beside: tuple[str, ...]
    costs: tuple[CostKind, ...]
    plots: tuple[CostPlot, ...]
    systems: tuple[tuple[str, str], ...]
    runs: int
    same_n: bool
    published: tuple[tuple[str, str, str], ...]


def table_view(table: BoardTable, number: int = 0, here: str | None = None) -> TableView:
    """Build the table for a page; `here` is the digest of the record that the page is about."""
    anchor, family = f"t{number}", family_of(table.task.family)
    figures = [
        figure for row in table.rows if (figure := ranked_figure(row, table.metric)) and figure.value is not None
    ]
    scale = bar_scale(figures)
    costs = tuple(kind for kind in COSTS.values() if any(kind.value(row.cost) is not None for row in table.rows))
    rows, rank = [], 0
    for place, row in enumerate(table.rows):
        rank += row.kind in {"run", "imported"}
        ranked = str(rank) if row.kind in {"run", "imported"} else ""
        rows.append(row_view(row, table, family, f"{anchor}r{place}", ranked, costs, scale, here))
    systems = [row.system for row in rows if row.kind in {"run", "imported", "blind"}]
    return TableView(
        anchor=anchor,
        table=table,
        unit=family.unit(table.metric).symbol,
        rows=tuple(rows),
        beside=tuple(beside_title(name, table.metric) for name in table.beside),
        costs=costs,
        plots=tuple(plot for key in COSTS if (plot := cost_plot(key, table, family, rows)) is not None),
        systems=tuple((key, text) for key, text in SYSTEM_TITLES.items() if key in systems),
        runs=sum(row.kind in {"run", "imported", "blind"} for row in table.rows),
        same_n=len({row.n for row in rows if row.n != NOT_MEASURED}) <= 1,
        published=tuple(
            (row.name, row.source or "", ", ".join(row.protocol.values()))
            for row in table.rows
            if row.kind == "reference"
        ),
    )


def row_view(
    row: BoardRow,
    table: BoardTable,
    family: Family,
    anchor: str,
    rank: str,
    costs: Sequence[CostKind],
    scale: Callable[[float], float],
    here: str | None,
) -> RowView:
    """Build one row's cells."""
    figure = ranked_figure(row, table.metric)
    value = figure.value if figure else None
    public = " (public items)" if figure and figure.name != table.metric else ""
    return RowView(
        anchor=anchor,
        rank=rank,
        name=row.name,
        kind=row.kind,
        chip=KINDS[row.kind] + public,
        system=system_of(row.model, row.system, imported=row.kind == "imported"),
        about=row.source or (f"route: {row.route}" if row.route else ""),
        value=value,
        figure=NOT_MEASURED if value is None else family.unit(table.metric).number(value),
        interval=interval_text(table.metric, figure, family),
        bar=None if figure is None else bar(figure, scale),
        n=f"{figure.n} / {figure.clusters}" if figure and figure.n is not None else NOT_MEASURED,
        beside=tuple(beside_text(row.figure(name), family) for name in table.beside),
        costs=tuple((kind.cell(row.cost), kind.value(row.cost)) for kind in costs),
        here=here is not None and row.record_sha256 == here,
        warnings=row.warnings,
    )


def ranked_figure(row: BoardRow, metric: str) -> Figure | None:
    """Return the figure that a table is ranked by or, if it is unknown, the one on items with public answers."""
    figure, public = row.figure(metric), row.figure(f"{metric}_public")
    return public if public is not None and (figure is None or figure.value is None) else figure


def beside_title(name: str, metric: str) -> str:
    """Return a column's title, without the direction if it is the same as the ranked figure's."""
    direction = next((f"{one}_" for one in DIRECTIONS if metric.startswith(one)), "")
    return name.removeprefix(direction).replace("_", " ")


def beside_text(figure: Figure | None, family: Family) -> str:
    """Format a figure shown beside the primary one, with its unit."""
    if figure is None or figure.value is None:
        return NOT_MEASURED
    return family.unit(figure.name).text(figure.value)


def interval_text(metric: str, figure: Figure | None, family: Family) -> str:
    """Format an interval as `45.5–54.5`, or a dash."""
    if figure is None or figure.interval is None:
        return NOT_MEASURED
    return "–".join(map(family.unit(metric).number, figure.interval))


def bar_scale(figures: Sequence[Figure]) -> Callable[[float], float]:
    """Return a function from figures to positions on a bar that holds all of them with their intervals."""
    ends = [end for f in figures if f.value is not None for end in (f.value, *(f.interval or ()))] or [0.0, 1.0]
    low, high = min(ends), max(ends)
    span = high - low or 1.0
    return lambda value: BAR_MARGIN + (value - low) / span * (BAR_WIDTH - 2 * BAR_MARGIN)


def bar(figure: Figure, scale: Callable[[float], float]) -> Bar | None:
    """Place a figure and its interval on the scale."""
    if figure.value is None:
        return None
    low, high = figure.interval or (figure.value, figure.value)
    return Bar(scale(figure.value), scale(low), scale(high))


def cost_plot(key: str, table: BoardTable, family: Family, rows: Sequence[RowView]) -> CostPlot | None:
    """Plot the figure against one cost; None if fewer than two rows have it."""
    kind = COSTS[key]
    points, levels = [], []
    for row, view in zip(table.rows, rows, strict=True):
        figure = ranked_figure(row, table.metric)
        if figure is None or figure.value is None:
            continue
        cost = kind.value(row.cost)
        if row.kind in {"floor", "reference"}:
            levels.append(Level(row.name, row.kind, figure.value))
        elif cost:
            points.append(Point(row.name, view.system, cost, figure.value, figure.interval, view.anchor, view.here))
    if len(points) < 2:
        return None
    y_title = table.metric.replace("_", " ")
    axes = Axes(kind.title, y_title, kind.text, family.unit(table.metric).number, table.higher_is_better)
    floors = [level for level in levels if level.kind == "floor"]
    wide = draw(points, levels, axes, width=WIDE[0], height=WIDE[1])
    narrow = draw(points, floors, axes, width=NARROW[0], height=NARROW[1], narrow=True)
    return CostPlot(key, kind.title, wide, narrow)


def leaderboard_page(leaderboard: Leaderboard, title: str = "Leaderboard") -> str:
    """Render the page, a pure function of the leaderboard."""
    views = [table_view(table, number) for number, table in enumerate(leaderboard.tables)]
    words = terms(table.task.family for table in leaderboard.tables)
    return render("board.html.j2", title=title, views=views, excluded=leaderboard.excluded, terms=words)
