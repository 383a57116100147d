"""What a record tells of a clip: an end that nobody knows contradicts none."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from evals.clips import difference, looked_at, same_clip
from tasks.task import Clip


def test_an_end_that_is_not_known_is_null_in_the_record() -> None:
    assert looked_at(Clip("v", 0.0, inf)).end is None
    assert looked_at(Clip("v", 0.0, 4.5)).end == 4.5


@pytest.mark.parametrize(
    ("then", "now", "same"),
    [
        (Clip("v", 0, 9), Clip("v", 0, 9), True),
        (Clip("v", 0, inf), Clip("v", 0, inf), True),
        (Clip("v", 0, inf), Clip("v", 0, 9), True),
        (Clip("v", 0, 9), Clip("v", 0, inf), True),
        (Clip("v", 0, 9), Clip("v", 0, 8), False),
        (Clip("v", 0, inf), Clip("v", 1, inf), False),
        (Clip("v", 0, inf), Clip("w", 0, inf), False),
    ],
)
def test_two_clips_are_one_as_far_as_both_are_told(then: Clip, now: Clip, same: bool) -> None:
    assert same_clip(looked_at(then), looked_at(now)) is same
    assert (difference(looked_at(then), now) == "") is same


def test_a_difference_names_both_stretches() -> None:
    told = difference(looked_at(Clip("v", 0, inf)), Clip("w", 2, 9))
    assert told == "it was answered about v from 0 s to its end, and now is about w from 2 to 9 s"


def test_other_subtitles_make_another_clip_and_missing_ones_contradict_nothing(tmp_path: Path) -> None:
    spoken = tmp_path / "v.srt"
    clip = Clip("v", 0, 9, None, spoken)
    without = looked_at(clip)
    spoken.write_text("1\n00:00:01,000 --> 00:00:02,000\nsalt\n")
    before = looked_at(clip)
    assert (difference(without, clip), difference(before, clip), same_clip(without, before)) == ("", "", True)
    spoken.write_text("1\n00:00:01,000 --> 00:00:02,000\nmilk\n")
    assert difference(before, clip) == f"{spoken} holds other subtitles than when it was answered"
    assert not same_clip(before, looked_at(clip))
    spoken.unlink()
    assert difference(before, clip) == ""
