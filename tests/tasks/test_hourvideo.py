"""HourVideo from a small file of its shape: questions by video, some about what comes next, some with pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.errors import DataError
from tasks.hourvideo import load_hourvideo


def question(qid: str, **change: object) -> dict[str, object]:
    """A question as the authors' file has it."""
    return {
        "qid": qid,
        "task": "perception/tracking",
        "question": "Which rooms were entered?",
        **{f"answer_{place}": f"room {place}" for place in range(1, 6)},
        "correct_answer_label": "C",
        "relevant_timestamps": "00:10:00 - 00:11:00",
        **change,
    }


def write(folder: Path, **videos: list[dict[str, object]]) -> Path:
    content = {
        uid: {"video_metadata": {"video_uid": uid, "duration_in_seconds": 2700.0}, "benchmark_dataset": asked}
        for uid, asked in videos.items()
    }
    (folder / "dev_v1.0.json").write_text(json.dumps(content))
    return folder


def test_questions_of_all_videos_are_labelled_by_task(tmp_path: Path) -> None:
    task = load_hourvideo(write(tmp_path, a=[question("a1")], b=[question("b1"), question("b2")]))
    assert [(item.id, item.cluster, item.answer) for item in task.items()] == [
        ("a1", "a", 2),
        ("b1", "b", 2),
        ("b2", "b", 2),
    ]
    assert task.items()[0].labels == {"task": "perception/tracking", "task group": "perception"}
    assert task.items()[0].clip.end == 2700.0


def test_what_comes_next_is_asked_of_the_video_up_to_there(tmp_path: Path) -> None:
    asked = question("a1", task="reasoning/predictive", relevant_timestamps="00:20:30 - 00:21:00")
    assert load_hourvideo(write(tmp_path, a=[asked])).items()[0].clip.end == 1230.0


def test_questions_whose_options_are_pictures_are_left_out(tmp_path: Path) -> None:
    pictures = question("a2", **{f"answer_{place}": f"images/{place}.jpg" for place in range(1, 6)})
    assert [item.id for item in load_hourvideo(write(tmp_path, a=[question("a1"), pictures])).items()] == ["a1"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"correct_answer_label": "F"}, r"question 'a1': field 'correct_answer_label' must be a letter A to E"),
        ({"answer_3": None}, r"field 'a, benchmark_dataset, entry 1, answer_3' must be a text, not null"),
        (
            {"task": "reasoning/predictive", "relevant_timestamps": "soon"},
            r"'relevant_timestamps' must begin with h:mm:ss",
        ),
    ],
)
def test_a_faulty_question_is_named_with_its_field(tmp_path: Path, change: dict[str, object], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        load_hourvideo(write(tmp_path, a=[question("a1", **change)]))
