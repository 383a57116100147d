from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from encoders.video_errors import BackendError, DamagedVideoError, EmptyVideoError
from encoders.video_file import probe
from tests.encoders.videos import MATRICES, clip, psnr, with_matrix

FILES = [
    "natural/bikes_10s.mp4",
    "natural/drummer_36s_portrait.mp4",
    "natural/nasa_13s.mp4",
    "natural/flipping_a_pancake_10s.mkv",
    "broken/rot90.mov",
    "broken/rot180.mov",
    "broken/nonzero_start.mp4",
    "broken/odd_321x241_vp9.mp4",
    "broken/vfr_vp8_45s.webm",
    "broken/av1_5s.mkv",
]


@pytest.fixture
def torchcodec() -> None:
    try:
        import_module("torchcodec.decoders")
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"needs torchcodec: {str(error).splitlines()[0]}")


@pytest.mark.usefixtures("torchcodec")
@pytest.mark.parametrize("size", [None, 96])
@pytest.mark.parametrize("name", FILES)
def test_both_backends_give_the_same_frames(shared_data: Path, name: str, size: int | None) -> None:
    path = shared_data / "videos" / name
    one = clip(path, 0, probe(path).duration)
    policy = FramePolicy(count=3, size=size)
    ours = read_frames(one, policy, backend="pyav")
    theirs = read_frames(one, policy, backend="torchcodec")
    assert ours.frame_seconds == theirs.frame_seconds
    # Scaled pixels went through RGB once more in theirs.
    rounding = 38 if size is None else 36
    assert min(psnr(a, b) for a, b in zip(ours.pixels, theirs.pixels, strict=True)) > rounding


@pytest.mark.usefixtures("torchcodec")
@pytest.mark.parametrize("name", MATRICES)
def test_turned_and_mirrored_pictures_are_those_of_pyav(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "turned.mp4"
    path.write_bytes((shared_data / "videos" / "natural" / "bikes_10s.mp4").read_bytes())
    with_matrix(path, MATRICES[name])
    ours, theirs = (
        read_frames(clip(path, 0, 1), FramePolicy(count=1, size=None), backend=backend)  # type: ignore[arg-type]
        for backend in ("pyav", "torchcodec")
    )
    assert psnr(ours.pixels, theirs.pixels) > 38


@pytest.mark.usefixtures("torchcodec")
def test_damage_is_told_as_with_pyav(shared_data: Path) -> None:
    folder = shared_data / "videos" / "broken"
    with pytest.raises(DamagedVideoError):
        read_frames(clip(folder / "corrupted_midstream.mp4", 0, 5), FramePolicy(count=8), backend="torchcodec")
    with pytest.raises(EmptyVideoError):
        read_frames(clip(folder / "empty_0_bytes.webm", 0, 5), FramePolicy(count=8), backend="torchcodec")


def test_a_missing_torchcodec_is_said_in_one_line(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    path = shared_data / "videos" / "natural" / "bikes_10s.mp4"
    with pytest.raises(BackendError, match="torchcodec does not load"):
        read_frames(clip(path, 0, 1), FramePolicy(count=1), backend="torchcodec")
