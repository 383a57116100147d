"""Frames are decoded ahead of who asks for them, each clip once, and memory and processes end with the run."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from encoders.decode_ahead import FrameSource, Reading, decode_ahead
from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from encoders.video_errors import EmptyVideoError, ResourcesError
from tasks.task import Clip
from tests.encoders.videos import clip

POLICY = FramePolicy(count=8, size=64)


@pytest.fixture(scope="module")
def clips(shared_data: Path) -> list[Clip]:
    folder = shared_data / "videos" / "natural"
    names = ("bikes_10s.mp4", "ego_frying_2s.mp4", "nasa_13s.mp4", "scrambled_eggs_70s.mp4")
    return [clip(folder / name, 0, 1.5) for name in names]


@pytest.fixture(scope="module")
def bad(shared_data: Path) -> Clip:
    return clip(shared_data / "videos" / "broken" / "empty_0_bytes.webm", 0, 5)


def source(batch: int = 2) -> FrameSource:
    return FrameSource(POLICY, Reading(workers=2, batch=batch))


def test_announced_or_not_the_frames_are_those_of_a_direct_read(clips: list[Clip]) -> None:
    frames = source()
    with frames.ahead(clips[:2]):
        found = [one.frames.pixels for at in range(4) for one in frames.read(clips[at : at + 1])]
    for one, pixels in zip(clips, found, strict=True):
        assert np.array_equal(pixels, read_frames(one, POLICY).pixels)


def test_several_clips_that_nobody_announced_come_in_the_order_asked(clips: list[Clip]) -> None:
    asked = [clips[2], clips[0], clips[2]]
    for one, read in zip(asked, source().read(asked), strict=True):
        assert np.array_equal(read.frames.pixels, read_frames(one, POLICY).pixels)


def test_a_clip_asked_for_again_is_not_decoded_again(clips: list[Clip]) -> None:
    frames = source()
    with frames.ahead([clips[0], clips[0], clips[1], clips[0]]):
        first, again = frames.read([clips[0]])[0], frames.read([clips[0]])[0]
    assert first.seconds["decode"] > 0
    assert again.seconds == {"decode": 0.0, "wait": 0.0}
    assert again.frames is first.frames


def test_decoding_goes_on_while_the_caller_is_busy(clips: list[Clip]) -> None:
    for busy in (0.5, 2.0, 8.0, 30.0):  # a loaded machine is given longer
        frames = source()
        with frames.ahead(clips):
            frames.read(clips[:1])
            time.sleep(busy)
            second = frames.read(clips[1:2])[0]
        if second.wait_seconds < second.decode_seconds / 2:
            return
    pytest.fail("the second clip was not decoded while the first was in use")


def test_starting_the_decoders_is_waiting_for_the_first_clip(clips: list[Clip]) -> None:
    frames = source()
    began = time.perf_counter()
    with frames.ahead(clips):
        passed = time.perf_counter() - began
        first, second = frames.read(clips[:1])[0], frames.read(clips[1:2])[0]
    assert first.wait_seconds > 0.9 * passed > 0
    assert second.wait_seconds < first.wait_seconds


def test_a_bad_clip_of_a_batch_costs_the_others_no_second_decoding(clips: list[Clip], bad: Clip) -> None:
    frames = source(batch=3)
    batch = [clips[0], bad, clips[1]]
    with frames.ahead(batch):
        with pytest.raises(EmptyVideoError):
            frames.read(batch)
        assert frames.read(clips[:1])[0].decode_seconds == 0
        with pytest.raises(EmptyVideoError):
            frames.read([bad])
        assert frames.read(clips[1:2])[0].decode_seconds > 0


def test_clips_passed_over_are_still_found(clips: list[Clip]) -> None:
    frames = source(batch=1)
    with frames.ahead(clips):
        late = frames.read([clips[2]])[0]
        early = frames.read([clips[0]])[0]
    assert np.array_equal(late.frames.pixels, read_frames(clips[2], POLICY).pixels)
    assert np.array_equal(early.frames.pixels, read_frames(clips[0], POLICY).pixels)


def test_the_workers_end_with_the_run_however_it_ends(clips: list[Clip]) -> None:
    frames, seen = source(), []

    def interrupted() -> None:
        with frames.ahead(clips * 3):
            frames.read(clips[:1])
            seen.extend(multiprocessing.active_children())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert seen
    assert not multiprocessing.active_children()


def test_looking_ahead_within_looking_ahead_keeps_the_workers(clips: list[Clip]) -> None:
    frames, seen = source(), []
    with frames.ahead(()):
        for one in clips[:2]:
            with frames.ahead([one]):
                read = frames.read([one])[0]
            assert np.array_equal(read.frames.pixels, read_frames(one, POLICY).pixels)
            seen.append({child.pid for child in multiprocessing.active_children()})
    assert set() < seen[0] <= seen[1]
    assert len(seen[1]) <= 2
    assert not multiprocessing.active_children()


def test_clips_at_hand_are_not_waited_for(clips: list[Clip]) -> None:
    frames = source()
    with frames.holding(decode_ahead(clips[:2], POLICY)):
        assert [one.seconds for one in frames.read(clips[:2])] == [{"decode": 0.0, "wait": 0.0}] * 2
    assert frames.read(clips[:1])[0].decode_seconds > 0


def test_memory_that_lacks_for_a_clip_nobody_announced_is_told_of_its_file(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("encoders.decode_ahead.read_frames", full)
    with pytest.raises(ResourcesError, match=r"bikes_10s\.mp4: not enough memory"):
        source().read(clips[:1])
