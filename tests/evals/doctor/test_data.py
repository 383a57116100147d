"""Data are counted by loading them; videos are counted, sampled and weighed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.doctor import examine
from evals.doctor.examine import Check, data_checks, video_check
from tasks.registry import benchmarks

EGOSCHEMA = benchmarks().entries["egoschema"]


def check_of(what: str, folder: Path) -> Check:
    return next(check for check in data_checks(folder) if check.what == what)


def test_real_data_are_counted_by_loading_them(shared_data: Path) -> None:
    check = check_of("egoschema", shared_data)
    assert check.ok
    assert "egoschema@500: 500 items; egoschema@5031: 5031 items" in check.found


def test_every_benchmark_is_looked_at_and_each_folder_of_videos_once(shared_data: Path) -> None:
    names = [check.what for check in data_checks(shared_data)]
    assert set(benchmarks().entries) <= set(names)
    assert names.count("youcook2 videos") == 1


def test_missing_data_are_no_fault_and_say_what_to_do(tmp_path: Path) -> None:
    check = check_of("egoschema", tmp_path)
    assert (check.what, check.ok, check.optional) == ("egoschema", False, True)
    assert check.found == "not here: longvid prepare egoschema"


def test_damaged_data_are_found_out(tmp_path: Path) -> None:
    (tmp_path / "egoschema").mkdir()
    (tmp_path / "egoschema" / "questions.json").write_text("[")
    check = check_of("egoschema", tmp_path)
    assert not check.ok
    assert "questions.json is not valid JSON" in check.found


def test_videos_are_found_counted_and_decoded(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "egoschema"
    (folder / "videos").mkdir(parents=True)
    for path in (shared_data / "egoschema").iterdir():
        (folder / path.name).symlink_to(path)
    ids = list(json.loads((folder / "subset_answers.json").read_text()))
    for key, video in zip(ids, ("natural/bikes_10s.mp4", "broken/corrupted_midstream.mp4"), strict=False):
        (folder / "videos" / f"{key}.mp4").symlink_to(shared_data / "videos" / video)
    check = check_of("egoschema videos", tmp_path)
    assert not check.ok
    assert check.found.startswith("2 of 5031, ")
    assert "1 of 2 tried decode" in check.found
    assert ids[1] in check.found


def test_the_room_for_missing_videos_is_estimated_from_those_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine, "ask", lambda *arguments: dict.fromkeys(arguments[1:]))
    (tmp_path / "a.mp4").write_bytes(b"x" * 1_000)
    check = video_check(EGOSCHEMA, tmp_path, [tmp_path / "a.mp4"], 10**15, 3)
    assert "NOT ENOUGH" in check.found
    assert check.ok
    assert "the others" not in video_check(EGOSCHEMA, tmp_path, [tmp_path / "a.mp4"], 1, 3).found


def test_without_videos_the_published_size_stands_in(tmp_path: Path) -> None:
    check = video_check(EGOSCHEMA, tmp_path, [], 5031, 3)
    assert not check.ok
    assert "0 of 5031; the others need about 100 GB" in check.found


def test_a_decoder_that_gives_no_answer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "ask", lambda *arguments: "no answer within 120 s")
    (tmp_path / "a.mp4").write_bytes(b"x")
    check = video_check(EGOSCHEMA, tmp_path, [tmp_path / "a.mp4"], 1, 3)
    assert not check.ok
    assert "none could be tried: no answer within 120 s" in check.found
