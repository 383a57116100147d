"""Plots: every name whole and over no other, cost on a log axis, SVG that a page's security policy lets through."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from evals.html_report.table import count, memory, seconds
from evals.plots import (
    FONT,
    LIGHT,
    LINE,
    NAMES_SHOWN,
    PAGE,
    SVG,
    Level,
    Line,
    Link,
    Panel,
    Point,
    Scales,
    Size,
    cost_figure,
    frontier,
    lines_figure,
    log_ticks,
    page_svg,
    width_of,
)

COST = st.floats(1e-4, 1e13)
SHARE = st.floats(0.0, 1.0)
WIDE, NARROW = Size(1110, 430), Size(358, 330, narrow=True)
STYLE = (Path(__file__).parents[2] / "evals" / "templates" / "page.css").read_text(encoding="utf-8")


def scales(*, higher: bool = True) -> Scales:
    return Scales("time per item", "accuracy", seconds, lambda value: f"{100 * value:.1f}", higher)


def point(name: str, x: float, y: float, system: str = "encoder") -> Point:
    return Point(name, system, x, y, (max(0.0, y - 0.04), min(1.0, y + 0.04)), f"r-{name}")


def svg_of(points: list[Point], levels: list[Level], size: Size, first: str = "") -> ET.Element:
    figure = cost_figure(points, levels, scales(), size, PAGE, first)
    links = [Link(p.href, p.name, p.system) for p in points]
    return ET.fromstring(page_svg(figure, "t0-x", "wide", "a plot", links))


Box = tuple[str, float, float, float, float]


def text_boxes(root: ET.Element) -> list[Box]:
    """Every text of a drawing with its left, top, right and bottom."""
    boxes = []
    for text in root.iter(f"{{{SVG}}}text"):
        words = (text.text or "").strip()
        size = float((text.get("font-size") or f"{FONT}").removesuffix("px"))
        wide = width_of(words, size)
        left = float(text.get("x", 0)) - {"middle": wide / 2, "end": wide}.get(text.get("text-anchor", ""), 0.0)
        base = float(text.get("y", 0))
        boxes.append((words, left, base - 0.76 * size, left + wide, base + 0.2 * size))
    return boxes


def apart(one: Box, other: Box) -> bool:
    return one[1] >= other[3] - 0.5 or other[1] >= one[3] - 0.5 or one[2] >= other[4] or other[2] >= one[4]


def assert_readable(root: ET.Element, names: list[str]) -> None:
    """All names are there, whole; no text is cut by the drawing's edge or lies over another."""
    boxes = text_boxes(root)
    _, _, width, height = map(float, root.get("viewBox", "").split())
    words = "".join("".join(box[0] for box in boxes).split())
    for name in names:
        assert "".join(name.split()) in words
    assert all(left >= -1 and right <= width + 1 for _, left, _, right, _ in boxes)
    assert all(top >= -2 and bottom <= height + 1 for _, _, top, _, bottom in boxes)
    assert [(a[0], b[0]) for a, b in combinations(boxes, 2) if not apart(a, b)] == []


CLOSE = [f"aggregator, captions of encoder {n}, trained" for n in range(12)]
CROWDS = {
    "close": [point(name, 1.0 + n / 100, 0.5 + n / 1000) for n, name in enumerate(CLOSE)] + [point("far", 50.0, 0.1)],
    "equal": [point(f"run {n}", 3.0, 0.5) for n in range(9)],
    "long": [point(f"{'a name of very many words ' * 3}{n}", 10.0**n, 0.1 * n) for n in range(6)],
    "unbroken": [point("x" * 85, 1.0, 0.4), point("y" * 85, 1.1, 0.41)],
    "wide letters": [point(f"视频语言模型视频语言模型 {n}", 1.0 + n, 0.4) for n in range(5)],
    "mathematics": [point(f"$x_{n}$ & <b>", 1.0 + n, 0.4) for n in range(3)],
    "many": [point(f"run {n}", 1.0 + n % 7, 0.3 + 0.01 * (n % 9)) for n in range(NAMES_SHOWN)],
}
LEVELS = [Level("chance", "floor", 0.2), Level("constant (choice=4)", "floor", 0.201), Level("blind", "floor", 0.205)]
PUBLISHED = [Level(f"A published model of a very long name, {2000 + n}", "reference", 0.5 + n / 300) for n in range(12)]


@pytest.mark.parametrize("crowd", CROWDS)
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_name_is_whole_and_over_no_other_however_close_the_points_are(crowd: str, size: Size) -> None:
    points = CROWDS[crowd]
    levels = LEVELS if size.narrow else [*LEVELS, *PUBLISHED]
    names = [p.name for p in points] + [level.name for level in levels]
    assert_readable(svg_of(points, levels, size), names)


@settings(max_examples=4, deadline=None)
@given(st.lists(st.tuples(COST, SHARE), max_size=12), st.lists(SHARE, max_size=4), st.booleans())
@example([(250593617.0, 0.0)], [], False)
def test_names_of_points_anywhere_are_readable(
    places: list[tuple[float, float]], levels: list[float], narrow: bool
) -> None:
    points = [point(f"model number {n}", x, y) for n, (x, y) in enumerate(places)]
    drawn = [Level(f"floor {n}", "floor", y) for n, y in enumerate(levels)]
    root = svg_of(points, drawn, NARROW if narrow else WIDE)
    assert_readable(root, [p.name for p in points] + [level.name for level in drawn])


def test_a_name_apart_from_its_point_has_a_line_to_it() -> None:
    figure = cost_figure(CROWDS["close"], [], scales(), WIDE)
    leaders = [line for line in figure.axes[0].lines if str(line.get_gid()).endswith("leader")]
    assert leaders
    figure.draw_without_rendering()
    marks = [figure.axes[0].transData.transform((p.x, p.y)) for p in CROWDS["close"]]
    for line in leaders:
        start = line.get_transform().transform(line.get_xydata())[0]
        assert min(abs(start - mark).max() for mark in marks) < 0.01


def test_of_very_many_points_the_best_are_named_and_the_one_that_is_asked_for() -> None:
    points = [point(f"run {n}", 1.0 + n % 13, 0.2 + n / 400) for n in range(NAMES_SHOWN + 20)]
    names = {box[0] for box in text_boxes(svg_of(points, [], WIDE, "r-run 0")) if box[0].startswith("run")}
    assert len(names) == NAMES_SHOWN
    assert {"run 0", f"run {NAMES_SHOWN + 19}"} <= names
    assert "run 1" not in names


def test_dearer_is_further_right_and_better_is_higher() -> None:
    points = [point("a", 1.0, 0.2), point("b", 10.0, 0.6), point("c", 1000.0, 0.4)]
    root = svg_of(points, [], WIDE)
    at = {}
    for link in root.iter(f"{{{SVG}}}a"):
        (use,) = link.iter(f"{{{SVG}}}use")
        at[link.get("href")] = float(use.get("x", 0)), float(use.get("y", 0))
    (ax, ay), (bx, by), (cx, cy) = (at[f"#r-{name}"] for name in "abc")
    assert ax < bx < cx
    assert bx - ax == pytest.approx((cx - bx) / 2, rel=0.01)  # a factor of ten, and of a hundred
    assert ay > cy > by  # SVG counts from the top


@pytest.mark.parametrize("systems", [("encoder", "aggregator"), ("aggregator", "encoder"), ("text", "video-llm")])
def test_each_point_is_a_link_with_its_title_and_kind(systems: tuple[str, str]) -> None:
    points = [point(f"run {n}", 1.0 + n, 0.3 + n / 10, systems[n % 2]) for n in range(6)]
    links = list(svg_of(points, [], WIDE).iter(f"{{{SVG}}}a"))
    assert [(link.get("href"), link.get("class")) for link in links] == [(f"#{p.href}", p.system) for p in points]
    assert [link.findtext(f"{{{SVG}}}title") for link in links] == [p.name for p in points]
    xs = [float(next(link.iter(f"{{{SVG}}}use")).get("x", 0)) for link in links]
    assert xs == sorted(xs)


def test_a_page_s_plot_has_no_style_and_no_colour_of_its_own() -> None:
    text = ET.tostring(svg_of(CROWDS["close"], LEVELS, WIDE), encoding="unicode")
    assert "style" not in text
    assert not re.findall(r"#[0-9a-f]{6}\b", text)
    used = set(re.findall(r"var\((--[a-z-]+)\)", text))
    assert {"--paper", "--ink", "--muted", "--encoder"} <= used
    light, dark = STYLE.split("@media (prefers-color-scheme: dark)")[:2]
    for name in {f"--{role}" for role in LIGHT if role not in {"floor", "unknown"}}:
        assert f"{name}:" in light
        assert f"{name}:" in dark[: dark.index("}\n}")]


def test_the_same_plot_is_the_same_bytes_and_two_of_a_page_share_no_name() -> None:
    def drawn(key: str) -> str:
        return page_svg(cost_figure(CROWDS["equal"], LEVELS, scales(), WIDE, PAGE), key, "wide", "x")

    first, again, other = drawn("t0-a"), drawn("t0-a"), drawn("t0-b")
    assert first == again
    names = [set(re.findall(r' id="([^"]+)"', text)) for text in (first, other)]
    assert names[0]
    assert not names[0] & names[1]


def test_curves_are_named_beside_the_plot_and_keep_their_colour_in_every_panel() -> None:
    one, two = Line("one", [1, 2], [3, 4]), Line("two", [1, 2], [4, 3], [(3, 5), (2, 4)])
    figure = lines_figure([Panel([one, two], "x", "y"), Panel([two])], 600, 300)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    colours = [to_hex(axes.get_lines()[-1].get_color()) for axes in figure.axes]
    assert colours[0] == colours[1] == LIGHT["aggregator"]


@given(st.lists(st.tuples(COST, SHARE), min_size=1, max_size=30), st.booleans())
def test_the_frontier_is_what_nothing_cheaper_or_as_cheap_beats(
    points: list[tuple[float, float]], higher: bool
) -> None:
    made = [point(str(i), x, y) for i, (x, y) in enumerate(points)]
    best = frontier(made, higher)
    sign = 1 if higher else -1
    for one in best:
        assert not any(other.x <= one.x and sign * other.y > sign * one.y for other in made)
    assert sign * best[-1].y == max(sign * p.y for p in made)
    assert [p.x for p in best] == sorted(p.x for p in best)


def test_ticks_are_round_and_not_too_many() -> None:
    plain = "{:g}".format
    assert log_ticks(-1.2, 0.6, 600, plain) == [0.1, 0.2, 0.5, 1.0, 2.0]
    assert log_ticks(0, 9, 300, plain) == [1.0, 1e2, 1e4, 1e6, 1e8]
    assert len(log_ticks(-1, 15, 300, "{:.0f}".format)) < 8


def test_costs_are_written_with_a_unit() -> None:
    assert [seconds(v) for v in (0.0042, 0.9, 42.0, 600.0)] == ["4.2 ms", "0.9 s", "42 s", "10 min"]
    assert [count(v) for v in (0, 16, 1659, 424e6)] == ["0", "16", "1.66k", "424M"]
    assert [memory(v) for v in (512, 2.15e9)] == ["512 B", "2.15 GB"]
    assert LINE > FONT


def test_a_logarithmic_axis_has_numbers_as_ticks_not_formulas() -> None:
    line = Line("a", [100, 1000, 10_000], [1, 2, 3])
    figure = lines_figure([Panel([line], "x", "y", x_log=10)], 600, 300)
    figure.draw_without_rendering()
    written = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert "1,000" in written
    assert not [text for text in written if "$" in text]
