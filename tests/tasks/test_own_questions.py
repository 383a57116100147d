"""Questions of one's own: read strictly, named by their content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import DataError
from tasks.folder import load_own_questions
from tasks.multiple_choice import MultipleChoiceTask

ROW: dict[str, Any] = {"video": "a.mp4", "question": "What?", "options": ["This", "That"], "answer": 1}


def load(folder: Path, *rows: dict[str, Any] | str) -> MultipleChoiceTask:
    (folder / "a.mp4").touch()
    file = folder / "questions.jsonl"
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return load_own_questions(file, folder, lambda path: 12.0)


def test_a_question_is_about_the_whole_video_unless_it_says_otherwise(tmp_path: Path) -> None:
    whole, part = load(tmp_path, ROW, {**ROW, "start": 2, "end": 5, "id": "part"}).items()
    assert (whole.id, whole.clip.start, whole.clip.end, whole.clip.path) == ("q1", 0.0, 12.0, tmp_path / "a.mp4")
    assert (part.id, part.clip.start, part.clip.end, part.answer) == ("part", 2.0, 5.0, 1)
    assert whole.cluster == part.cluster == "a.mp4"


def test_a_video_that_is_not_there_needs_the_questions_end(tmp_path: Path) -> None:
    (item,) = load(tmp_path, {**ROW, "video": "b.mp4", "end": 9}).items()
    assert (item.clip.path, item.clip.duration) == (None, 9.0)
    with pytest.raises(DataError, match=r"line 1: there is no video .*b\.mp4; .* give the question's end"):
        load(tmp_path, {**ROW, "video": "b.mp4"})


def test_the_tasks_name_changes_with_the_questions(tmp_path: Path) -> None:
    one, same, other = (load(tmp_path, row).info for row in (ROW, ROW, {**ROW, "answer": 0}))
    assert one.name == same.name != other.name
    assert (one.name[:4], one.name[-2:], one.chance) == ("own-", "@1", 0.5)


def test_one_question_may_have_more_options_than_another(tmp_path: Path) -> None:
    task = load(tmp_path, ROW, {**ROW, "options": ["This", "That", "Both", "None"]})
    assert [len(item.options) for item in task.items()] == [2, 4]
    assert task.info.chance == pytest.approx((1 / 2 + 1 / 4) / 2)


def test_fields_of_others_may_stand_beside_ours_in_a_file_of_questions(tmp_path: Path) -> None:
    (item,) = load(tmp_path, {**ROW, "annotator": 7}).items()
    assert item.answer == 1


def test_answers_may_be_unknown(tmp_path: Path) -> None:
    (item,) = load(tmp_path, {key: value for key, value in ROW.items() if key != "answer"}).items()
    assert item.answer is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "line 2 is not valid JSON .*column 2"),
        ("[]", r"line 2 must be an object, not \[\]"),
        ({**ROW, "options": "This"}, "line 2: field 'options' must be a list, not \"This\""),
        ({**ROW, "options": ["This"], "answer": 0}, "line 2: field 'options' .*at least 2 items"),
        ({**ROW, "answer": 2}, "line 2: answer 2 is not the index of an option, 0 to 1"),
        ({**ROW, "start": 5, "end": 5}, "line 2: the clip must begin before it ends"),
        ({**ROW, "id": "q1"}, "line 2: the id 'q1' is used twice, first in line 1"),
        ({**ROW, "anwser": 1}, "line 2: unknown field 'anwser', did you mean 'answer'"),
        ({**ROW, "answer": "Neither"}, "line 2: field 'answer' must be an option's index"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: dict[str, Any] | str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, ROW, bad)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"options": {"A": "This", "B": "That"}}, "options"),
        ({"options": ["This", None]}, "options, entry 2"),
        ({"options": ["This", ["That"]]}, "options, entry 2"),
        ({"options": None}, "options"),
        ({"question": None}, "question"),
        ({"question": ["What?"]}, "question"),
        ({"answer": 1.9}, "answer"),
        ({"answer": 1.0}, "answer"),
        ({"answer": True}, "answer"),
        ({"answer": "1"}, "answer"),
        ({"answer": [1]}, "answer"),
        ({"id": None}, "id"),
        ({"id": 1.5}, "id"),
        ({"cluster": False}, "cluster"),
        ({"video": ""}, "video"),
        ({"video": 7}, "video"),
        ({"start": True}, "start"),
        ({"start": "0"}, "start"),
        ({"start": -1}, "start"),
        ({"end": None}, "end"),
        ({"end": 1e300}, "end"),
    ],
)
def test_nothing_in_a_row_is_coerced(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    with pytest.raises(DataError, match=rf"questions\.jsonl, line 2: field '{field}' (must be|should)"):
        load(tmp_path, ROW, {**ROW, **change})


def test_ids_may_be_whole_numbers_and_are_never_taken_twice(tmp_path: Path) -> None:
    assert [item.id for item in load(tmp_path, {**ROW, "id": 7}, "", ROW).items()] == ["7", "q3"]
    with pytest.raises(DataError, match="line 2: the id '7' is used twice, first in line 1"):
        load(tmp_path, {**ROW, "id": 7}, {**ROW, "id": "7"})


def test_a_question_with_half_a_character_is_asked(tmp_path: Path) -> None:
    task = load(tmp_path, {**ROW, "question": "W \ud83d", "options": ["a\u2028b", "c\x85d"]})
    (item,) = task.items()
    assert (item.question, item.options) == ("W \ufffd", ("a\u2028b", "c\x85d"))


@pytest.mark.parametrize("name", ["x" * 300 + ".mp4", "a\x00.mp4", "\udcff.mp4", "."])
def test_a_name_that_can_be_no_files_is_a_missing_video(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="line 1: there is no video"):
        load(tmp_path, {**ROW, "video": name})


def test_each_video_is_opened_once_however_many_questions_are_about_it(tmp_path: Path) -> None:
    opened: list[Path] = []

    def seconds_of(path: Path) -> float:
        opened.append(path)
        return 12.0

    (tmp_path / "a.mp4").touch()
    (tmp_path / "q.jsonl").write_text(f"{json.dumps(ROW)}\n" * 3)
    load_own_questions(tmp_path / "q.jsonl", tmp_path, seconds_of)
    assert opened == [tmp_path / "a.mp4"]


@pytest.mark.parametrize("name", ["dupkey", "float", "inf", "infansw", "optdict", "optnull", "qnull"])
def test_the_rows_that_were_coerced_are_refused_by_line(shared_data: Path, name: str) -> None:
    path = shared_data.parent / "cases" / "coerced-rows" / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"no cases at {path}")
    with pytest.raises(DataError, match=rf"{name}\.jsonl, line 1"):
        load_own_questions(path, path.parent, lambda path: 1.0)


@pytest.mark.parametrize("name", ["line-separators/u2028", "byte-order-mark/bom", "not-unicode/sur"])
def test_the_rows_that_were_not_read_are(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data.parent / "cases" / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"no cases at {path}")
    (tmp_path / "plain.mp4").touch()
    (item,) = load_own_questions(path, tmp_path, lambda path: 1.0).items()
    assert len(item.options) == 2


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        load(tmp_path, "")


@pytest.mark.parametrize("route", ["letter-logprob", "generate+parse"])
def test_more_options_than_letters_are_refused_by_line_for_a_route_of_letters(tmp_path: Path, route: str) -> None:
    many = {**ROW, "options": [f"number {i}" for i in range(27)]}
    file = tmp_path / "questions.jsonl"
    task = load(tmp_path, many)
    assert len(task.items()[0].options) == 27
    with pytest.raises(DataError, match=r"line 1: 27 options, but letters name at most 26; use .*options-loglik"):
        load_own_questions(file, tmp_path, lambda path: 12.0, route)
