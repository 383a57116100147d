"""A file shows what the plan shows, and pictures made in memory are as good as decoded ones."""

from __future__ import annotations

from pathlib import Path
from time import process_time

import numpy as np
import pytest

from encoders.frames import read_frames
from encoders.sampling import FramePolicy, sample
from encoders.video_file import VideoInfo, probe
from tasks.kitchen.plan import Plan, make_plan
from tasks.kitchen.render import render, write_video
from tasks.task import Clip

CLOSE = 6.0
"""Most mean difference of a picture in memory and the same from the file, in levels of 255."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan("val", 2)


@pytest.fixture(scope="module")
def path(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kitchen") / "videos" / f"{plan.id}.mp4"
    write_video(plan, path)
    return path


def test_the_file_is_h264_of_the_plans_length(plan: Plan, path: Path) -> None:
    info: VideoInfo = probe(path)
    assert (info.codec, info.width, info.height, info.fps) == ("h264", 128, 128, 4.0)
    assert 0 <= info.duration - plan.duration < 0.26


def test_no_unfinished_file_is_left(path: Path) -> None:
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("size", [64, 128])
def test_pictures_in_memory_are_those_of_the_file(plan: Plan, path: Path, size: int) -> None:
    policy = FramePolicy(count=96, size=size)
    decoded = read_frames(Clip(plan.id, 0.0, plan.duration, path), policy).pixels
    made = render(plan, sample(policy, 0.0, plan.duration).seconds, size)
    difference = np.abs(decoded.astype(np.float64) - made).mean(axis=(1, 2, 3))
    assert difference.max() < CLOSE
    neighbours = np.abs(decoded[1:].astype(np.float64) - made[:-1]).mean(axis=(1, 2, 3))
    assert np.median(neighbours) > 2 * np.median(difference)


def test_the_same_plan_gives_the_same_bytes(plan: Plan, path: Path, tmp_path: Path) -> None:
    write_video(plan, tmp_path / "again.mp4")
    assert (tmp_path / "again.mp4").read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_four_minutes_are_rendered_and_encoded_in_two_seconds(tmp_path: Path) -> None:
    plan = next(p for p in (make_plan("val", i) for i in range(100)) if 238 < p.duration < 246)
    started = process_time()
    write_video(plan, tmp_path / "video.mp4")
    assert process_time() - started < 2.0


@pytest.mark.slow
def test_a_picture_of_64_pixels_takes_less_than_150_microseconds() -> None:
    plans = [make_plan("train", index) for index in range(20)]
    seconds = [sample(FramePolicy(count=128), 0.0, plan.duration).seconds for plan in plans]
    for plan, stamps in zip(plans, seconds, strict=True):
        render(plan, stamps, 64)
    started = process_time()
    for plan, stamps in zip(plans, seconds, strict=True):
        render(plan, stamps, 64)
    assert (process_time() - started) / (128 * len(plans)) < 150e-6
