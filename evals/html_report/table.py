"""A leaderboard as a page shows it: figures as text, intervals as bars on one scale, costs with their units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING

from markupsafe import Markup

from evals.figures import Grid, Group
from evals.html_report.render import clean, render, terms
from evals.leaderboard.rows import BoardRow, BoardTable, CostColumns, Figure, Leaderboard
from evals.report import NOT_MEASURED
from tasks.family import Family, Unit
from tasks.registry import SYSTEM_TITLES, family_of, system_of
from tasks.retrieval import DIRECTIONS
from tasks.task import figure_title

if TYPE_CHECKING:
    from evals.plots import Level, Point

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
NO_PLOTS = "There are no plots: matplotlib is not installed. pip install 'longvid[report]' brings it."
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
    """One cost's plot, drawn for a screen and for a phone; `named` says which points have names where not all do."""

    key: str
    title: str
    wide: Markup
    narrow: Markup
    named: str


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
    no_plots: str
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
    drawable = [key for key in COSTS if len(cost_points(key, table, rows)) > 1]
    return TableView(
        anchor=anchor,
        table=table,
        unit=family.unit(table.metric).symbol,
        rows=tuple(rows),
        beside=tuple(beside_title(name, table.metric) for name in table.beside),
        costs=costs,
        plots=tuple(cost_plot(key, table, rows, anchor) for key in drawable if can_draw()),
        no_plots=NO_PLOTS if drawable and not can_draw() else "",
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
    return figure_title(name.removeprefix(direction))


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


def can_draw() -> bool:
    """Whether matplotlib is installed; without it, pages have no plots."""
    return find_spec("matplotlib") is not None


def cost_points(key: str, table: BoardTable, rows: Sequence[RowView]) -> list[tuple[BoardRow, RowView, float, Figure]]:
    """Return the rows whose figure and whose cost of one kind are known."""
    found = []
    for row, view in zip(table.rows, rows, strict=True):
        figure, cost = ranked_figure(row, table.metric), COSTS[key].value(row.cost)
        if row.kind not in LEVELS and figure is not None and figure.value is not None and cost:
            found.append((row, view, cost, figure))
    return found


LEVELS = frozenset({"floor", "reference"})


def cost_plot(key: str, table: BoardTable, rows: Sequence[RowView], anchor: str) -> CostPlot:
    """Plot the figure against one cost and mark the row that the page is about."""
    from evals.plots import NAMES_SHOWN, Level, Point

    known = cost_points(key, table, rows)
    points = tuple(
        Point(clean(row.name), view.system, cost, figure.value or 0.0, figure.interval, view.anchor)
        for row, view, cost, figure in known
    )
    here = next((view.anchor for _, view, _, _ in known if view.here), "")
    levels = tuple(
        Level(clean(row.name), row.kind, figure.value)
        for row in table.rows
        if row.kind in LEVELS and (figure := ranked_figure(row, table.metric)) and figure.value is not None
    )
    first = here if len(points) > NAMES_SHOWN else ""
    wide, narrow = drawn(
        points, levels, f"{anchor}-{key}", table.metric, table.task.family, table.higher_is_better, first
    )
    named = f"{NAMES_SHOWN} of {len(points)} points have names: those that nothing cheaper beats and the best"
    return CostPlot(
        key, COSTS[key].title, marked(wide, here), marked(narrow, here), named if len(points) > NAMES_SHOWN else ""
    )


@lru_cache(maxsize=256)
def drawn(
    points: tuple[Point, ...],
    levels: tuple[Level, ...],
    name: str,
    metric: str,
    family: str,
    higher_is_better: bool,
    first: str,
) -> tuple[str, str]:
    """Draw the plot of one cost as SVG, for a screen and for a phone. Cached: the pages of one task share it.

    Args:
        points: The runs.
        levels: Floors and published figures; the phone's has the floors alone.
        name: The table's anchor and the cost's key.
        metric: The figure.
        family: The task's.
        higher_is_better: The figure's direction.
        first: The anchor of a point that is named whatever its figure.
    """
    from evals.plots import PAGE, Link, Scales, Size, cost_figure, page_svg

    kind, number = COSTS[name.rpartition("-")[2]], family_of(family).unit(metric).number
    y_title = figure_title(metric)
    scales = Scales(kind.title, y_title, kind.text, number, higher_is_better)

    def title(point: Point) -> str:
        ends = "" if point.interval is None else f" ({'–'.join(map(number, point.interval))})"
        return f"{point.name[:TITLE_LETTERS]}: {y_title} {number(point.y)}{ends}, {kind.title} {kind.text(point.x)}"

    links = [Link(point.href, title(point), point.system) for point in points]
    label = f"{y_title} against {kind.title}; the table has the same numbers"
    floors = tuple(level for level in levels if level.kind == "floor")
    made = []
    for shape, across, (width, height) in (("wide", levels, WIDE), ("narrow", floors, NARROW)):
        figure = cost_figure(points, across, scales, Size(width, height, shape == "narrow"), PAGE, first)
        made.append(page_svg(figure, f"{name}-{shape}", shape, label, links))
    return made[0], made[1]


TITLE_LETTERS = 120


def marked(svg: str, here: str) -> Markup:
    """Mark the point that the page is about."""
    found = f'href="#{here}" class="'
    return Markup(svg.replace(found, f"{found}here ", 1) if here else svg)  # noqa: S704 - texts in it are escaped


def leaderboard_page(leaderboard: Leaderboard, title: str = "Leaderboard") -> str:
    """Render the page, a pure function of the leaderboard."""
    views = [table_view(table, number) for number, table in enumerate(leaderboard.tables)]
    words = terms(table.task.family for table in leaderboard.tables)
    return render("board.html.j2", title=title, views=views, excluded=leaderboard.excluded, terms=words)


SHADES = 10


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure with its interval and count; `shade` is from 0 to `SHADES`, the higher the figure the darker."""

    figure: str
    interval: str
    count: str
    shade: int


def grid_rows(grid: Grid, unit: Unit) -> list[tuple[str, list[Cell | None]]]:
    """Return the rows of a grid of figures between 0 and 1, each with its name."""

    def cell(group: Group) -> Cell:
        ends = "no interval" if group.interval is None else "–".join(map(unit.number, group.interval))
        shade = round(SHADES * min(max(group.value, 0.0), 1.0))
        return Cell(unit.text(group.value), ends, f"n = {group.n}", shade)

    return [
        (name, [None if group is None else cell(group) for group in line])
        for name, line in zip(grid.rows, grid.cells, strict=True)
    ]
