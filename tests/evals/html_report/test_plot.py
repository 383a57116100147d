"""Geometry of the plot: everything inside its frame, cost on a log axis, labels apart."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from evals.html_report.plot import (
    CHARACTER,
    LABEL_HEIGHT,
    Axes,
    Level,
    Plot,
    Point,
    draw,
    frontier,
    linear_ticks,
    log_ticks,
    steps,
)
from evals.html_report.table import count, memory, seconds

COST = st.floats(1e-4, 1e13)
SHARE = st.floats(0.0, 1.0)


def axes(*, higher: bool = True) -> Axes:
    return Axes("time per item", "accuracy", seconds, lambda value: f"{100 * value:.1f}", higher)


def point(name: str, x: float, y: float) -> Point:
    return Point(name, "encoder", x, y, (max(0.0, y - 0.04), min(1.0, y + 0.04)), f"r-{name}")


def plot_of(points: list[tuple[float, float]], levels: list[float], *, narrow: bool = False) -> Plot:
    made = [point(f"model number {i}", x, y) for i, (x, y) in enumerate(points)]
    drawn = [Level(f"floor {i}", "floor", y) for i, y in enumerate(levels)]
    return draw(made, drawn, axes(), width=358.0 if narrow else 1110.0, height=400.0, narrow=narrow)


@given(st.lists(st.tuples(COST, SHARE), max_size=40), st.lists(SHARE, max_size=6), st.booleans())
def test_points_whiskers_levels_and_labels_stay_inside(
    points: list[tuple[float, float]], levels: list[float], narrow: bool
) -> None:
    plot = plot_of(points, levels, narrow=narrow)
    assert len(plot.points) == len(points)
    for drawn in plot.points:
        assert plot.left - 1 <= drawn.x <= plot.right + 1
        assert plot.top - 1 <= drawn.high <= drawn.y <= drawn.low <= plot.bottom + 1
        if drawn.label:
            wide = CHARACTER * len(drawn.label.text)
            left = drawn.label.x - {"start": 0.0, "middle": wide / 2, "end": wide}[drawn.label.anchor]
            assert plot.left - 1 <= left <= left + wide <= plot.right + 1
    heights = [level.label_y for level in plot.levels]
    assert all(abs(a - b) >= LABEL_HEIGHT - 1e-6 for i, a in enumerate(heights) for b in heights[:i])
    for tick in (*plot.x_ticks, *plot.y_ticks):
        assert math.isfinite(tick.at)


@given(st.lists(st.tuples(COST, SHARE), min_size=2, max_size=30))
def test_dearer_is_further_right_and_better_is_higher(points: list[tuple[float, float]]) -> None:
    drawn = plot_of(points, []).points
    for (x, y), place in zip(points, drawn, strict=True):
        for (other_x, other_y), other in zip(points, drawn, strict=True):
            if x < other_x:
                assert place.x <= other.x
            if y < other_y:
                assert place.y >= other.y


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


def test_labels_do_not_cover_each_other() -> None:
    plot = plot_of([(10 ** (i / 7), 0.3 + 0.01 * (i % 5)) for i in range(30)], [0.2])
    boxes = []
    for drawn in plot.points:
        if drawn.label:
            wide = CHARACTER * len(drawn.label.text)
            left = drawn.label.x - {"start": 0.0, "middle": wide / 2, "end": wide}[drawn.label.anchor]
            boxes.append((left, drawn.label.y, left + wide))
    assert len(boxes) > 3
    for i, (left, y, right) in enumerate(boxes):
        for other_left, other_y, other_right in boxes[:i]:
            assert right <= other_left or other_right <= left or abs(y - other_y) >= LABEL_HEIGHT - 1e-6


def test_no_name_is_missing_or_cut_however_close_the_points_are() -> None:
    names = [f"aggregator, captions of encoder {n}, trained" for n in range(12)]
    close = [Point(name, "encoder", 1.0 + n / 100, 0.5 + n / 1000, None, name) for n, name in enumerate(names)]
    far = Point("far", "encoder", 50.0, 0.1, None, "far")
    for width, narrow in ((1110.0, False), (358.0, True)):
        plot = draw([*close, far], [], axes(), width=width, height=400.0, narrow=narrow)
        labels = [drawn.label for drawn in plot.points]
        assert [label.text for label in labels if label] == [*names, "far"]
        assert any(label.leader for label in labels if label)
        for drawn in plot.points:
            if drawn.label and drawn.label.leader:
                assert drawn.label.leader.startswith(f"M{drawn.x:.1f} {drawn.y:.1f}L")


def test_ticks_are_round_and_not_too_many() -> None:
    assert log_ticks(-1.2, 0.6, 10) == [0.1, 0.2, 0.5, 1.0, 2.0]
    assert log_ticks(0, 9, 4) == [1.0, 1e3, 1e6, 1e9]
    assert log_ticks(0.31, 0.92, 5) == [3.0, 5.0, 7.0]
    assert linear_ticks(0.17, 0.62, 5) == [0.2, 0.3, 0.4, 0.5, 0.6]


@given(st.floats(-4, 12), st.floats(0.6, 12), st.integers(2, 20))
def test_a_log_axis_has_two_ticks_or_more(low: float, width: float, most: int) -> None:
    assert len(log_ticks(low, low + width, most)) >= 2


def test_stairs_go_right_before_they_go_up() -> None:
    assert steps([(0, 9), (4, 5)], 10) == "M0.0 9.0H4.0V5.0H10.0"


def test_costs_are_written_with_a_unit() -> None:
    assert [seconds(v) for v in (0.0042, 0.9, 42.0, 600.0)] == ["4.2 ms", "0.9 s", "42 s", "10 min"]
    assert [count(v) for v in (0, 16, 1659, 424e6)] == ["0", "16", "1.66k", "424M"]
    assert [memory(v) for v in (512, 2.15e9)] == ["512 B", "2.15 GB"]
