from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from encoders.decode_ahead import AheadPolicy, Decoders, decode_ahead
from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from encoders.video_errors import DecodeTimeoutError, DecodeWorkerError, EmptyVideoError
from tasks.task import Clip
from tests.encoders.videos import clip

POLICY = FramePolicy(count=8, size=64)


def clips(shared_data: Path) -> list[Clip]:
    videos = shared_data / "videos"
    return [
        clip(videos / "natural" / "scrambled_eggs_70s.mp4", 0, 60),
        clip(videos / "natural" / "bikes_10s.mp4", 0, 9),
        clip(videos / "broken" / "empty_0_bytes.webm", 0, 5),
        clip(videos / "natural" / "ego_frying_2s.mp4", 0, 2),
        clip(videos / "natural" / "nasa_13s.mp4", 2, 12),
    ]


def test_clips_come_in_order_with_the_frames_of_a_direct_read(shared_data: Path) -> None:
    asked = clips(shared_data)
    results = list(decode_ahead(asked, POLICY))
    assert [result.clip for result in results] == asked
    for result in results:
        if result.frames is not None:
            direct = read_frames(result.clip, POLICY)
            assert np.array_equal(result.frames.pixels, direct.pixels)
            assert result.frames.seen == direct.seen


def test_an_error_is_data_of_its_video_alone(shared_data: Path) -> None:
    errors = [result.error for result in decode_ahead(clips(shared_data), POLICY)]
    assert isinstance(errors[2], EmptyVideoError)
    assert [error is None for error in errors] == [True, True, False, True, True]


def test_decoding_and_waiting_are_timed_apart(shared_data: Path) -> None:
    results = []
    for result in decode_ahead(clips(shared_data)[:2] * 3, POLICY, AheadPolicy(workers=1, ahead=6)):
        results.append(result)
        time.sleep(1.0 if len(results) == 1 else 0)
    assert all(result.decode_seconds > 0 for result in results)
    assert results[0].wait_seconds > results[0].decode_seconds
    assert results[1].wait_seconds < results[1].decode_seconds


def test_no_more_clips_are_taken_than_may_be_ahead(shared_data: Path) -> None:
    taken = []

    def source() -> Iterator[Clip]:
        for one in clips(shared_data) * 4:
            taken.append(one)
            yield one

    stream = decode_ahead(source(), POLICY, AheadPolicy(workers=2, ahead=3))
    for given in range(1, 6):
        next(stream)
        assert len(taken) <= given + 3
    stream.close()


def test_closing_early_leaves_no_process(shared_data: Path) -> None:
    stream = decode_ahead(clips(shared_data) * 10, POLICY)
    next(stream)
    assert multiprocessing.active_children()
    began = time.perf_counter()
    stream.close()
    assert time.perf_counter() - began < 5
    assert not multiprocessing.active_children()


def test_what_was_not_begun_when_the_iterator_is_dropped_is_never_decoded(shared_data: Path) -> None:
    long, short = clips(shared_data)[0], clips(shared_data)[3]
    with Decoders(AheadPolicy(workers=1, ahead=40)) as decoders:
        dropped = decoders.decode([short] + [long] * 30, POLICY)
        next(dropped)
        dropped.close()
        began = time.perf_counter()
        after = next(decoders.decode([short], POLICY))
        waited = time.perf_counter() - began
        one = next(decoders.decode([long], POLICY)).decode_seconds
    assert after.frames is not None
    assert waited < 15 * one


def test_a_video_that_takes_too_long_is_stopped_and_the_next_is_decoded(shared_data: Path, tmp_path: Path) -> None:
    slow = clip(shared_data / "videos" / "natural" / "epic_wall_vp9_720p60_10s.webm", 0, 9.9)
    quick = clip(shared_data / "videos" / "natural" / "ego_frying_2s.mp4", 0, 1)
    policy = AheadPolicy(workers=1, ahead=2, timeout=0.001)
    stream = decode_ahead([slow], POLICY, policy)
    result = next(stream)
    assert isinstance(result.error, DecodeTimeoutError)
    assert "epic_wall_vp9" in str(result.error)
    stream.close()
    assert next(iter(decode_ahead([quick], POLICY))).error is None


def test_a_worker_that_dies_costs_one_video_and_is_replaced(shared_data: Path) -> None:
    one = clip(shared_data / "videos" / "natural" / "bottles_40s.mp4", 0, 30)
    stream = decode_ahead([one] * 4, FramePolicy(count=60, size=64), AheadPolicy(workers=1, ahead=3))
    first = next(stream)
    for child in multiprocessing.active_children():
        os.kill(child.pid, 9)
    rest = list(stream)
    assert first.error is None
    errors = [result.error for result in rest if result.error is not None]
    assert len(errors) == 1
    assert isinstance(errors[0], DecodeWorkerError)
    assert "bottles_40s.mp4" in str(errors[0])


def test_an_exception_of_the_consumer_ends_the_workers(shared_data: Path) -> None:
    def consume() -> None:
        for result in decode_ahead(clips(shared_data) * 3, POLICY):
            msg = result.clip.video_id
            raise LookupError(msg)

    with pytest.raises(LookupError):
        consume()
    assert not multiprocessing.active_children()


def test_no_clips_start_no_process() -> None:
    assert list(decode_ahead([], POLICY)) == []
