"""Needles in the user's own videos: a benchmark folder that every command accepts, and accuracy by depth and length."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from evals.figures import ItemFigures, depth_grid
from evals.html_report.table import grid_rows
from evals.record import Sample
from tasks.family import PERCENT
from tasks.labels import DEPTH, LENGTH
from tasks.task import Clip
from tests.evals.conftest import assert_one_line, longvid


def write_video(path: Path, seconds: int, fps: int = 8) -> Path:
    """Write a video of one wide noise picture that does not change."""
    picture = np.random.default_rng(0).integers(0, 255, (36, 64, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 128, 72, "yuv420p"
        for _ in range(seconds * fps):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_video(tmp_path / "talk.mp4", 25)
    write_video(tmp_path / "match.mp4", 70)
    done = longvid("needle", tmp_path / "talk.mp4", tmp_path / "match.mp4", "-o", tmp_path / "own")
    assert done.returncode == 0, done.stderr
    return tmp_path / "own"


def test_the_benchmark_is_one_that_every_verb_takes_and_no_blind_rule_answers(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    assert [row["cluster"] for row in rows] == ["talk"] * 5 + ["match"] * 5
    assert sorted(row["answer"] for row in rows[:5]) == [0, 1, 2, 3, 4]
    assert longvid("audit", folder).returncode == 0
    run = folder.parent / "run"
    done = longvid("run", folder, "-m", "constant", "-M", "choice=1", "-o", run)
    assert done.returncode == 0, done.stderr
    assert "20.0 %" in done.stdout
    page = folder.parent / "page.html"
    assert longvid("report", run, "--format", "html", "-o", page).returncode == 0
    text = page.read_text()
    assert "Where in the video, and how long it is" in text
    assert all(f'<th scope="col">{length}</th>' in text for length in ("10–30 s", "1–2 min"))
    assert '<th scope="row">0–20 %</th>' in text
    assert "<br>n = 1</td>" in text


def test_the_event_is_shown_where_the_row_says_and_nowhere_else(folder: Path) -> None:
    for line in (folder / "questions.jsonl").read_text().splitlines()[:5]:
        row = json.loads(line)
        path = folder / "videos" / row["video"]
        ((start, end),) = row["evidence"]
        policy = FramePolicy(count=25, size=32)
        seen = read_frames(Clip("x", 0.0, 25.0, path), policy)
        usual = np.median(seen.pixels, axis=0)
        other = np.abs(seen.pixels.astype(float) - usual).mean(axis=(1, 2, 3)) > 20
        assert [start <= second < end for second in seen.frame_seconds] == other.tolist()


def test_the_same_command_again_makes_nothing_anew_and_other_settings_are_refused(folder: Path) -> None:
    videos = sorted((folder / "videos").iterdir())
    before = [path.stat().st_mtime_ns for path in videos]
    places = folder.parent / "talk.mp4", folder.parent / "match.mp4"
    assert longvid("needle", *places, "-o", folder).returncode == 0
    assert [path.stat().st_mtime_ns for path in videos] == before
    assert_one_line(longvid("needle", *places, "-o", folder, "--fps", "8"), "choose another --out")


def test_what_can_hold_no_needles_is_refused_in_a_line(tmp_path: Path) -> None:
    short = write_video(tmp_path / "short.mp4", 9)
    assert_one_line(longvid("needle", short, "-o", tmp_path / "a"), f"error: {short}: ", "at least 20 s")
    assert_one_line(longvid("needle", tmp_path / "none.mp4", "-o", tmp_path / "b"), "there is no video")
    (tmp_path / "more").mkdir()
    write_video(tmp_path / "more" / "short.mp4", 9)
    assert_one_line(longvid("needle", short, tmp_path / "more", "-o", tmp_path / "c"), "have the same name")


def test_a_cell_has_its_figure_interval_and_count_and_columns_stand_by_length() -> None:
    labels = {
        f"{depth}{minutes}{n}": {DEPTH: depth, LENGTH: f"{minutes} min"}
        for depth in ("80–100 %", "0–20 %")
        for minutes in (10, 2)
        for n in range(12)
    }
    values = {key: float(int(key.rpartition("%")[2][-1]) % 2) for key in labels}
    samples = {key: Sample(id=key, cluster=key) for key in labels}
    grid = depth_grid(ItemFigures("accuracy", values, True), samples, labels)
    assert grid is not None
    assert (grid.rows, grid.columns) == (("0–20 %", "80–100 %"), ("2 min", "10 min"))
    drawn = grid_rows(grid, PERCENT)
    assert [name for name, _ in drawn] == ["0–20 %", "80–100 %"]
    cells = [cell for _, line in drawn for cell in line if cell is not None]
    assert [(cell.figure, cell.count, cell.shade) for cell in cells] == [("50.0 %", "n = 12", 5)] * 4
    assert all("–" in cell.interval for cell in cells)
    assert depth_grid(ItemFigures("accuracy", values, True), samples, {}) is None
