"""All plots, drawn by matplotlib: figures for files and notebooks, and SVG for pages, coloured by the page's style.

Two kinds are drawn: a figure against a cost, with every point named (`cost_figure`), and curves (`lines_figure`).
matplotlib is the extra `report`; nothing here is imported before something is drawn.
"""

from __future__ import annotations

import io
import math
import textwrap
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter

from tasks.registry import SYSTEM_TITLES

Colours = Mapping[str, str]

LIGHT: Colours = MappingProxyType(
    {
        "paper": "#ffffff",
        "ink": "#1c1d20",
        "muted": "#686b72",
        "rule": "#e5e2dc",
        "accent": "#2458c5",
        "encoder": "#2458c5",
        "aggregator": "#c4570b",
        "video-llm": "#a8325e",
        "text": "#75529f",
        "floor": "#6b6b6b",
        "elsewhere": "#0d7b70",
        "unknown": "#111111",
    }
)
"""Colours of figures in files and notebooks, by role."""
PAGE: Colours = MappingProxyType({role: f"#fe00{number:02x}" for number, role in enumerate(LIGHT)})
"""A placeholder for each colour; `page_svg` replaces it with the variable of the page's style sheet."""
SHARED = {"floor": "muted", "unknown": "muted"}
"""Roles without a colour of their own in pages, and the role whose colour they use there."""
MARKERS = dict(zip(SYSTEM_TITLES, ("o", "s", "P", "^", "v", "D", "X"), strict=True))
SERIES = ("encoder", "aggregator", "elsewhere", "text", "video-llm", "muted", "ink")
SHAPES = ("o", "s", "^", "D", "v", "P", "X")

POINTS = 72  # in an inch: sizes here are in points, which are the units of an SVG
FONT, SMALL, LINE = 12.0, 11.0, 14.0
REACH = 9.0
"""Distance from a point's centre to its name."""
MARKS = "points-"
MARK = 6.0
"""Half the side of the square that a point covers."""
TRIED = 48
"""Our choice: how many of the nearest free places for a name are compared."""
CROSSED = 24.0
"""Our choice: how much farther away a name may be placed for each line that it avoids crossing."""
NAMES_SHOWN = 40
"""Our choice: with more points, only the best are named; the table below the plot names all."""
NAME_LETTERS = 90
"""Longer names are cut, as in the tables of pages."""
TALLEST = 4.0
"""Largest height of a plot as a multiple of its width; until then it grows until every name fits."""

Box = tuple[float, float, float, float]
Segment = tuple[float, float, float, float]
Boxes = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Point:
    """A run: cost, figure, interval, and `system`, which decides its colour and shape; `href` is where it leads."""

    name: str
    system: str
    x: float
    y: float
    interval: tuple[float, float] | None = None
    href: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """The interval; of zero width if there is none."""
        return self.interval or (self.y, self.y)


@dataclass(frozen=True, slots=True)
class Level:
    """A figure without a cost, drawn as a line across: a floor, or a published figure."""

    name: str
    kind: str
    y: float


@dataclass(frozen=True, slots=True)
class Scales:
    """What the axes mean and how their values are written; the cost's is logarithmic."""

    x_title: str
    y_title: str
    x_text: Callable[[float], str]
    y_text: Callable[[float], str]
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Size:
    """A plot's width and least height in points; a `narrow` one has no room beside it for the levels' names."""

    width: float
    height: float
    narrow: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A series of values, joined by a line or not; `role` sets its colour, else its place among the names does."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    ends: Sequence[tuple[float, float]] | None = None
    role: str = ""
    joined: bool = True


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes with its lines; `ticks` are the places on the x axis with their texts."""

    lines: Sequence[Line]
    x_title: str = ""
    y_title: str = ""
    title: str = ""
    x_log: float = 0.0
    y_log: float = 0.0
    level: float | None = None
    ticks: Sequence[tuple[float, str]] = ()
    from_zero: bool = False
    height: float = 1.0


OURS: Any = MappingProxyType(
    {
        "font.family": "DejaVu Sans",
        "font.size": FONT,
        "svg.fonttype": "none",
        "axes.unicode_minus": True,
        "text.parse_math": False,
        "text.usetex": False,
        "path.simplify": False,
    }
)
"""Settings of matplotlib while something is drawn."""


@contextmanager
def quietly() -> Iterator[None]:
    """Apply our settings, whatever the user's are, and silence warnings of letters that the measuring font lacks."""
    with rc_context(OURS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


# --- a figure against a cost ------------------------------------------------------------------------------------------


def cost_figure(
    points: Sequence[Point],
    levels: Sequence[Level],
    scales: Scales,
    size: Size,
    colours: Colours = LIGHT,
    first: str = "",
) -> Figure:
    """Plot points by cost (logarithmic) and figure, with intervals, levels and the frontier.

    Every point and level is named in full and no names overlap; the plot grows in height until they fit. With more
    points than `NAMES_SHOWN`, the best are named, and the one whose `href` is `first`.
    """
    shown = [p for p in points if p.x > 0 and math.isfinite(p.x) and math.isfinite(p.y)]
    with quietly():
        figure = Figure(dpi=POINTS)
        axes = figure.add_subplot()
        set_scales(axes, shown, levels)
        best = frontier(shown, scales.higher_is_better)
        sign = 1.0 if scales.higher_is_better else -1.0
        order = sorted(shown, key=lambda p: (not first or p.href != first, p not in best, -sign * p.y))
        named, height = order[:NAMES_SHOWN], size.height
        while True:
            frame = set_frame(figure, axes, levels, scales, replace(size, height=height))
            names = place_names(axes, shown, named, levels, scales, frame, size)
            if names is not None:
                break
            height = max(1.25 * height, height_for([point.name for point in named], frame))
        draw_levels(axes, levels, colours)
        draw_points(axes, shown, best, colours)
        for name in names:
            write_name(figure, axes, name, colours)
        set_look(axes, colours)
        axes.set_xlabel(f"{scales.x_title} (log) →", loc="right", color=colours["muted"], fontsize=SMALL)
    return figure


def set_scales(axes: Axes, points: Sequence[Point], levels: Sequence[Level]) -> None:
    """Set ranges that hold all intervals and levels; the range of costs spans at least a factor of four."""
    heights = [y for p in points for y in (p.y, *p.ends)] + [level.y for level in levels]
    low, high = min(heights, default=0.0), max(heights, default=1.0)
    margin = 0.08 * (high - low) or 0.05 * (abs(high) or 1.0)
    axes.set_ylim(max(0.0, low - margin) if low >= 0 else low - margin, high + margin)
    left, right = (math.log10(end([p.x for p in points] or [1.0])) for end in (min, max))
    margin = max(0.07 * (right - left), (0.6 - (right - left)) / 2, 0.08)
    axes.set_xscale("log")
    axes.set_xlim(10 ** (left - margin), 10 ** (right + margin))


def set_frame(figure: Figure, axes: Axes, levels: Sequence[Level], scales: Scales, size: Size) -> Box:
    """Place the axes within a figure of a size, set their ticks, and return the frame's left, bottom, right and top."""
    figure.set_size_inches(size.width / POINTS, size.height / POINTS)
    bottom, top = 42.0, size.height - 10.0
    y_locator = MaxNLocator(nbins=max(2, int((top - bottom) // 44)), steps=[1, 2, 5, 10])
    y_low, y_high = axes.get_ylim()
    y_ticks = [tick for tick in y_locator.tick_values(y_low, y_high) if y_low <= tick <= y_high]
    y_texts = [scales.y_text(tick).removesuffix(".0") for tick in y_ticks]
    left = max((width_of(text, SMALL) for text in y_texts), default=0.0) + 12
    right = size.width - 14.0
    if levels and not size.narrow:
        right -= max(width_of(line) for level in levels for line in level_lines(level, scales, size)) + REACH
    x_low, x_high = map(math.log10, axes.get_xlim())
    # A tick may lie at the frame's end, and its text is centred on it; in a narrower frame other ticks are shown.
    half = 0.0
    while True:
        left, right = max(left, half), min(right, size.width - half)
        x_ticks = log_ticks(x_low, x_high, right - left, scales.x_text)
        widest = max((width_of(scales.x_text(tick), SMALL) for tick in x_ticks), default=0.0)
        if widest / 2 <= half or (widest / 2 <= left and right <= size.width - widest / 2):
            break
        half = widest / 2
    axes.set_position(
        (left / size.width, bottom / size.height, (right - left) / size.width, (top - bottom) / size.height)
    )
    for axis, ticks, texts in (
        (axes.xaxis, x_ticks, [scales.x_text(tick) for tick in x_ticks]),
        (axes.yaxis, y_ticks, y_texts),
    ):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FixedFormatter(texts))
        axis.set_minor_locator(NullLocator())
    return left, bottom, right, top


def log_ticks(low: float, high: float, width: float, text: Callable[[float], str]) -> list[float]:
    """Return 1, 2 and 5 in each decade, or fewer if their texts would touch."""
    decades = range(math.floor(low), math.ceil(high) + 1)

    def ticks_of(factors: Sequence[int]) -> list[float]:
        values = [factor * 10.0**decade for decade in decades for factor in factors]
        return [value for value in values if low <= math.log10(value) <= high]

    def room_for(ticks: Sequence[float], gap: float) -> float:
        widest = max((width_of(text(tick), SMALL) for tick in ticks), default=0.0) + 8
        return gap * width / (high - low) / widest

    for factors, gap in (((1, 2, 5), 0.301), ((1, 3), 0.477)):
        if room_for(ticks := ticks_of(factors), gap) >= 1:
            return ticks
    powers = ticks_of((1,))
    return powers[:: math.ceil(1 / room_for(powers, 1.0))]


def frontier(points: Sequence[Point], higher_is_better: bool) -> list[Point]:
    """Return the points that no other beats at the same cost or less, by rising cost."""
    sign = 1.0 if higher_is_better else -1.0
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -sign * p.y)):
        if not best or sign * point.y > sign * best[-1].y:
            best.append(point)
    return best


def draw_levels(axes: Axes, levels: Sequence[Level], colours: Colours) -> None:
    """Draw floors as dashed lines across, published figures as dotted ones."""
    for level in levels:
        style = (0, (5, 4)) if level.kind == "floor" else (0, (1, 3))
        axes.axhline(level.y, color=colours["muted"], linewidth=1, linestyle=style, alpha=0.65, gid="level", zorder=1.5)


def draw_points(axes: Axes, points: Sequence[Point], best: Sequence[Point], colours: Colours) -> None:
    """Draw the frontier, and the points of each system with their intervals, in few artists to be fast."""
    if len(best) > 1:
        stairs = [*(p.x for p in best), axes.get_xlim()[1]], [*(p.y for p in best), best[-1].y]
        axes.step(*stairs, where="post", color=colours["muted"], linewidth=1.2, alpha=0.55, gid="frontier", zorder=1.6)
    for system in dict.fromkeys(point.system for point in points):
        members = [point for point in points if point.system == system]
        whiskers = [(x, y) for p in members for x, y in ((p.x, p.ends[0]), (p.x, p.ends[1]), (math.nan, math.nan))]
        lines = Line2D(*zip(*whiskers, strict=True), color=colours[system], linewidth=1.6, alpha=0.4, zorder=2)
        marks = Line2D(
            [p.x for p in members], [p.y for p in members], marker=MARKERS[system], linestyle="none",
            color=colours[system], markersize=9.5, markeredgecolor=colours["paper"], markeredgewidth=1.2, zorder=3,
            gid=f"{MARKS}{system}",
        )  # fmt: skip
        for artist in (lines, marks):
            artist.set(clip_on=False, transform=axes.transData)
            axes.add_artist(artist)


def set_look(axes: Axes, colours: Colours, *, grid: bool = True) -> None:
    """Set thin rules across, a line at the bottom and muted ticks."""
    axes.figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(colours["muted"])
    axes.tick_params(axis="both", labelsize=SMALL, labelcolor=colours["muted"], color=colours["muted"])
    axes.tick_params(axis="y", length=0)
    if grid:
        axes.grid(axis="y", color=colours["rule"], linewidth=0.8)
        axes.set_axisbelow(True)


# --- names that cover nothing -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name:
    """A placed name: its lines of text, box and alignment, and the leader line to what it names, if it is apart."""

    lines: tuple[str, ...]
    box: Box
    align: str
    gid: str
    leader: Segment | None = None


@dataclass(slots=True)
class Taken:
    """What names must not cover (`boxes`) and should not cross (`segments`)."""

    boxes: list[Box]
    segments: list[Segment]

    def add(self, name: Name) -> None:
        """Reserve the place of a name and of its leader line."""
        self.boxes.append(name.box)
        if name.leader:
            self.segments.append(name.leader)


def place_names(
    axes: Axes,
    points: Sequence[Point],
    named: Sequence[Point],
    levels: Sequence[Level],
    scales: Scales,
    frame: Box,
    size: Size,
) -> list[Name] | None:
    """Place the names of the levels, then of the points in the given order; None if one does not fit."""
    at = [place_of(axes, p.x, p.y) for p in points]
    ends = [(place_of(axes, p.x, p.ends[0]), place_of(axes, p.x, p.ends[1])) for p in named]
    whiskers = [(*low, *high) for low, high in ends]
    taken = Taken([(x - MARK, y - MARK, x + MARK, y + MARK) for x, y in at], whiskers)
    tallest = frame[3] > TALLEST * frame[2]
    if size.narrow:
        found = inner_level_names(axes, levels, scales, frame, taken)
    else:
        found = outer_level_names(axes, levels, scales, frame, size)
    if found is None:
        return [] if tallest else None
    numbers = {id(point): number for number, point in enumerate(points)}
    for point in named:
        number = numbers[id(point)]
        x, y = at[number]
        lines = wrapped(point.name, 0.62 * (frame[2] - frame[0]))
        wide, high = box_size(lines)
        name = best_place(lines, f"n{number}", (x, y), around(x, y, wide, high, frame), frame, taken)
        if name is None and not tallest:
            return None
        if name is not None:
            taken.add(name)
            found.append(name)
    return found


def height_for(names: Sequence[str], frame: Box) -> float:
    """Estimate the height that a plot needs for all names, in as many columns as fit side by side."""
    wide = frame[2] - frame[0]
    sizes = [box_size(wrapped(name, 0.62 * wide)) for name in names]
    columns = max(1, int(wide // (max(width for width, _ in sizes) + 3 * REACH))) if sizes else 1
    return 1.4 * sum(height for _, height in sizes) / columns + 60


def place_of(axes: Axes, x: float, y: float) -> tuple[float, float]:
    """Return the place of a value in the figure, in points."""
    at = axes.transData.transform((x, y)) * POINTS / axes.figure.dpi
    return float(at[0]), float(at[1])


def best_place(
    lines: tuple[str, ...],
    gid: str,
    at: tuple[float, float],
    places: Sequence[tuple[str, float, float]],
    frame: Box,
    taken: Taken,
) -> Name | None:
    """Return the nearest place that covers no box, weighing distance against lines crossed; None if there is none."""
    wide, high = box_size(lines)
    corners = np.array([(left, bottom) for _, left, bottom in places])
    boxes = np.hstack([corners, corners + np.array([wide, high])])  # [places, 4]
    others = np.array(taken.boxes).reshape(-1, 4)
    within = np.flatnonzero((boxes[:, :2] >= frame[:2]).all(axis=1) & (boxes[:, 2:] <= frame[2:]).all(axis=1))
    numbers = within[~overlap(boxes[within][:, None], others[None]).any(axis=1)]
    starts = np.tile(np.array(at), (len(boxes), 1))
    if gid == "level":  # anywhere along its line
        starts[:, 0] = boxes[:, 2] - LINE
    ends = np.clip(starts, boxes[:, :2], boxes[:, 2:])
    far = np.hypot(*(ends - starts).T)
    numbers = numbers[np.argsort(far[numbers], kind="stable")][:TRIED]
    if not numbers.size:
        return None
    boxes, far = boxes[numbers], far[numbers]
    leaders = np.hstack([starts[numbers], ends[numbers]])
    segments = np.array(taken.segments).reshape(-1, 4)
    crossed = crosses(segments[None], boxes[:, None]).sum(axis=1)
    elsewhere = others[~overlap(np.array([*at, *at]), others)]
    has_leader = far > 2 * REACH
    crossed += has_leader * crosses(leaders[:, None], elsewhere[None]).sum(axis=1)
    best = int(np.argmin(far + CROSSED * crossed))
    left, bottom, right, top = map(float, boxes[best])
    x, y, to_x, to_y = map(float, leaders[best])
    line = (x, y, to_x, to_y) if has_leader[best] else None
    return Name(lines, (left, bottom, right, top), places[numbers[best]][0], gid, line)


def overlap(one: Boxes, other: Boxes) -> Flags:
    """Return whether boxes [..., left bottom right top] share area."""
    return np.asarray(np.all((one[..., :2] < other[..., 2:]) & (other[..., :2] < one[..., 2:]), axis=-1))


def crosses(segments: Boxes, boxes: Boxes) -> Flags:
    """Return whether straight lines [..., x y x y] pass through boxes (Liang and Barsky)."""
    start, along = segments[..., :2], segments[..., 2:] - segments[..., :2]
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = (boxes[..., :2] - start) / along, (boxes[..., 2:] - start) / along
    # Along an axis on which the line does not move it is between the sides everywhere or nowhere.
    between = (start >= boxes[..., :2]) & (start <= boxes[..., 2:])
    still = along == 0
    enters = np.where(still, np.where(between, 0.0, np.inf), np.minimum(one, other)).max(axis=-1)
    leaves = np.where(still, np.where(between, 1.0, -np.inf), np.maximum(one, other)).min(axis=-1)
    return np.asarray(np.maximum(enters, 0.0) <= np.minimum(leaves, 1.0))


def around(x: float, y: float, wide: float, high: float, frame: Box) -> list[tuple[str, float, float]]:
    """List places for a name, at its point and farther away, as alignment, left edge and bottom."""
    low = y - high / 2
    places = [
        ("left", x + REACH, low + 6),  # above the stairs, which go right from each point
        ("left", x + REACH, low),
        ("right", x - REACH - wide, low),
        ("center", x - wide / 2, y + REACH),
        ("center", x - wide / 2, y - REACH - high),
    ]
    rows = int((frame[3] - frame[1]) // LINE) + 1
    for step in (step for row in range(1, rows) for step in (row, -row)):
        bottom = low + step * LINE
        for away in (1.5, 4.0, 8.0, 14.0):
            places += [("left", x + away * REACH, bottom), ("right", x - away * REACH - wide, bottom)]
        places += [("right", frame[2] - wide, bottom), ("left", frame[0] + 2, bottom)]
    return places


def inner_level_names(
    axes: Axes, levels: Sequence[Level], scales: Scales, frame: Box, taken: Taken
) -> list[Name] | None:
    """Place the names of levels above or below their lines, within the frame; None if one does not fit."""
    named: list[Name] = []
    for level in sorted(levels, key=lambda level: -level.y):
        y = place_of(axes, axes.get_xlim()[0], level.y)[1]
        lines = wrapped(f"{level.name} {scales.y_text(level.y)}", 0.8 * (frame[2] - frame[0]))
        wide, high = box_size(lines)
        rights = [frame[2] - share * (frame[2] - frame[0] - wide) for share in (0.0, 0.5, 1.0)]
        rows = range(int((frame[3] - frame[1]) // LINE) + 1)
        places = [
            ("right", right - wide, bottom)
            for right in rights
            for row in rows
            for bottom in (y + 2 + row * LINE, y - 2 - high - row * LINE)
        ]
        name = best_place(lines, "level", (frame[2], y), places, frame, taken)
        if name is None:
            return None
        taken.add(name)
        named.append(name)
    return named


def outer_level_names(axes: Axes, levels: Sequence[Level], scales: Scales, frame: Box, size: Size) -> list[Name] | None:
    """Place the names of levels right of the frame, moved apart, with leader lines; None if they do not fit."""
    left = frame[2] + REACH
    rows = [(place_of(axes, axes.get_xlim()[0], level.y)[1], level_lines(level, scales, size)) for level in levels]
    rows.sort(key=lambda row: -row[0])
    if sum(box_size(lines)[1] for _, lines in rows) > frame[3] - frame[1]:
        return None
    below, names = frame[1] - LINE / 2, []
    bottoms: list[float] = []
    for y, lines in reversed(rows):  # from the bottom up, each at its height or on top of the one below
        high = box_size(lines)[1]
        bottoms.append(max(y - high / 2, below))
        below = bottoms[-1] + high
    over = frame[3] + LINE / 2
    for (y, lines), bottom in zip(rows, reversed(bottoms), strict=True):
        wide, high = box_size(lines)
        low = min(bottom, over - high)
        over = low
        box = (left, low, left + wide, low + high)
        middle = low + high / 2
        line = (frame[2], y, left - 2, middle) if abs(middle - y) > LINE / 3 else None
        names.append(Name(lines, box, "left", "level", line))
    return names


def level_lines(level: Level, scales: Scales, size: Size) -> tuple[str, ...]:
    """Return the name and value of a level, in lines of about a quarter of the plot's width."""
    return wrapped(f"{level.name} {scales.y_text(level.y)}", 0.26 * size.width)


def write_name(figure: Figure, axes: Axes, name: Name, colours: Colours) -> None:
    """Write the lines of a name and draw its leader line; places are in points."""
    left, _, right, top = name.box
    x = {"left": left, "right": right, "center": (left + right) / 2}[name.align]
    role = "muted" if name.gid == "level" else "ink"
    for number, text in enumerate(name.lines):
        axes.text(
            x / POINTS, (top - LINE * number - 0.8 * LINE) / POINTS, text, transform=figure.dpi_scale_trans,
            ha=name.align, va="baseline", fontsize=FONT, parse_math=False, clip_on=False, gid=name.gid,
            color=colours[role], zorder=5,
        )  # fmt: skip
    if name.leader:
        x0, y0, x1, y1 = (value / POINTS for value in name.leader)
        axes.add_artist(
            Line2D(
                [x0, x1], [y0, y1], transform=figure.dpi_scale_trans, color=colours["muted"], linewidth=0.8,
                alpha=0.75, clip_on=False, gid=f"{name.gid} leader", zorder=1.8,
            )
        )  # fmt: skip


@lru_cache(maxsize=4096)
def width_of(text: str, size: float = FONT) -> float:
    """Measure the width of a text in points, in a font that is wider than most."""
    with quietly():
        width = float(text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0])
    # The font has no letters as wide as they are high, which those of Chinese and Japanese are.
    return width + 0.45 * size * sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)


def box_size(lines: Sequence[str]) -> tuple[float, float]:
    """Return the width and height of lines of text."""
    return max(map(width_of, lines), default=0.0), LINE * len(lines)


@lru_cache(maxsize=4096)
def wrapped(name: str, width: float) -> tuple[str, ...]:
    """Break a name into lines of at most `width` points; only names over `NAME_LETTERS` letters are cut."""
    text = " ".join(name.split()) or "–"
    text = text if len(text) <= NAME_LETTERS else f"{text[: NAME_LETTERS - 1]}…"
    letters = max(8, len(text))
    while True:
        lines = textwrap.wrap(text, letters, break_on_hyphens=True) or ["–"]
        if letters <= 8 or max(map(width_of, lines)) <= width:
            return tuple(lines)
        letters -= 1


# --- curves -----------------------------------------------------------------------------------------------------------


def lines_figure(
    panels: Sequence[Panel], width: float, height: float, colours: Colours = LIGHT, *, stacked: bool = False
) -> Figure:
    """Plot curves in panels, side by side or stacked over the same x axis, with a legend outside them."""
    with quietly():
        figure = Figure(figsize=(width / POINTS, height / POINTS), dpi=POINTS, layout="constrained")
        if stacked:
            made = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=[p.height for p in panels])
        else:
            made = figure.subplots(1, len(panels), squeeze=False)
        names = dict.fromkeys(line.name for panel in panels for line in panel.lines)
        looks = dict(zip(names, ((role, shape) for shape in SHAPES for role in SERIES), strict=False))
        for axes, panel in zip(made.flat, panels, strict=True):
            draw_panel(axes, panel, looks, colours)
        names.pop("", None)
        if len(names) > 1:
            found = {
                text: handle
                for axes in made.flat
                for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
            }
            place = {"loc": "outside right upper"} if len(names) > 4 else {"loc": "outside lower center", "ncols": 2}
            figure.legend(
                [found[name] for name in names], list(names), frameon=False, fontsize=SMALL, labelcolor=colours["ink"],
                **place,
            )  # fmt: skip
        # Laid out once, and the same in whatever it is written to.
        figure.draw_without_rendering()
    return figure


PLAIN = StrMethodFormatter("{x:,g}")
"""On logarithmic axes matplotlib writes powers as formulas, which are not read here (`text.parse_math`)."""


def draw_panel(axes: Axes, panel: Panel, looks: Mapping[str, tuple[str, str]], colours: Colours) -> None:
    """Draw the lines, ticks and titles of a panel; `looks` maps the names of lines to colours and shapes."""
    set_look(axes, colours)
    axes.set_xlabel(panel.x_title, color=colours["muted"], fontsize=FONT)
    axes.set_ylabel(panel.y_title, color=colours["muted"], fontsize=FONT)
    axes.set_title(panel.title, color=colours["ink"], fontsize=FONT + 1)
    if panel.x_log:
        axes.set_xscale("log", base=panel.x_log)
        axes.xaxis.set_major_formatter(PLAIN)
    if panel.y_log:
        axes.set_yscale("log", base=panel.y_log)
        axes.yaxis.set_major_formatter(PLAIN)
    for line in panel.lines:
        role, shape = looks.get(line.name, (SERIES[-1], SHAPES[0]))
        error = None
        if line.ends is not None:
            error = [
                [y - low for y, (low, _) in zip(line.ys, line.ends, strict=True)],
                [high - y for y, (_, high) in zip(line.ys, line.ends, strict=True)],
            ]
        axes.errorbar(
            line.xs, line.ys, yerr=error, marker=shape, markersize=5, linestyle="-" if line.joined else "none",
            linewidth=1.4, elinewidth=1.2, capsize=2.5, color=colours[line.role or role], label=line.name or "_",
        )  # fmt: skip
    if panel.level is not None:
        axes.axhline(panel.level, color=colours["muted"], linestyle=(0, (1, 3)), linewidth=1)
    if panel.ticks:
        axes.set_xticks([at for at, _ in panel.ticks], [text for _, text in panel.ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    if panel.from_zero:
        axes.set_ylim(bottom=0)


def frames_figure(pictures: Sequence[object], seconds: Sequence[float], title: str, width: float = 690.0) -> Figure:
    """Plot frames of a clip in a row, each with its time in seconds, under a title."""
    with quietly():
        figure = Figure(figsize=(width / POINTS, 158 / POINTS), dpi=POINTS, layout="constrained")
        for place, (picture, second) in enumerate(zip(pictures, seconds, strict=True)):
            axes = figure.add_subplot(1, len(seconds), place + 1)
            axes.imshow(picture)  # type: ignore[arg-type]
            axes.set_title(f"{second:.0f} s", fontsize=SMALL - 2)
            axes.axis("off")
        figure.suptitle(title, fontsize=SMALL, parse_math=False)
    return figure


# --- in a page --------------------------------------------------------------------------------------------------------

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
KEPT_STYLES = (
    *("fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin"),
    *("opacity", "fill-opacity", "stroke-opacity", "font-size", "text-anchor"),
)


@dataclass(frozen=True, slots=True)
class Link:
    """The target of a point in the page, its tooltip, and its class."""

    href: str
    title: str
    kind: str


def page_svg(figure: Figure, key: str, kind: str, label: str, links: Sequence[Link] = ()) -> str:
    """Return a figure drawn with `PAGE` as an SVG element: text as text, coloured by the page's style, reproducible.

    A page's content security policy forbids style attributes, so they become presentation attributes.

    Args:
        figure: The figure.
        key: A name that no other plot of the page has; it prefixes the ids of its parts.
        kind: Classes of the element besides `plot`.
        label: Description for screen readers.
        links: One for each point, in order.
    """
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with quietly(), rc_context({"svg.hashsalt": key}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    # What is read here was just written by matplotlib, and every text in it is escaped.
    root = ET.fromstring(buffer.getvalue())  # noqa: S314
    for drop in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
        for parent in [parent for parent in root.iter() if parent.find(drop) is not None]:
            parent.remove(parent.find(drop))  # type: ignore[arg-type]
    for element in root.iter():
        as_attributes(element, key)
    link_points(root, links)
    box = root.get("viewBox", "")
    root.attrib.clear()
    names = {"class": f"plot {kind}".strip(), "viewBox": box, "role": "group" if links else "img", "aria-label": label}
    root.attrib.update(names)
    ET.register_namespace("", SVG)
    return ET.tostring(root, encoding="unicode")


def as_attributes(element: ET.Element, key: str) -> None:
    """Turn styles into attributes and ids of groups into classes; prefix the other ids with `key`."""
    for part in element.attrib.pop("style", "").split(";"):
        name, _, value = (text.strip() for text in part.partition(":"))
        if name == "font":  # a shorthand: what the page has no say in is the size
            name, value = "font-size", next((word for word in value.split() if word.endswith("px")), f"{FONT}px")
        if name in KEPT_STYLES:
            element.set(name, value)
    for name in ("fill", "stroke"):
        value = element.get(name, "")
        if value in ROLE_OF:
            role = ROLE_OF[value]
            element.set(name, f"var(--{SHARED.get(role, role)})")
    group = element.tag == f"{{{SVG}}}g"
    identity = element.attrib.pop("id", "")
    if identity and group:
        element.set("class", identity)
    elif identity:
        element.set("id", f"{key}-{identity}")
    target = element.attrib.pop(f"{{{XLINK}}}href", "")
    if target.startswith("#"):
        element.set("href", f"#{key}-{target[1:]}")
    clip = element.get("clip-path", "")
    if clip.startswith("url(#"):
        element.set("clip-path", f"url(#{key}-{clip[5:]}")


ROLE_OF = {colour: role for role, colour in PAGE.items()}


def link_points(root: ET.Element, links: Sequence[Link]) -> None:
    """Wrap each point with its name and leader line in a link; points are drawn by kind, in order."""
    parents = {child: parent for parent in root.iter() for child in parent}
    groups: dict[str, list[ET.Element]] = {}
    for group in root.iter(f"{{{SVG}}}g"):
        groups.setdefault(group.get("class", "").partition(" ")[0], []).append(group)
    marks = {
        kind: [use for group in groups.get(f"{MARKS}{kind}", ()) for use in group.iter(f"{{{SVG}}}use")]
        for kind in {link.kind for link in links}
    }
    for number, link in enumerate(links):
        anchor = ET.Element(f"{{{SVG}}}a", {"href": f"#{link.href}", "class": link.kind})
        ET.SubElement(anchor, f"{{{SVG}}}title").text = link.title
        mark = marks[link.kind].pop(0)
        parts = [*groups.get(f"n{number}", ()), mark]
        for part in parts:
            parents[part].remove(part)
            part.attrib.pop("class", None)
            anchor.append(part)
        axes = next(group for group in groups["axes_1"])
        axes.append(anchor)
