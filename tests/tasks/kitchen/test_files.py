"""A split on disk: in the real benchmarks' formats, made once, and put right where it was damaged."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from tasks.digests import file_sha256
from tasks.errors import DataError
from tasks.kitchen.benchmark import ALL
from tasks.kitchen.files import generate, generate_5min, make_videos, write_split
from tasks.kitchen.plan import make_plan
from tasks.kitchen.texts import paragraph, steps
from tasks.youcook2 import of_subset
from tasks.youcook2_annotations import read_annotations


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "kitchen" / "test"
    assert [made.new for made in generate(folder, range(2))] == [True, True]
    return folder


def test_the_annotations_read_as_those_of_youcook2(folder: Path) -> None:
    videos = read_annotations(folder / "annotations.json")
    testing = of_subset(videos, "testing")
    assert len(testing) == len(ALL)
    assert testing[3].paragraph == paragraph(make_plan("test", 3))
    assert testing[3].duration == make_plan("test", 3).duration
    assert {video.recipe_type for video in testing} <= {video.recipe_type for video in of_subset(videos, "training")}


def test_the_questions_have_the_fields_of_egoschemas(folder: Path) -> None:
    questions = json.loads((folder / "questions.json").read_text())
    answers = json.loads((folder / "subset_answers.json").read_text())
    videos = json.loads((folder / "uid_to_video.json").read_text())
    assert len(questions) == len(answers) == len(videos) == 5 * len(ALL)
    for row in questions:
        assert {"q_uid", "question", *(f"option {i}" for i in range(5))} <= set(row)
        assert answers[row["q_uid"]] in range(5)
        assert videos[row["q_uid"]]["starting_sec"] == 0


def test_longer_videos_are_made_as_long_as_their_plans_say(tmp_path: Path) -> None:
    made = next(generate_5min(tmp_path, range(1)))
    with av.open(str(made.path)) as video:
        assert video.duration / av.time_base == 300.0
    assert json.loads((tmp_path / "annotations.json").read_text())["database"][made.path.stem]["duration"] == 300.0


def test_the_sums_are_those_of_the_files(folder: Path) -> None:
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    assert len(lines) == 2
    assert all(file_sha256(folder / name) == digest for digest, name in lines)


def test_what_is_there_is_not_made_again_and_what_is_missing_or_damaged_is(folder: Path) -> None:
    first, second = (made.path for made in generate(folder, range(2)))
    whole = first.read_bytes()
    first.write_bytes(whole[:1000])
    second.unlink()
    assert [made.new for made in generate(folder, range(2))] == [True, True]
    assert first.read_bytes() == whole
    assert [made.new for made in generate(folder, range(2))] == [False, False]


def test_the_videos_asked_for_are_made_wherever_they_stand(tmp_path: Path) -> None:
    assert next(generate(tmp_path, [3])).path.stem == make_plan("test", 3).id


def test_an_interrupted_run_keeps_what_it_finished(folder: Path, tmp_path: Path) -> None:
    running = generate(tmp_path / "split", range(3))
    done = next(running)
    running.close()
    assert done.path.is_file()
    assert [made.new for made in generate(tmp_path / "split", range(2))] == [False, True]


def test_annotations_of_another_world_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "questions.json").write_text("[]")
    with pytest.raises(DataError, match=r"questions\.json belongs to another version of kitchen; move .* away"):
        next(generate(tmp_path, range(1)))
    assert (tmp_path / "questions.json").read_text() == "[]"


def test_a_damaged_list_of_sums_names_the_line(folder: Path, tmp_path: Path) -> None:
    next(generate(tmp_path, range(1)))
    (tmp_path / "SHA256SUMS").write_text("nonsense\n")
    with pytest.raises(DataError, match="SHA256SUMS, line 1"):
        next(generate(tmp_path, range(1)))


@pytest.mark.parametrize("videos", [range(-1, 2), range(99, 101)])
def test_a_video_that_the_split_does_not_have_is_refused(tmp_path: Path, videos: range) -> None:
    with pytest.raises(DataError, match=r"100 videos to make, from 0 on, and none at (-1|100)"):
        next(generate(tmp_path, videos))


def test_videos_of_any_split_are_made_once(tmp_path: Path) -> None:
    plans = [make_plan("train", index) for index in range(2)]
    first = next(make_videos(tmp_path / "train", plans))
    assert (first.path.name, first.new) == (f"{plans[0].id}.mp4", True)
    assert [made.new for made in make_videos(tmp_path / "train", plans)] == [False, True]
    assert sorted(path.stem for path in (tmp_path / "train" / "videos").iterdir()) == [plan.id for plan in plans]


def test_a_splits_annotations_can_be_had_without_its_videos(tmp_path: Path) -> None:
    write_split(tmp_path / "new" / "val.json", "val", 3)
    videos = read_annotations(tmp_path / "new" / "val.json")
    assert [video.id for video in videos] == [make_plan("val", index).id for index in range(3)]
    assert {video.subset for video in videos} == {"validation"}
    assert [step.sentence for step in videos[0].segments] == [step.sentence for step in steps(make_plan("val", 0))]
