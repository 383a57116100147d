"""Key frames: the best-scored ones, apart in time, in order of time; always as many as there can be."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from baselines.keyframes import choose_key_frames

SCORES = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=60)


@given(SCORES, st.integers(1, 20), st.floats(0, 10))
def test_as_many_as_there_can_be_are_chosen_once_each_in_order_of_time(
    scores: list[float], count: int, gap: float
) -> None:
    seconds = [i + 0.5 for i in range(len(scores))]
    found = choose_key_frames(seconds, np.array(scores, dtype=np.float32), count, gap)
    assert len(set(found.chosen)) == len(found.chosen) == min(count, len(scores))
    assert list(found.chosen) == sorted(found.chosen)


@given(SCORES, st.integers(1, 20), st.floats(0, 10))
def test_the_gap_that_is_told_is_kept(scores: list[float], count: int, gap: float) -> None:
    seconds = [i + 0.5 for i in range(len(scores))]
    found = choose_key_frames(seconds, np.array(scores, dtype=np.float32), count, gap)
    times = [seconds[i] for i in found.chosen]
    assert all(later - earlier >= found.gap for earlier, later in pairwise(times))
    assert found.gap <= gap


@given(SCORES, st.integers(1, 20))
def test_without_a_gap_they_are_the_top_k(scores: list[float], count: int) -> None:
    values = np.array(scores, dtype=np.float32)
    found = choose_key_frames(range(len(scores)), values, count, 0.0)
    assert sorted(values[list(found.chosen)]) == sorted(sorted(values)[-min(count, len(scores)) :])


@given(SCORES, st.integers(1, 20), st.floats(0, 10))
def test_the_best_frame_is_always_among_them(scores: list[float], count: int, gap: float) -> None:
    values = np.array(scores, dtype=np.float32)
    found = choose_key_frames(range(len(scores)), values, count, gap)
    assert int(np.argmax(values)) in found.chosen


def test_neighbours_of_a_peak_give_way_to_the_next_peak() -> None:
    scores = np.array([0.1, 0.8, 0.9, 0.8, 0.1, 0.1, 0.7, 0.1], dtype=np.float32)
    assert choose_key_frames(range(8), scores, 2, 3.0).chosen == (2, 6)
    assert choose_key_frames(range(8), scores, 2, 0.0).chosen == (1, 2)


def test_the_gap_shrinks_only_as_far_as_needed() -> None:
    found = choose_key_frames(range(10), np.arange(10, dtype=np.float32), 5, 4.0)
    assert found.gap == 2.0
    assert found.chosen == (1, 3, 5, 7, 9)
