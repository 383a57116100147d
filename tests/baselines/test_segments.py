"""Segments cover a clip without gap or overlap, and no caption is lost or counted twice."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.captions import Caption
from baselines.segments import Segment, group_captions, load_boundaries, render, thin, uniform_boundaries
from tasks.errors import DataError
from tasks.task import Clip


def test_180_seconds_make_eleven_segments_of_16_and_a_rest_of_4() -> None:
    boundaries = uniform_boundaries(Clip("v", 0, 180), 16)
    assert len(boundaries) == 12
    assert boundaries[0] == (0, 16)
    assert boundaries[-1] == (176, 180)


@given(st.floats(0, 1000), st.floats(0.5, 900), st.floats(0.3, 60))
def test_uniform_segments_cover_the_clip_once(start: float, duration: float, seconds: float) -> None:
    clip = Clip("v", start, start + duration)
    boundaries = uniform_boundaries(clip, seconds)
    assert boundaries[0][0] == clip.start
    assert boundaries[-1][1] == clip.end
    assert all(a[1] == b[0] for a, b in pairwise(boundaries))
    assert all(0 < end - start <= seconds * (1 + 1e-6) for start, end in boundaries)


@given(st.integers(1, 300), st.floats(1, 40))
def test_every_distinct_caption_lands_in_exactly_one_segment(count: int, seconds: float) -> None:
    clip = Clip("v", 0, 180)
    step = 180 / count
    captions = [Caption(i * step, (i + 1) * step, f"event {i}") for i in range(count)]
    segments = group_captions(captions, uniform_boundaries(clip, seconds))
    assert [text for segment in segments for text in segment.texts] == [caption.text for caption in captions]


def test_immediate_repeats_within_a_segment_are_said_once() -> None:
    captions = [Caption(i, i + 1, text) for i, text in enumerate(["#C C cuts", "C cuts.", "C eats", "C cuts"])]
    (segment,) = group_captions(captions, [(0, 16)])
    assert segment.texts == ("C cuts", "C eats", "C cuts")


def test_thinning_keeps_every_kth_text_over_the_whole_video() -> None:
    segments = [Segment(0, 16, ("a", "b", "c")), Segment(16, 32, ("d", "e"))]
    assert [segment.texts for segment in thin(segments, 2)] == [("a", "c"), ("e",)]
    assert thin(segments, 1) == segments


def test_a_silent_segment_is_left_out_of_the_text() -> None:
    assert render([Segment(0, 16, ()), Segment(112, 128, ("C cuts", "C eats"))]) == "[1:52-2:08] C cuts; C eats"


def test_boundaries_are_read_by_video(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"v": [[0, 10], [12.5, 20]]}))
    assert load_boundaries(path) == {"v": [(0, 10), (12.5, 20)]}


@pytest.mark.parametrize("content", ['{"v": [[5, 5]]}', '{"v": []}', '{"v": [[1]]}', "[1]", '{"v": [['])
def test_broken_boundaries_are_refused_with_the_file_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"b\.json"):
        load_boundaries(path)
