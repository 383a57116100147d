"""Shot boundaries of real files: whole clips, absolute seconds, and the file at fault by name."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from encoders.shots import detect_shots
from encoders.video_errors import EmptyVideoError
from encoders.video_file import probe
from tests.encoders.videos import write_video

pytest.importorskip("scenedetect")


def covers(shots: list[tuple[float, float]], start: float, end: float) -> bool:
    joined = all(one[1] == other[0] for one, other in pairwise(shots))
    return joined and shots[0][0] == start and shots[-1][1] == end and all(a < b for a, b in shots)


def test_a_film_is_cut_where_the_picture_changes(shared_data: Path) -> None:
    path = shared_data / "videos" / "natural" / "nasa_13s.mp4"
    end = probe(path).duration
    shots = detect_shots(path, 0.0, end)
    assert covers(shots, 0.0, end)
    assert [round(start, 1) for start, _ in shots] == [0.0, 5.1, 8.1]


def test_a_stretch_of_a_film_has_the_same_cuts_at_the_same_seconds(shared_data: Path) -> None:
    path = shared_data / "videos" / "natural" / "nasa_13s.mp4"
    shots = detect_shots(path, 4.0, 10.0)
    assert covers(shots, 4.0, 10.0)
    assert [round(start, 1) for start, _ in shots] == [4.0, 5.1, 8.1]


def test_a_video_without_cuts_is_one_shot(shared_data: Path) -> None:
    path = shared_data / "videos" / "natural" / "bottles_40s.mp4"
    assert detect_shots(path, 0.0, 10.0) == [(0.0, 10.0)]


def test_seconds_are_the_files_own_where_the_rate_varies(tmp_path: Path) -> None:
    """Black until second 6, white from there on, at 10 and then 2 frames a second."""
    path = tmp_path / "varying.mp4"
    write_video(path, [i / 10 for i in range(60)] + [6 + i / 2 for i in range(20)], levels=[0] * 60 + [255] * 20)
    shots = detect_shots(path, 0.0, 15.0)
    assert len(shots) == 2
    assert shots[1][0] == pytest.approx(6.0, abs=0.15)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
def test_frames_out_of_order_in_the_container_are_no_cuts(shared_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "film.avi"
    source = shared_data / "videos" / "natural" / "nasa_13s.mp4"
    coding = ("-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-bf", "3")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-t", "10", "-i", str(source), "-map", "0:v:0", *coding, str(path)], check=True
    )
    # AVI shows everything later by the decoder's delay of two frames.
    assert [start for start, _ in detect_shots(path, 0.0, 9.5)] == pytest.approx([0.0, 5.1, 8.1], abs=0.12)


def test_a_bad_video_is_named(shared_data: Path) -> None:
    path = shared_data / "videos" / "broken" / "empty_0_bytes.webm"
    with pytest.raises(EmptyVideoError, match=r"empty_0_bytes\.webm"):
        detect_shots(path, 0.0, 10.0)
