from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.sampling import FramePolicy, sample
from encoders.video_errors import FramePolicyError

STARTS = st.floats(0, 5000, allow_nan=False)
LENGTHS = st.floats(0.05, 4000, allow_nan=False)
COUNTS = st.integers(1, 300)
RATES = st.sampled_from([0.1, 0.5, 1.0, 2.0, 24.0, 29.97])
ROUNDING = 1e-5


@st.composite
def policies(draw: st.DrawFn) -> FramePolicy:
    if draw(st.booleans()):
        return FramePolicy(count=draw(COUNTS))
    return FramePolicy(fps=draw(RATES), cap=draw(COUNTS), beyond_cap=draw(st.sampled_from(["spread", "cut"])))


@given(policies(), STARTS, LENGTHS)
def test_stamps_ascend_and_stay_inside_the_clip(policy: FramePolicy, start: float, length: float) -> None:
    seconds = sample(policy, start, start + length).seconds
    assert list(seconds) == sorted(seconds)
    assert start <= seconds[0]
    assert seconds[-1] <= start + length


@given(policies(), STARTS, LENGTHS)
def test_both_ends_of_what_is_seen_are_within_half_a_stride(policy: FramePolicy, start: float, length: float) -> None:
    stamps = sample(policy, start, start + length)
    seen = stamps.share_of_clip * length
    strides = [b - a for a, b in pairwise(stamps.seconds)]
    stride = max(strides, default=seen)
    assert stamps.seconds[0] - start <= stride / 2 + ROUNDING
    assert start + seen - stamps.seconds[-1] <= stride / 2 + ROUNDING


@given(policies(), STARTS, LENGTHS)
def test_strides_are_equal(policy: FramePolicy, start: float, length: float) -> None:
    seconds = sample(policy, start, start + length).seconds
    strides = [b - a for a, b in pairwise(seconds)]
    assert max(strides, default=0) - min(strides, default=0) < ROUNDING


@given(COUNTS, STARTS, LENGTHS)
def test_count_gives_exactly_that_many_frames(count: int, start: float, length: float) -> None:
    stamps = sample(FramePolicy(count=count), start, start + length)
    assert len(stamps.seconds) == count
    assert stamps.share_of_clip == 1


@given(RATES, COUNTS, LENGTHS)
def test_fps_keeps_its_stride_up_to_the_cap(fps: float, cap: int, length: float) -> None:
    stamps = sample(FramePolicy(fps=fps, cap=cap), 0, length)
    assert len(stamps.seconds) <= cap
    if len(stamps.seconds) > 1 and length * fps <= cap:
        assert stamps.seconds[1] - stamps.seconds[0] == pytest.approx(1 / fps)


def test_whole_seconds_at_one_fps_give_their_mid_points() -> None:
    assert sample(FramePolicy(fps=1, cap=256), 10, 14).seconds == (10.5, 11.5, 12.5, 13.5)


def test_a_short_clip_still_gives_one_frame() -> None:
    assert sample(FramePolicy(fps=1, cap=256), 3.0, 3.2).seconds == pytest.approx((3.1,))


def test_beyond_the_cap_spread_covers_the_whole_clip() -> None:
    stamps = sample(FramePolicy(fps=1, cap=256, beyond_cap="spread"), 0, 512)
    assert stamps.share_of_clip == 1
    assert stamps.seconds[:2] == (1, 3)
    assert stamps.seconds[-1] == 511


def test_beyond_the_cap_cut_says_what_share_it_saw() -> None:
    stamps = sample(FramePolicy(fps=1, cap=256, beyond_cap="cut"), 0, 512)
    assert stamps.share_of_clip == 0.5
    assert stamps.seconds[-1] == 255.5


def test_256_of_500_frames_reach_the_end_of_the_clip() -> None:
    """`n // k` strides stop at 51 % of a 500-frame clip."""
    frames = [int(second * 25) for second in sample(FramePolicy(count=256), 0, 20).seconds]
    assert frames[0] == 0
    assert frames[-1] == 499


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"count": 8, "fps": 1.0},
        {"count": 8, "cap": 4},
        {"fps": 1.0},
        {"count": 0},
        {"fps": 0.0, "cap": 4},
        {"fps": math.nan, "cap": 4},
        {"fps": 1.0, "cap": 0},
        {"count": 100_000},
        {"count": 8, "size": 0},
        {"count": 8, "fit": "stretch"},
        {"count": 8, "fit": "keep"},
        {"count": 8, "fit": "keep", "size": None, "pixels": 0},
        {"count": 8, "pixels": 1000},
        {"count": 8, "fit": "squash", "total_pixels": 1000},
        {"fps": 1.0, "cap": 4, "beyond_cap": "stop"},
    ],
)
def test_contradictory_policies_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(FramePolicyError):
        FramePolicy(**fields)


@pytest.mark.parametrize(("start", "end"), [(5, 5), (5, 4), (-1, 4), (0, math.inf), (math.nan, 1)])
def test_clips_without_length_are_refused(start: float, end: float) -> None:
    with pytest.raises(FramePolicyError, match="clip"):
        sample(FramePolicy(count=4), start, end)


def test_more_frames_than_any_video_holds_are_refused_at_once() -> None:
    with pytest.raises(FramePolicyError, match="10000 frames of a clip of 2 s"):
        sample(FramePolicy(count=10_000), 0, 2)
    with pytest.raises(FramePolicyError, match="fps=1000 gives 60000 frames of 60 s"):
        sample(FramePolicy(fps=1000.0, cap=1_000_000), 0, 60)
    assert len(sample(FramePolicy(fps=1.0, cap=1_000_000), 0, 7200).seconds) == 7200
    assert len(sample(FramePolicy(count=10_000), 0, 3600).seconds) == 10_000


def test_a_total_of_pixels_is_shared_out_among_the_frames_of_a_clip() -> None:
    policy = FramePolicy(fps=1.0, cap=64, size=None, fit="keep", pixels=200_000, total_pixels=1_600_000)
    assert [policy.for_frames(count).pixels for count in (1, 8, 16, 64)] == [200_000, 200_000, 100_000, 25_000]


def test_a_total_of_pixels_that_leaves_none_to_a_frame_is_refused() -> None:
    policy = FramePolicy(count=64, size=None, fit="keep", total_pixels=10_000)
    with pytest.raises(FramePolicyError, match="156 pixels to each of 64 frames"):
        policy.for_frames(64)
