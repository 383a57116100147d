"""MLVU dev: M-Avg over tasks, answers that are none of the candidates, and the two free-text tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from baselines.floors import choice_floors
from tasks.captioning import CaptioningTask
from tasks.errors import DataError
from tasks.mlvu import CHOICES, load_generation, load_mlvu
from tasks.model import TextReply, TextRequest
from tasks.multiple_choice import MultipleChoiceTask
from tasks.task import Prediction

# protocols: what the longest option scores, in percent.
LONGEST = {"needle": 51.5, "plotQA": 40.6, "topic_reasoning": 36.4}


@pytest.fixture(scope="module")
def dev(shared_data: Path) -> MultipleChoiceTask:
    return load_mlvu(shared_data / "mlvu")


def test_dev_has_the_published_questions_of_seven_tasks(dev: MultipleChoiceTask) -> None:
    assert len(dev.items()) == 2175
    assert Counter(item.labels["task"] for item in dev.items()) == {
        "plotQA": 539,
        "needle": 355,
        "ego": 352,
        "count": 206,
        "order": 259,
        "anomaly_reco": 200,
        "topic_reasoning": 264,
    }
    assert {len(item.options) for item in dev.items()} == {4}


def test_the_primary_figure_is_the_mean_over_tasks_not_over_questions(dev: MultipleChoiceTask) -> None:
    scores = []
    for item in dev.items():
        answer = item.answer if item.labels["task"] == "needle" else 9
        scores.append(dev.score(item, Prediction(item.id, answer, str(answer), "given")))
    figures = {metric.name: metric for metric in dev.summarise(scores, np.random.default_rng(0)).metrics}
    assert figures["accuracy_by_task"].primary
    assert figures["accuracy_by_task"].value == pytest.approx(353 / 355 / 7)
    assert figures["accuracy"].value == pytest.approx(353 / 2175)


def test_nobody_is_right_where_the_answer_is_none_of_the_candidates(dev: MultipleChoiceTask) -> None:
    lost = [item for item in dev.items() if item.answer == -1]
    assert len(lost) == 2
    for choice in range(4):
        assert dev.score(lost[0], Prediction(lost[0].id, choice)).values["accuracy"] == 0.0


def test_the_longest_option_scores_what_was_published(dev: MultipleChoiceTask) -> None:
    floors = {floor.name: floor.metric for floor in choice_floors(dev, dev.items(), 0)}
    assert round(100 * (floors["longest option"].value or 0), 1) == 32.1
    assert floors["longest option"].name == "accuracy_by_task"
    for task, expected in LONGEST.items():
        items = [item for item in dev.items() if item.labels["task"] == task]
        found = next(floor for floor in choice_floors(dev, items, 0) if floor.name == "longest option")
        assert 100 * (found.metric.value or 0) == pytest.approx(expected, abs=0.051), task


def test_the_pool_of_500_has_all_tasks(shared_data: Path) -> None:
    sample = load_mlvu(shared_data / "mlvu", "dev-500")
    assert len(sample.items()) == 500
    assert len({item.labels["task"] for item in sample.items()}) == 7


def test_files_are_read_under_the_hubs_own_names_too(
    shared_data: Path, tmp_path: Path, dev: MultipleChoiceTask
) -> None:
    for path in (shared_data / "mlvu").iterdir():
        (tmp_path / path.name.removeprefix("mlvu_")).symlink_to(path)
    assert load_mlvu(tmp_path).info == dev.info


def test_a_videos_own_length_counts_where_the_file_is_wrong(shared_data: Path, tmp_path: Path) -> None:
    for path in (shared_data / "mlvu").iterdir():
        (tmp_path / path.name).symlink_to(path)
    told = load_mlvu(tmp_path).items()
    wrong = max(told, key=lambda item: item.clip.duration)
    assert wrong.clip.duration > 32_000
    folder = tmp_path / "videos" / CHOICES[wrong.labels["task"]]
    folder.mkdir(parents=True)
    (folder / f"{wrong.clip.video_id}.mp4").touch()
    found = {item.id: item.clip for item in load_mlvu(tmp_path, "dev", lambda _: 542.5).items()}
    assert (found[wrong.id].end, found[wrong.id].path is not None) == (542.5, True)


def test_a_missing_task_is_named(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "mlvu_1_plotQA.json").symlink_to(shared_data / "mlvu" / "mlvu_1_plotQA.json")
    with pytest.raises(DataError, match=r"mlvu_2_needle\.json is missing"):
        load_mlvu(tmp_path)


@pytest.mark.parametrize(("pool", "count"), [("sub_scene", 201), ("summary", 217)])
def test_a_free_text_task_asks_each_its_own_question(shared_data: Path, pool: str, count: int) -> None:
    task = load_generation(shared_data / "mlvu", pool)
    assert isinstance(task, CaptioningTask)
    assert len(task.items()) == count

    class Echo:
        def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
            return [TextReply(request.prompt, finished=True) for request in requests]

    item = task.items()[7]
    (made,) = task.predict(Echo(), [item])
    assert item.question
    assert made.raw.endswith(f"Question: {item.question}")
