"""Questions of one's own: read strictly, named by their content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import DataError
from tasks.multiple_choice import MultipleChoiceTask
from tasks.own_questions import load_own_questions

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


def test_answers_may_be_unknown(tmp_path: Path) -> None:
    (item,) = load(tmp_path, {key: value for key, value in ROW.items() if key != "answer"}).items()
    assert item.answer is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "line 2 must hold video, question, options and answer"),
        ("[]", "line 2 must hold video"),
        ({**ROW, "options": "This"}, "line 2: options must be a list"),
        ({**ROW, "options": ["This"], "answer": 0}, "line 2: options must be a list of at least two"),
        ({**ROW, "answer": 2}, "line 2: answer 2 is not the index of an option, 0 to 1"),
        ({**ROW, "start": 5, "end": 5}, "line 2: the clip must begin before it ends"),
        ({**ROW, "id": "q1"}, "id 'q1' stands there twice"),
        ({**ROW, "options": ["This", "That", "Both"]}, r"as many options as the others, not \[2, 3\]"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: dict[str, Any] | str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, ROW, bad)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        load(tmp_path, "")


@pytest.mark.parametrize("route", ["letter-logprob", "generate+parse"])
def test_more_options_than_letters_are_refused_by_line_for_a_route_of_letters(tmp_path: Path, route: str) -> None:
    many = {**ROW, "options": [f"number {i}" for i in range(27)]}
    file = tmp_path / "questions.jsonl"
    task = load(tmp_path, many)
    assert len(task.items()[0].options) == 27
    with pytest.raises(DataError, match=r"line 1: 27 options, but letters name at most 26; take .*options-loglik"):
        load_own_questions(file, tmp_path, lambda path: 12.0, route)
