"""`longvid caption` and `-M captioner=`: one artefact, resumable, every bad video by name."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copy

import pytest

from baselines.captions import load_captions
from tasks.task import Clip
from tests.encoders.coca.small import write_coca
from tests.encoders.v2t.files import write_all
from tests.evals.conftest import longvid


@pytest.fixture(scope="module")
def coca_name(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_coca(tmp_path_factory.mktemp("weights") / "coca", seed=5)


@pytest.fixture
def videos(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGVID_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "videos"
    folder.mkdir()
    natural = shared_data / "videos" / "natural"
    for name in ("flipping_a_pancake_10s.mkv", "nasa_13s.mp4"):
        copy(natural / name, folder / name)
    return folder


def caption(videos: Path, coca: str, out: Path, *more: str) -> list[str]:
    options = ["-M", f"name={coca}", "-M", "dtype=float32", "-M", "max_length=8"]
    return ["caption", str(videos), "-m", "coca", *options, "-o", str(out), *more]


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_folder_becomes_one_file_that_the_aggregator_reads(videos: Path, coca_name: str, tmp_path: Path) -> None:
    out = tmp_path / "captions.jsonl"
    done = longvid(*caption(videos, coca_name, out, "--cut", "uniform:4"))
    assert done.returncode == 0, done.stderr
    rows = rows_of(out)
    assert [row["start"] for row in rows if row["video"] == "nasa_13s.mp4"] == [0, 4, 8, 12]
    for row in rows:
        assert {"end", "text", "captioner", "captioner_sha256", "prompt_sha256", "cut", "seconds", "tokens"} <= set(row)
        assert row["cut"] == "uniform 4 s"
    file = load_captions(out)
    assert file.captioner == f"coca:{coca_name}"
    assert len(file.of(Clip("nasa_13s.mp4", 0.0, 13.0))) == 4


def test_a_bad_video_is_named_the_rest_is_written_and_a_second_run_captions_nothing_again(
    videos: Path, coca_name: str, tmp_path: Path
) -> None:
    (videos / "broken.mp4").write_bytes(b"")
    out = tmp_path / "captions.jsonl"
    done = longvid(*caption(videos, coca_name, out))
    assert done.returncode == 1
    assert "broken.mp4" in done.stderr
    assert {row["video"] for row in rows_of(out)} == {"flipping_a_pancake_10s.mkv", "nasa_13s.mp4"}
    cached = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "captions").iterdir()}
    again = tmp_path / "again.jsonl"
    longvid(*caption(videos, coca_name, again))
    assert again.read_text() == out.read_text()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "captions").iterdir()} == cached


def test_shots_are_segments_too(videos: Path, coca_name: str, tmp_path: Path) -> None:
    pytest.importorskip("scenedetect")
    out = tmp_path / "captions.jsonl"
    done = longvid(*caption(videos, coca_name, out, "--cut", "shots"))
    assert done.returncode == 0, done.stderr
    starts = [round(float(str(row["start"])), 1) for row in rows_of(out) if row["video"] == "nasa_13s.mp4"]
    assert starts == [0.0, 5.1, 8.1]


def test_any_captioner_serves_such_as_video_to_text(videos: Path, tmp_path: Path) -> None:
    weights = write_all(tmp_path)
    out = tmp_path / "captions.jsonl"
    options = ["-M", f"weights={weights}", "-M", "dtype=float32", "-M", "frames=4"]
    done = longvid("caption", videos, "-m", "v2t", *options, "-o", out, "--max-tokens", "6", "--cut", "whole")
    assert done.returncode == 0, done.stderr
    rows = rows_of(out)
    assert [(row["video"], row["frames"]) for row in rows] == [("flipping_a_pancake_10s.mkv", 4), ("nasa_13s.mp4", 4)]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--cut", "every:3"), "is neither a rule nor a file"),
        (("--prompt", "nonsense"), "no prompt 'nonsense'"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(
    videos: Path, coca_name: str, tmp_path: Path, more: tuple[str, str], said: str
) -> None:
    done = longvid(*caption(videos, coca_name, tmp_path / "captions.jsonl", *more))
    assert done.returncode == 2
    assert said in done.stderr


def test_nothing_is_overwritten(videos: Path, coca_name: str, tmp_path: Path) -> None:
    out = tmp_path / "captions.jsonl"
    out.write_text("mine")
    done = longvid(*caption(videos, coca_name, out))
    assert (done.returncode, out.read_text()) == (2, "mine")


def test_a_model_that_writes_nothing_is_refused(videos: Path, tmp_path: Path) -> None:
    done = longvid("caption", str(videos), "-m", "chance", "-o", str(tmp_path / "captions.jsonl"))
    assert done.returncode == 2
    assert "'chance' is no captioner" in done.stderr
    assert "v2t" not in done.stderr
