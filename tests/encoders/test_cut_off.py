"""A file that breaks off never passes for a whole one, and no whole one for broken."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from encoders.cut_off import is_cut_off
from encoders.decode import decode
from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from encoders.video_errors import TruncatedVideoError, VideoError
from encoders.video_file import open_video, probe
from tests.encoders.videos import NATURAL, ODD_BUT_WHOLE, clip

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
# Each has its kind of container among those that are tried always.
SELDOM = {"sound.webm", "sound.mkv", "short_clusters.mkv", "b_frames.avi", "long_sound.mkv", "long_sound.mp4"}
POLICY = FramePolicy(count=16, size=32, fit="squash")
SINE = ("-f", "lavfi", "-i", "sine=440:d=14")
VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8")
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "3")
THEORA = ("-c:v", "libtheora", "-q:v", "6")
DECLARED = {
    "plain.webm": VP8,
    "sound.webm": (*VP8, "-c:a", "libopus", "-shortest"),
    "plain.mkv": X264,
    "sound.mkv": (*X264, "-c:a", "aac", "-shortest"),
    "short_clusters.mkv": (*X264, "-cluster_time_limit", "500"),
    "front.mp4": (*X264, "-movflags", "faststart"),
    "plain.avi": (*X264, "-bf", "0"),
    "plain.flv": X264,
    "b_frames.avi": X264,
}
UNDECLARED = {
    "plain.wmv": ("-c:v", "wmv2", "-q:v", "5"),
    "live.webm": (*VP8, "-live", "1"),
    "theora.ogv": THEORA,
    "plain.ts": X264,
    "plain.mpg": ("-c:v", "mpeg2video", "-bf", "2", "-q:v", "5"),
    "fragments.mp4": (*X264, "-g", "25", "-movflags", "frag_keyframe+empty_moov"),
}
ODD = {
    "long_sound.webm": (*VP8, "-c:a", "libopus"),
    "long_sound.mkv": (*X264, "-c:a", "aac"),
    "long_sound.mp4": (*X264, "-c:a", "aac"),
    "varying.mkv": (*X264, "-vf", "select='not(mod(n,7))+lt(n,40)*not(mod(n,2))',scale=64:-2", "-vsync", "vfr"),
    "late.mkv": (*X264, "-output_ts_offset", "5"),
}


def some(names: Iterable[str]) -> list[object]:
    """The names, those of SELDOM for the slow tests."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in SELDOM else name for name in names]


def make(shared_data: Path, path: Path, options: tuple[str, ...]) -> Path:
    source = shared_data / "videos" / "natural" / "bikes_10s.mp4"
    sound = SINE if "-c:a" in options else ()
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", str(source), *sound, "-map", "0:v", *(("-map", "1:a") if sound else ()),
         "-vf", "scale=64:-2", *options, str(path)],
        check=True, timeout=120,
    )  # fmt: skip
    return path


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    short = path.with_name(f"cut_{path.name}")
    short.write_bytes(data[: int(len(data) * share)])
    return short


@pytest.mark.parametrize("name", some(DECLARED))
def test_a_cut_file_that_tells_its_length_is_refused_where_it_breaks_off(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    whole = make(shared_data, tmp_path / name, DECLARED[name])
    right = read_frames(clip(whole, 0, probe(whole).duration), POLICY)
    for share in (0.28, 0.75):
        path = cut(whole, share)
        duration = probe(path).duration
        assert duration == pytest.approx(probe(whole).duration, abs=0.2)
        with pytest.raises(TruncatedVideoError, match=f"cut_{name}: breaks off at"):
            read_frames(clip(path, 0, duration), POLICY)
        given = 0
        for second, picture in zip(right.seconds[1::4], right.pixels[1::4], strict=True):
            try:
                found = decode(path, (second,), POLICY).pixels[0]
            except VideoError:
                continue
            given += 1
            assert np.array_equal(found, picture)
        assert given >= 1


@pytest.mark.parametrize("name", some(UNDECLARED))
def test_a_cut_file_that_tells_no_length_is_refused(shared_data: Path, tmp_path: Path, name: str) -> None:
    whole = make(shared_data, tmp_path / name, UNDECLARED[name])
    assert len(read_frames(clip(whole, 0, probe(whole).duration), POLICY).pixels) == 16
    for share in (0.28, 0.601, 0.903):
        with pytest.raises(TruncatedVideoError, match=f"cut_{name}: breaks off at .* doesn't say how long"):
            probe(cut(whole, share))


@pytest.mark.parametrize("name", some(ODD))
def test_a_whole_file_of_an_odd_kind_is_read_to_its_end(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = make(shared_data, tmp_path / name, ODD[name])
    duration = probe(path).duration
    assert 9.5 < duration < 15.1
    assert len(read_frames(clip(path, 0, duration), POLICY).pixels) == 16


@pytest.mark.parametrize("name", [*NATURAL, *ODD_BUT_WHOLE])
def test_no_whole_file_seems_cut_off_and_each_does_when_it_is(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / "videos" / ("natural" if name in NATURAL else "broken") / name
    with open_video(path) as video:
        container = video.container.format.name
        assert not video.is_cut_off
    short = tmp_path / name
    for share in (0.11, 0.5, 0.77):
        data = path.read_bytes()
        short.write_bytes(data[: int(len(data) * share)])
        assert is_cut_off(short, container)
