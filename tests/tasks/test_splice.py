"""Replacing a piece in a copy of an encoded video changes that piece and nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.errors import DataError
from tasks.splice import Window, encode, splice

WINDOW = Window(13, 6)


def frames(levels: NDArray[np.int64], height: int = 32, width: int = 48) -> list[av.VideoFrame]:
    """Return a frame with a grey gradient for each level, so that neighbouring pixels differ."""
    ramp = np.linspace(0, 40, width)[None, :, None]
    made = [np.broadcast_to(level + ramp, (height, width, 3)).astype(np.uint8) for level in levels]
    return [av.VideoFrame.from_ndarray(np.ascontiguousarray(one), format="rgb24") for one in made]


def pixels(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("splice") / "whole.mp4"
    assert encode(frames(np.arange(100)), 4, path, WINDOW.cuts) == 100
    return path


def test_only_the_window_differs_and_it_shows_the_piece(whole: Path, tmp_path: Path) -> None:
    splice(whole, WINDOW, frames(np.full(6, 200)), 4, tmp_path / "copy.mp4")
    before, after = pixels(whole), pixels(tmp_path / "copy.mp4")
    differs = np.flatnonzero((before != after).any(axis=(1, 2, 3)))
    assert differs.tolist() == list(range(13, 19))
    assert after[13:19].mean() == pytest.approx(220, abs=4)


def test_times_stay_as_they_were(whole: Path, tmp_path: Path) -> None:
    splice(whole, WINDOW, frames(np.full(6, 200)), 4, tmp_path / "copy.mp4")
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert [frame.time for frame in container.decode(video=0)] == [number / 4 for number in range(100)]


def test_the_same_input_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        splice(whole, WINDOW, frames(np.full(6, 200)), 4, tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_what_does_not_fit_is_refused_and_leaves_no_file(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy.mp4"
    with pytest.raises(DataError, match="5 frames for a window of 6"):
        splice(whole, WINDOW, frames(np.full(5, 200)), 4, out)
    with pytest.raises(DataError, match="frame 14 is not a key frame"):
        splice(whole, Window(14, 6), frames(np.full(6, 200)), 4, out)
    with pytest.raises(DataError, match="settings"):
        splice(whole, WINDOW, frames(np.full(6, 200), height=64), 4, out)
    assert list(tmp_path.iterdir()) == []


def test_a_video_of_no_pictures_is_refused() -> None:
    with pytest.raises(DataError, match="no frames"):
        encode([], 4, io.BytesIO())
