"""LongVideoBench from a small file of its shape: 2 to 5 options, subtitles by their own clock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.errors import DataError
from tasks.longvideobench import load_longvideobench


def entry(number: int, options: int = 4, **change: object) -> dict[str, object]:
    """An entry as the authors' file has it."""
    return {
        "id": f"v{number}_0",
        "video_id": f"v{number}",
        "video_path": f"v{number}.mp4",
        "duration": 12.5,
        "duration_group": 15,
        "question": "What is on the table?",
        "candidates": ["a cup", "a plate", "a book", "a lamp", "a cat"][:options],
        "correct_choice": 1,
        "question_category": "S2E",
        "level": "L1-Perception",
        "subtitle_path": f"v{number}_en.json",
        "starting_timestamp_for_subtitles": 30,
        **change,
    }


def write(folder: Path, *entries: dict[str, object]) -> Path:
    (folder / "lvb_val.json").write_text(json.dumps(list(entries)))
    return folder


def test_chance_is_by_question_where_the_number_of_options_differs(tmp_path: Path) -> None:
    task = load_longvideobench(write(tmp_path, entry(1, 2), entry(2, 5)))
    assert task.info.chance == pytest.approx((1 / 2 + 1 / 5) / 2)


def test_questions_are_labelled_by_group_category_and_options(tmp_path: Path) -> None:
    item = load_longvideobench(write(tmp_path, entry(1, 3, duration_group=3600))).items()[0]
    assert item.labels == {"duration group": "3,600 s", "question category": "S2E", "options": "3"}
    assert (item.answer, item.clip.end) == (1, 12.5)


def test_subtitles_keep_their_own_clock_in_the_task_with_them(tmp_path: Path) -> None:
    write(tmp_path, entry(1))
    clip = load_longvideobench(tmp_path, "val-subtitles").items()[0].clip
    assert (clip.subtitles, clip.subtitles_start) == (tmp_path / "subtitles" / "v1_en.json", 30)
    assert load_longvideobench(tmp_path).items()[0].clip.subtitles is None


def test_a_video_is_found_by_its_path(tmp_path: Path) -> None:
    write(tmp_path, entry(1, video_path="other.mp4"))
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "other.mp4").touch()
    assert load_longvideobench(tmp_path).items()[0].clip.path == tmp_path / "videos" / "other.mp4"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"correct_choice": 4}, r"entry 1: field 'correct_choice' must be an option's index, 0 to 3, not 4"),
        ({"candidates": ["one"]}, r"entry 1: field 'candidates' "),
        ({"duration": "12"}, r"entry 1: field 'duration' must be a number"),
    ],
)
def test_a_faulty_entry_is_named_with_its_field(tmp_path: Path, change: dict[str, object], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        load_longvideobench(write(tmp_path, entry(1, **change)))
