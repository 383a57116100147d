"""Frames come in the decoder's order, whatever times of display the container gives or lacks."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from encoders.decode import decode
from encoders.sampling import FramePolicy
from encoders.video_file import probe
from tests.encoders.videos import psnr

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
SIDE = 64
POLICY = FramePolicy(count=1, size=SIDE, fit="squash")
X264 = ("-c:v", "libx264", "-preset", "veryfast")
WITHOUT_TIMES = {
    "bf3.avi": (*X264, "-bf", "3", "-g", "25"),
    "pyramid.avi": (*X264, "-x264-params", "b-pyramid=normal:bframes=7:keyint=50"),
    "open_gop.avi": (*X264, "-x264-params", "open-gop=1:keyint=12:bframes=3"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-bf", "2", "-q:v", "3"),
    "packed.avi": ("-c:v", "libxvid", "-bf", "2", "-q:v", "3"),
    "mpeg2.avi": ("-c:v", "mpeg2video", "-bf", "2", "-q:v", "3"),
    "bf3.asf": (*X264, "-bf", "3"),
    "mpeg2.mpg": ("-c:v", "mpeg2video", "-bf", "2", "-q:v", "3"),
    "raw.h264": (*X264, "-bf", "3"),
}
DISPLACED = (
    "displaced.mkv",
    "displaced.mp4",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("displaced.flv", "displaced.ts")),
)


@pytest.fixture(scope="module")
def source(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of a moving camera, small, so that each is quickly made into other files."""
    path = tmp_path_factory.mktemp("source") / "source.mkv"
    run("-i", str(shared_data / "videos" / "natural" / "bikes_10s.mp4"), "-t", "4", "-an", "-vf", "scale=160:-2",
        "-c:v", "ffv1", str(path))  # fmt: skip
    return path


def run(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, timeout=120)


def ffmpeg_frames(path: Path) -> tuple[list[float], NDArray[np.uint8]]:
    """Every frame that the ffmpeg program puts out, and when, by its account."""
    done = subprocess.run(
        ["ffmpeg", "-v", "info", "-nostats", "-i", str(path), "-vsync", "passthrough", "-vf",
         f"showinfo,scale={SIDE}:{SIDE}", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"],
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    seconds = [float(found) for found in re.findall(r"pts_time:\s*([-\d.]+)", done.stderr.decode())]
    return seconds, np.frombuffer(done.stdout, np.uint8).reshape(-1, SIDE, SIDE, 3)


def displaced(path: Path, moments: list[float], right: NDArray[np.uint8]) -> int:
    """How many frames at the moments aren't those of the ffmpeg program, read at once and some one by one."""
    together = decode(path, tuple(moments), POLICY).pixels
    wrong = sum(psnr(ours, theirs) < 38 for ours, theirs in zip(together, right, strict=True))
    for number in (0, 1, 2, 77, len(moments) - 2, len(moments) - 1):
        wrong += psnr(decode(path, (moments[number],), POLICY).pixels[0], right[number]) < 38
    return wrong


@pytest.mark.parametrize("name", list(WITHOUT_TIMES))
def test_every_frame_is_that_of_the_ffmpeg_program(source: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    run("-i", str(source), *WITHOUT_TIMES[name], str(path))
    seconds, right = ffmpeg_frames(path)
    assert len(right) > 90
    # Up to what the header declares: where the delay of AVI puts the last frames, ffmpeg guesses.
    count = sum(second < probe(path).duration - 0.1 for second in seconds)
    assert count > 90
    assert displaced(path, [second + 0.01 for second in seconds[:count]], right[:count]) == 0


@pytest.mark.parametrize("name", DISPLACED)
def test_wrong_times_of_display_are_left_aside(source: Path, tmp_path: Path, name: str) -> None:
    """Written in order of decoding: players that believe it show frames displaced."""
    coded, path = tmp_path / "coded.mp4", tmp_path / name
    run("-i", str(source), *X264, "-bf", "3", str(coded))
    run("-i", str(coded), "-bsf:v", "setts=pts=DTS", "-c", "copy", str(path))
    _, right = ffmpeg_frames(path)
    duration = probe(path).duration
    found = decode(path, tuple(i / 25 + 0.01 for i in range(int(duration * 25))), POLICY)
    order = []
    for picture in found.pixels:
        fits = [psnr(picture, one) for one in right]
        order.append(int(np.argmax(fits)))
        assert max(fits) > 38
    assert order == sorted(order)
    assert set(range(order[0], order[-1] + 1)) == set(order)


def test_a_stretch_late_in_a_file_without_times_is_reached_by_a_seek(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.avi"
    run("-stream_loop", "3", "-i", str(source), *X264, "-bf", "3", "-g", "25", str(path))
    seconds, right = ffmpeg_frames(path)
    for number in (300, 301, 302, 303, 371):
        assert psnr(decode(path, (seconds[number] + 0.01,), POLICY).pixels[0], right[number]) > 38
