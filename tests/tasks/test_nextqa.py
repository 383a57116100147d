"""NExT-QA and IntentQA from their authors' files, which differ in a column's name."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tasks.errors import DataError
from tasks.family import PredictionsFile
from tasks.intentqa import load_intentqa
from tasks.multiple_choice import MultipleChoiceTask, read_predictions
from tasks.nextqa import MAP, load_nextqa

HEADER = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"
ROW = "42,300,640,480,why did the dog bark,1,3,TP,to eat,to warn,to play,to sleep,to run"
# protocols: what the published predictions score, by the authors' own groups.
HGA = {
    ("question group", "C"): 46.26,
    ("question group", "T"): 50.74,
    ("question group", "D"): 59.33,
    ("question type", "CW"): 46.99,
    ("question type", "CH"): 44.22,
    ("question type", "TN"): 49.53,
    ("question type", "TC"): 52.49,
    ("question type", "DC"): 44.07,
    ("question type", "DL"): 72.54,
    ("question type", "DO"): 55.41,
}


def write_test(folder: Path, *rows: str) -> Path:
    """The pool whose items are not pinned: its file is the user's to get."""
    (folder / "test.csv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def val(shared_data: Path) -> MultipleChoiceTask:
    return load_nextqa(shared_data / "nextqa")


def test_val_has_the_published_questions_and_videos(val: MultipleChoiceTask) -> None:
    items = val.items()
    assert (len(items), len({item.cluster for item in items})) == (4996, 570)
    assert val.info.chance == pytest.approx(0.2)
    assert items[0].id == "4010069381_6"
    assert items[0].options[0] == "roll the handle"


def test_previous_counts_with_next_as_the_authors_have_it(val: MultipleChoiceTask) -> None:
    assert Counter(item.labels["question type"] for item in val.items())["TN"] == 895 + 54
    assert Counter(item.labels["question group"] for item in val.items()) == {"C": 2607, "T": 1612, "D": 777}


def test_the_published_predictions_score_what_they_must_by_group_and_type(
    val: MultipleChoiceTask, shared_data: Path
) -> None:
    file = PredictionsFile(shared_data / "predictions" / "nextqa_hga_val.json")
    found = read_predictions(file, val, val)
    assert any("'prediction'" in note for note in found.notes)
    right = {item.id: float(found.answers[item.id].answer == item.answer) for item in val.items()}  # type: ignore[union-attr]
    assert round(100 * sum(right.values()) / len(right), 2) == 49.74
    for (kind, label), expected in HGA.items():
        ids = [item.id for item in val.items() if item.labels[kind] == label]
        assert round(100 * sum(right[key] for key in ids) / len(ids), 2) == expected, label


def test_the_pool_of_500_is_a_part_of_val(val: MultipleChoiceTask, shared_data: Path) -> None:
    sample = load_nextqa(shared_data / "nextqa", "val-500")
    assert len(sample.items()) == sample.info.item_count == 500
    assert {item.id for item in sample.items()} < {item.id for item in val.items()}


def test_intentqa_has_the_published_questions_by_type(shared_data: Path) -> None:
    task = load_intentqa(shared_data / "intentqa")
    assert (len(task.items()), len({item.cluster for item in task.items()})) == (2134, 567)
    assert Counter(item.labels["question type"] for item in task.items()) == {"CW": 1250, "CH": 359, "TP&TN": 525}
    assert len(load_intentqa(shared_data / "intentqa", "val").items()) == 2044


def test_a_changed_word_is_not_the_benchmark(shared_data: Path, tmp_path: Path) -> None:
    text = (shared_data / "nextqa" / "val.csv").read_text()
    (tmp_path / "val.csv").write_text(text.replace("roll the handle", "roll a handle", 1))
    with pytest.raises(DataError, match=r"not the items of nextqa@val .*nextqa prepare"):
        load_nextqa(tmp_path)


def test_a_video_is_found_by_its_id_and_where_the_authors_archive_has_it(tmp_path: Path) -> None:
    write_test(tmp_path, ROW, ROW.replace("42", "43"), ROW.replace("42", "44"))
    (tmp_path / MAP).write_text('{"42": "1164/42", "43": "1000/43"}')
    for name in ("1164/42.mp4", "44.mkv"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).touch()
    paths = [item.clip.path for item in load_nextqa(tmp_path, "test").items()]
    assert paths == [tmp_path / "videos" / "1164" / "42.mp4", None, tmp_path / "videos" / "44.mkv"]


def test_a_clip_ends_with_its_video_and_nobody_knows_where_without(tmp_path: Path) -> None:
    write_test(tmp_path, ROW, ROW.replace("42", "43"))
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "43.mp4").touch()
    clips = [item.clip for item in load_nextqa(tmp_path, "test", lambda _: 12.5).items()]
    assert [clip.end for clip in clips] == [float("inf"), 12.5]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (ROW.replace(",1,3,", ",5,3,"), r"line 2: field 'answer' must be an option's index, 0 to 4, not 5"),
        (ROW.replace(",1,3,", ",B,3,"), r"line 2: field 'answer' must be .* not \"B\""),
        (ROW.replace("TP", "XX"), r"line 2: field 'type' must be one of CW, .* not \"XX\""),
        (ROW.rpartition(",")[0], r"line 2 has 12 cells, the header 13"),
    ],
)
def test_a_faulty_line_is_named_with_its_field(tmp_path: Path, row: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        load_nextqa(write_test(tmp_path, row), "test")


def test_a_repeated_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the id '42_3' is used twice"):
        load_nextqa(write_test(tmp_path, ROW, ROW), "test")


def test_a_missing_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"val\.csv is missing: run 'longvid nextqa prepare'"):
        load_nextqa(tmp_path)


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ({"42_3": {"prediction": 4, "answer": 1}, "43_3": {"prediction": 1, "answer": 1}}, [4, 1]),
        ({"42_3": {"pred": 4, "prediction": 1}, "43_3": {"pred": 0, "prediction": 1}}, [4, 0]),
    ],
)
def test_of_two_answer_fields_the_one_that_is_always_right_is_the_key(
    tmp_path: Path, rows: dict[str, dict[str, int]], chosen: list[int]
) -> None:
    task = load_nextqa(write_test(tmp_path, ROW, ROW.replace("42", "43")), "test")
    (tmp_path / "p.json").write_text(json.dumps(rows))
    found = read_predictions(PredictionsFile(tmp_path / "p.json"), task, task)
    assert [answer.answer for answer in found.answers.values() if not isinstance(answer, str)] == chosen


@pytest.mark.parametrize(
    "rows",
    [
        # Neither is always right, so that either may be the model's.
        {"42_3": {"prediction": 4, "answer": 1}, "43_3": {"prediction": 1, "answer": 0}},
        # Of three, two may be models'.
        {"42_3": {"prediction": 4, "answer": 1, "pred": 2}, "43_3": {"prediction": 1, "answer": 1, "pred": 1}},
    ],
)
def test_answer_fields_of_which_no_one_knows_whose_they_are_are_refused(
    tmp_path: Path, rows: dict[str, dict[str, int]]
) -> None:
    task = load_nextqa(write_test(tmp_path, ROW, ROW.replace("42", "43")), "test")
    (tmp_path / "p.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match="answer fields differ"):
        read_predictions(PredictionsFile(tmp_path / "p.json"), task, task)
