"""Geometry of the accuracy-against-cost plot: pure functions from values to positions, drawn by a template as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from evals.figures import Grid, Group
from tasks.family import Unit

CHARACTER = 6.1  # width of a character in the plot's label size, in SVG units
LABEL_HEIGHT = 13.0
LEVEL_LETTERS, TITLE_LETTERS = 40, 120
LABELS_SHOWN = 40
TOP, BOTTOM, LEFT, RIGHT = 14.0, 44.0, 46.0, 14.0
FEWEST_TICKS = 3
REACH = 8.0  # from a point's centre to its label


@dataclass(frozen=True, slots=True)
class Point:
    """A run: cost, figure, interval, and `system`, which decides its colour and shape."""

    name: str
    system: str
    x: float
    y: float
    interval: tuple[float, float] | None
    href: str
    here: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """The interval, of zero width if there is none."""
        return self.interval or (self.y, self.y)


@dataclass(frozen=True, slots=True)
class Level:
    """A figure without a cost, drawn as a line across: a floor, or a published figure."""

    name: str
    kind: str
    y: float


@dataclass(frozen=True, slots=True)
class Axes:
    """What the axes mean and how their values are written; `log` says whether the cost axis is logarithmic."""

    x_title: str
    y_title: str
    x_text: Callable[[float], str]
    y_text: Callable[[float], str]
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Tick:
    """A position on an axis and its text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Label:
    """A name in the plot; `anchor` is SVG's text-anchor, `leader` a path to its point if it is set apart."""

    x: float
    y: float
    anchor: str
    text: str
    leader: str = ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A point in its position, with its whisker."""

    point: Point
    x: float
    y: float
    low: float
    high: float
    title: str
    label: Label | None


@dataclass(frozen=True, slots=True)
class DrawnLevel:
    """A level in its position, with its label moved clear of its neighbours."""

    level: Level
    y: float
    label_y: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Everything a template needs, in SVG units."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    axes: Axes
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    points: tuple[Drawn, ...]
    levels: tuple[DrawnLevel, ...]
    frontier: str
    narrow: bool


def draw(
    points: Sequence[Point],
    levels: Sequence[Level],
    axes: Axes,
    *,
    width: float,
    height: float,
    narrow: bool = False,
) -> Plot:
    """Lay out the plot: cost on a log axis, the figure on a linear one that holds all intervals.

    Levels are labelled to the right of the plot, or inside it in a `narrow` one, which has no room there.
    """
    shown = [p for p in points if p.x > 0 and math.isfinite(p.x) and math.isfinite(p.y)]
    longest = max((len(level_text(level, axes.y_text)) for level in levels), default=0)
    right = width - (RIGHT + CHARACTER * longest + REACH if levels and not narrow else RIGHT)
    bottom = height - BOTTOM
    heights = [y for p in shown for y in (p.y, *p.ends)] + [level.y for level in levels]
    y_low, y_high = padded(heights or [0.0, 1.0])
    x_low, x_high = log_range([p.x for p in shown] or [1.0])

    def at_x(value: float) -> float:
        return LEFT + (math.log10(value) - x_low) / (x_high - x_low) * (right - LEFT)

    def at_y(value: float) -> float:
        return bottom - (value - y_low) / (y_high - y_low) * (bottom - TOP)

    placed = [(p, at_x(p.x), at_y(p.y)) for p in shown]
    best = frontier(shown, axes.higher_is_better)
    labels = place_labels(placed, [p.name for p in best], (LEFT, TOP, right, bottom))
    return Plot(
        width=width,
        height=height,
        left=LEFT,
        right=right,
        top=TOP,
        bottom=bottom,
        axes=axes,
        x_ticks=tuple(Tick(at_x(v), axes.x_text(v)) for v in log_ticks(x_low, x_high, int((right - LEFT) // 60))),
        y_ticks=tuple(
            Tick(at_y(v), axes.y_text(v).removesuffix(".0"))
            for v in linear_ticks(y_low, y_high, int((bottom - TOP) // 44))
        ),
        points=tuple(
            Drawn(p, x, y, at_y(p.ends[0]), at_y(p.ends[1]), point_title(p, axes), labels.get(p.href))
            for p, x, y in placed
        ),
        levels=tuple(spread_levels([(level, at_y(level.y)) for level in levels], axes.y_text, bottom)),
        frontier=steps([(at_x(p.x), at_y(p.y)) for p in best], right) if len(best) > 1 else "",
        narrow=narrow,
    )


def steps(corners: Sequence[tuple[float, float]], right: float) -> str:
    """Return an SVG step path through points to the right edge: the best figure at each cost."""
    (x, y), *others = corners
    return f"M{x:.1f} {y:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in others) + f"H{right:.1f}"


def short(name: str, letters: int = LEVEL_LETTERS) -> str:
    """Cut a name to at most `letters` characters."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def level_text(level: Level, y_text: Callable[[float], str]) -> str:
    """Format a level's name and value."""
    return f"{short(level.name)} {y_text(level.y)}"


def point_title(point: Point, axes: Axes) -> str:
    """Return the tooltip of a point."""
    ends = "" if point.interval is None else f" ({'–'.join(axes.y_text(end) for end in point.interval)})"
    figure = f"{axes.y_title} {axes.y_text(point.y)}{ends}"
    return f"{short(point.name, TITLE_LETTERS)}: {figure}, {axes.x_title} {axes.x_text(point.x)}"


def padded(values: Sequence[float], share: float = 0.08) -> tuple[float, float]:
    """Return a range that holds all values with a margin and is never empty."""
    low, high = min(values), max(values)
    margin = share * (high - low) or 0.05 * (abs(high) or 1.0)
    return (max(0.0, low - margin) if low >= 0 else low - margin), high + margin


def log_range(values: Sequence[float]) -> tuple[float, float]:
    """Return log10 of a range that holds all values with a margin and spans at least a factor of four."""
    low, high = math.log10(min(values)), math.log10(max(values))
    margin = max(0.07 * (high - low), (0.6 - (high - low)) / 2, 0.08)
    return low - margin, high + margin


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return ticks at 1, 2 and 5 of each decade; more for a short range, only decades if those are too many."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    most = max(most, 2)

    def of(factors: Sequence[int]) -> list[float]:
        values = [factor * 10.0**decade for decade in decades for factor in factors]
        return [value for value in values if low <= math.log10(value) <= high]

    found = next((ticks for factors in ((1, 2, 5), (1, 3)) if len(ticks := of(factors)) <= most), of((1,)))
    if len(found) < FEWEST_TICKS:
        found = of((1, 2, 3, 5, 7))
    return found[:: math.ceil(len(found) / most) or 1]


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers in a range, about `most` at most."""
    rough = (high - low) / max(most, 2)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step)
    return [round(i * step, 12) for i in range(first, math.floor(high / step) + 1)]


def frontier(points: Sequence[Point], higher_is_better: bool) -> list[Point]:
    """Return the Pareto frontier: points that no other beats at the same or lower cost, by rising cost."""
    sign = 1.0 if higher_is_better else -1.0
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -sign * p.y)):
        if not best or sign * point.y > sign * best[-1].y:
            best.append(point)
    return best


Box = tuple[float, float, float, float]


def place_labels(placed: Sequence[tuple[Point, float, float]], first: Sequence[str], limits: Box) -> dict[str, Label]:
    """Place whole names beside their points, or further away with a leader line, never overlapping.

    The frontier's labels are placed first; if there are very many points, some have no label.
    """
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for _, x, y in placed]
    labels: dict[str, Label] = {}
    ordered = sorted(placed, key=lambda item: (not item[0].here, item[0].name not in first, item[2]))
    for point, x, y in ordered[:LABELS_SHOWN]:
        text = short(point.name, int((limits[2] - limits[0]) // CHARACTER))
        wide = CHARACTER * len(text)
        for anchor, left, middle in (*near(x, y, wide), *apart(x, y, wide, limits)):
            box = (left, middle - LABEL_HEIGHT / 2, left + wide, middle + LABEL_HEIGHT / 2)
            if is_within(box, limits) and not any(overlap(box, other) for other in taken):
                taken.append(box)
                at = {"start": left, "end": left + wide, "middle": left + wide / 2}[anchor]
                labels[point.href] = Label(at, middle + 4, anchor, text, leader(x, y, box))
                break
    return labels


Place = tuple[str, float, float]


def near(x: float, y: float, wide: float) -> Iterator[Place]:
    """Yield positions of a label next to its point: anchor, left edge, middle height."""
    yield "start", x + REACH, y - REACH  # above the stairs, which go right from each point
    yield "start", x + REACH, y
    yield "end", x - REACH - wide, y
    yield "middle", x - wide / 2, y - REACH - LABEL_HEIGHT / 2
    yield "middle", x - wide / 2, y + REACH + LABEL_HEIGHT / 2


def apart(x: float, y: float, wide: float, limits: Box) -> Iterator[Place]:
    """Yield positions further away, nearest heights first, on both sides of the point and at both edges of the plot."""
    for step in range(1, int((limits[3] - limits[1]) // LABEL_HEIGHT) + 1):
        for middle in (y - step * LABEL_HEIGHT, y + step * LABEL_HEIGHT):
            for away in (2, 6, 12):
                yield "start", x + away * REACH, middle
                yield "end", x - away * REACH - wide, middle
            yield "end", limits[2] - wide, middle
            yield "start", limits[0], middle


def leader(x: float, y: float, box: Box) -> str:
    """Return a path from a point to the nearest place on a label's box; empty if they nearly touch."""
    at = min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])
    far = math.hypot(at[0] - x, at[1] - y)
    return f"M{x:.1f} {y:.1f}L{at[0]:.1f} {at[1]:.1f}" if far > 2 * REACH else ""


def is_within(box: Box, limits: Box) -> bool:
    """Whether a box lies within another."""
    return box[0] >= limits[0] and box[1] >= limits[1] and box[2] <= limits[2] and box[3] <= limits[3]


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes (left, top, right, bottom) share area."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def spread_levels(
    levels: Sequence[tuple[Level, float]], y_text: Callable[[float], str], bottom: float
) -> list[DrawnLevel]:
    """Place levels from the top down, their labels at least a line apart and above the axis."""
    drawn: list[DrawnLevel] = []
    for level, y in sorted(levels, key=lambda pair: pair[1]):
        at = max(y + 4, drawn[-1].label_y + LABEL_HEIGHT) if drawn else y + 4
        drawn.append(DrawnLevel(level, y, at, level_text(level, y_text)))
    below = bottom
    for place in range(len(drawn) - 1, -1, -1):
        line = drawn[place]
        if line.label_y > below:
            drawn[place] = DrawnLevel(line.level, line.y, below, line.text)
        below = drawn[place].label_y - LABEL_HEIGHT
    return drawn


CELL_WIDTH, CELL_HEIGHT = 118.0, 58.0
ROW_NAMES, COLUMN_NAMES = 92.0, 24.0
FAINTEST, DARK_FROM = 0.04, 0.8


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a heat map: its place, its figure with interval and count, and how dark it is, from 0 to 1."""

    x: float
    y: float
    figure: str
    interval: str
    count: str
    title: str
    shade: float

    @property
    def dark(self) -> bool:
        """Whether its text is light."""
        return self.shade > DARK_FROM


@dataclass(frozen=True, slots=True)
class Heat:
    """A heat map in SVG units, with what its columns and rows are called and where."""

    width: float
    height: float
    figure: str
    columns: tuple[Tick, ...]
    rows: tuple[Tick, ...]
    cells: tuple[Cell, ...]


def draw_heat(grid: Grid, unit: Unit) -> Heat:
    """Place the cells of a grid of figures between 0 and 1; the higher, the darker."""

    def cell(row: int, column: int, group: Group) -> Cell:
        ends = "no interval" if group.interval is None else "–".join(map(unit.number, group.interval))
        return Cell(
            ROW_NAMES + column * CELL_WIDTH,
            COLUMN_NAMES + row * CELL_HEIGHT,
            unit.text(group.value),
            ends,
            f"n = {group.n}",
            f"{group.label}: {unit.text(group.value)}, interval {ends}, {group.n} items, {group.clusters} clusters",
            FAINTEST + (1 - FAINTEST) * min(max(group.value, 0.0), 1.0),
        )

    return Heat(
        width=ROW_NAMES + CELL_WIDTH * len(grid.columns),
        height=COLUMN_NAMES + CELL_HEIGHT * len(grid.rows),
        figure=grid.figure.replace("_", " "),
        columns=tuple(Tick(ROW_NAMES + CELL_WIDTH * (i + 0.5), name) for i, name in enumerate(grid.columns)),
        rows=tuple(Tick(COLUMN_NAMES + CELL_HEIGHT * (i + 0.5), name) for i, name in enumerate(grid.rows)),
        cells=tuple(
            cell(row, column, group)
            for row, line in enumerate(grid.cells)
            for column, group in enumerate(line)
            if group is not None
        ),
    )
