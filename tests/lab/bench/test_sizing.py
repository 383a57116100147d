"""Sizes follow from the rates by arithmetic that a reader can redo."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lab.bench.sizing import WORKLOADS, Rates, Workload, frames_of, size
from tests.evals.conftest import longvid

HOUR = Workload("an hour in clips of a minute", 60, 60.0)
ROUND = Rates(
    decode=20.0,
    matmul=100e12,
    share=0.5,
    segment=16.0,
    caption_tokens=50,
    caption_rate=1000.0,
    bit_rate=8e6,
    dimensions=100,
    caption_bytes=400,
)


def test_an_hour_of_video_takes_what_the_rates_say() -> None:
    found = size(HOUR, 5e12, ROUND)
    assert HOUR.hours == 1
    assert found.decode_core_hours == pytest.approx(1 / 20)
    assert found.encode_gpu_hours == pytest.approx(60 * 0.1 / 3600)
    assert found.caption_tokens == 60 * 4 * 50
    assert found.caption_gpu_hours == pytest.approx(12 / 3600)
    assert found.caption_bytes == 60 * 4 * 400
    assert found.video_bytes == 3600 * 10**6
    assert found.vector_bytes == 60 * (4 * 100 + 64)


def test_cores_per_gpu_keep_decoding_as_fast_as_encoding() -> None:
    found = size(HOUR, 5e12, ROUND)
    assert found.cores_per_gpu == pytest.approx((3600 / 20) / (60 * 0.1))


@pytest.mark.parametrize("hours", [0.001, 0.01, 1.0])
def test_so_many_gpus_and_cores_are_enough_and_one_fewer_is_not(hours: float) -> None:
    found = size(replace(HOUR, clips=60_000), 5e12, ROUND)
    for number, work in (
        (found.gpus(hours, captions=False), found.encode_gpu_hours),
        (found.gpus(hours, captions=True), found.caption_gpu_hours),
        (found.cores(hours), found.decode_core_hours),
    ):
        assert number * hours >= work
        assert number == 1 or (number - 1) * hours < work


def test_everything_grows_with_the_number_of_clips() -> None:
    once, twice = (size(replace(HOUR, clips=clips), 5e12, ROUND) for clips in (60, 120))
    for name in ("decode_core_hours", "encode_gpu_hours", "caption_gpu_hours", "vector_bytes", "video_bytes"):
        assert getattr(twice, name) == pytest.approx(2 * getattr(once, name))


@pytest.mark.parametrize(("seconds", "frames"), [(180.0, 180), (315.4, 256), (256.0, 256), (9.2, 10)])
def test_a_clip_is_seen_at_one_frame_a_second_up_to_the_cap(seconds: float, frames: int) -> None:
    assert frames_of(Workload("", 1, seconds)) == frames


def test_the_workloads_have_their_hours() -> None:
    assert [round(one.hours) for one in WORKLOADS] == [252, 157, 1_000_000]


def test_the_command_says_that_it_computes_and_takes_other_rates() -> None:
    done = longvid("bench", "sizing", "--size", "tiny", "--clips", "10", "--seconds", "100", "--decode", "5", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["computed"] is True
    assert told["rates"]["decode"] == 5
    assert [row["workload"]["clips"] for row in told["sizes"]] == [5031, 1790, 14_062_500, 10]
    assert told["sizes"][-1]["decode_core_hours"] == pytest.approx(1000 / 3600 / 5)
