"""Video-MME from small tables of its shape: subtitles, and the figure of its own scorer beside the strict one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import DataError, ModelError
from tasks.model import TextReply, TextRequest
from tasks.routes import Route
from tasks.videomme import FILES, SUBTITLE_FILES, first_capital, load_videomme


def row(number: int, **change: object) -> dict[str, object]:
    """A row as the hub has it."""
    return {
        "video_id": f"{number:03d}",
        "duration": ("short", "medium", "long")[number % 3],
        "domain": "Knowledge",
        "sub_category": "Astronomy",
        "url": f"https://www.youtube.com/watch?v=v{number}",
        "videoID": f"v{number}",
        "question_id": f"{number:03d}-1",
        "task_type": "Counting Problem",
        "question": "How many moons are shown?",
        "options": ["A. One.", "B. Two.", "C. Three.", "D. Bare."],
        "answer": "B",
        **change,
    }


def write(folder: Path, *rows: dict[str, object]) -> Path:
    (folder / "videomme.json").write_text(json.dumps(list(rows)))
    return folder


class Writer:
    """Replies as told, by item id."""

    route = Route.GENERATE

    def __init__(self, **replies: str) -> None:
        self.replies = replies
        self.asked: list[str] = []

    def generate(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        self.asked += [request.prompt for request in requests]
        return [TextReply(self.replies[f"q{request.item_id[:3]}"], finished=True) for request in requests]


def test_parquet_and_json_are_the_same_questions(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet is read with pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [row(1), row(2)]
    (tmp_path / "videomme").mkdir()
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / FILES[1])
    (tmp_path / "other").mkdir()
    assert load_videomme(tmp_path).info == load_videomme(write(tmp_path / "other", *rows)).info


def test_the_options_stand_in_the_prompt_under_one_letter_each(tmp_path: Path) -> None:
    task = load_videomme(write(tmp_path, row(1)))
    model = Writer(q001="B")
    task.predict(model, task.items())
    assert task.items()[0].options == ("One.", "Two.", "Three.", "Bare.")
    assert "A. One.\nB. Two." in model.asked[0]


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("The best answer is C. A person says so.", "C"),
        ("A person holds two: B", "A"),  # as the benchmark's scorer has it
        ("Based on the video, C", "B"),
        ("two moons", ""),
    ],
)
def test_the_benchmarks_scorer_takes_the_first_capital(reply: str, letter: str) -> None:
    assert first_capital(reply) == letter


def test_the_other_scorers_figure_stands_beside_the_strict_one_with_the_items_that_differ(tmp_path: Path) -> None:
    task = load_videomme(write(tmp_path, *(row(number) for number in range(1, 5))))
    model = Writer(q001="B", q002="Based on the video, C.", q003="i can not tell", q004="(C)")
    predictions = task.predict(model, task.items())
    scores = [task.score(item, made) for item, made in zip(task.items(), predictions, strict=True)]
    summary = task.summarise(scores, np.random.default_rng(0))
    figures = {metric.name: metric for metric in summary.metrics}
    assert figures["accuracy"].value == 1 / 4
    assert figures["accuracy_videomme_scorer"].value == 2 / 3
    assert figures["accuracy_videomme_scorer"].n == 3
    assert summary.details["videomme_scorer_dropped"] == 1
    assert summary.details["videomme_scorer_differs"] == ["002-1", "003-1"]


def test_subtitles_are_named_in_the_task_with_them_alone(tmp_path: Path) -> None:
    write(tmp_path, row(1), row(2))
    (tmp_path / "subtitle").mkdir()
    (tmp_path / "subtitle" / "v1.srt").touch()
    assert [item.clip.subtitles for item in load_videomme(tmp_path).items()] == [None, None]
    # One that is missing stays named, so that it is an error and not a video without words.
    spoken = [item.clip.subtitles for item in load_videomme(tmp_path, "test-subtitles").items()]
    assert spoken == [tmp_path / "subtitle" / "v1.srt", tmp_path / "subtitle" / "v2.srt"]


def test_with_all_published_subtitles_there_a_video_without_has_none(tmp_path: Path) -> None:
    write(tmp_path, row(1))
    (tmp_path / "subtitle").mkdir()
    for number in range(SUBTITLE_FILES):
        (tmp_path / "subtitle" / f"x{number}.srt").touch()
    assert load_videomme(tmp_path, "test-subtitles").items()[0].clip.subtitles is None


def test_a_model_that_reads_no_subtitles_is_refused_where_they_are_given(tmp_path: Path) -> None:
    write(tmp_path, row(1))
    load_videomme(tmp_path).check(Writer())
    task = load_videomme(tmp_path, "test-subtitles")
    with pytest.raises(ModelError, match="with subtitles, and the model does not read them"):
        task.check(Writer())
    reader = Writer()
    reader.reads_subtitles = True  # type: ignore[attr-defined]
    task.check(reader)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"answer": "E"}, r"entry 1: field 'answer' must be a letter A to D, not \"E\""),
        ({"options": ["A. One.", "C. Two."]}, r"entry 1: field 'options' must have one that begins with 'B\. '"),
        ({"duration": 3}, r"entry 1: field 'duration' must be a text, not 3"),
    ],
)
def test_a_faulty_row_is_named_with_its_field(tmp_path: Path, change: dict[str, object], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        load_videomme(write(tmp_path, row(1, **change)))


def test_what_is_no_parquet_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet is read with pyarrow")
    (tmp_path / FILES[0]).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match=r"test-00000-of-00001\.parquet is not a Parquet file"):
        load_videomme(tmp_path)
