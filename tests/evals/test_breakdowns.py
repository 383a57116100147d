"""Breakdowns and per-item figures: from records alone, adding up, small groups marked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evals.figures import SHARE_SEEN, WHOLE, ItemFigures, breakdowns, item_figures, sample_labels
from evals.record import Sample
from evals.store import read_samples
from tasks.labels import LENGTHS, labels_of
from tasks.multiple_choice import MultipleChoiceTask
from tasks.retrieval import PRIMARY, rankings
from tasks.task import FramesSeen, TaskInfo
from tests.evals.conftest import ToyModel, run_toy, toy_task

CHOICES = TaskInfo("toy@2", "multiple-choice", "1", 2, "", "accuracy", 0.2, "video", "none", "none", "none")
RETRIEVAL = replace(CHOICES, family="retrieval", primary_metric=PRIMARY)


def sample(key: str, cluster: str = "v", **fields: object) -> Sample:
    return Sample.model_validate({"id": key, "cluster": cluster, **fields})


def one_breakdown(labels: dict[str, str], values: dict[str, float], clusters: int):  # type: ignore[no-untyped-def]
    samples = {key: sample(key, f"v{place % clusters}") for place, key in enumerate(values)}
    (made,) = breakdowns(ItemFigures("accuracy", values), samples, {k: {"kind": v} for k, v in labels.items()})
    return {group.label: group for group in made.groups}


def test_groups_add_up_to_the_run(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(bad=frozenset({"q03"})), tmp_path)
    samples = read_samples(tmp_path)
    figures = item_figures(task.info, samples, {})
    assert figures is not None
    labels = {key: {"half": "first" if key < "q06" else "second"} for key in samples}
    (made,) = breakdowns(figures, samples, labels)
    assert sum(group.n for group in made.groups) == results.primary.n == 11
    mean = sum(group.n * group.value for group in made.groups) / 11
    assert mean == pytest.approx(results.primary.value)


def test_the_record_has_the_items_labels_failed_ones_too(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(bad=frozenset({"q03"})), tmp_path)
    samples = read_samples(tmp_path)
    assert {key: sample.labels for key, sample in samples.items()} == {i.id: labels_of(i) for i in task.items()}


def test_a_label_that_all_items_share_makes_no_breakdown() -> None:
    samples = {key: sample(key) for key in "ab"}
    figures = ItemFigures("accuracy", {"a": 1.0, "b": 0.0})
    assert breakdowns(figures, samples, {key: {"length": "1–2 min"} for key in "ab"}) == []


def test_a_group_of_few_items_or_few_videos_is_small() -> None:
    values = {str(i): float(i % 2) for i in range(60)}
    labels = {key: "large" if int(key) < 50 else "few" for key in values}
    groups = one_breakdown(labels, values, clusters=30)
    assert (groups["large"].small, groups["few"].small) == (False, True)
    assert one_breakdown(labels, values, clusters=5)["large"].small


def test_labels_with_an_order_keep_it_and_others_go_by_size() -> None:
    values = {str(i): 1.0 for i in range(6)}
    lengths = [LENGTHS[3][1], LENGTHS[3][1], LENGTHS[0][1], LENGTHS[1][1], LENGTHS[1][1], LENGTHS[1][1]]
    groups = one_breakdown(dict(zip(values, lengths, strict=True)), values, clusters=6)
    assert list(groups) == [LENGTHS[0][1], LENGTHS[1][1], LENGTHS[3][1]]
    assert list(one_breakdown(dict(zip(values, "abbccc", strict=True)), values, clusters=6)) == ["c", "b", "a"]


@pytest.mark.parametrize(("share", "label"), [(0.2, "up to 25 %"), (0.71, "50–75 %"), (1.0, WHOLE)])
def test_the_share_seen_comes_from_the_frames(share: float, label: str) -> None:
    seen = sample("a", frames=FramesSeen(count=4, share_of_clip=share))
    assert sample_labels(seen)[SHARE_SEEN] == label


def test_records_from_before_labels_take_the_tasks() -> None:
    assert sample_labels(sample("a"), {"question type": "order"}) == {"question type": "order"}
    assert sample_labels(sample("a", labels={"question type": "tools"}), {"question type": "order"}) == {
        "question type": "tools"
    }


def test_answers_that_are_not_public_have_no_figure(tmp_path: Path) -> None:
    run_toy(toy_task(6, hidden=frozenset({"q01", "q02"})), ToyModel(), tmp_path)
    figures = item_figures(CHOICES, read_samples(tmp_path), {})
    assert figures is not None
    assert sorted(figures.values) == ["q00", "q03", "q04", "q05"]


def test_nothing_scored_means_no_figure() -> None:
    assert item_figures(CHOICES, {"a": sample("a", error={"kind": "OSError", "message": "gone"})}, {}) is None


def test_a_retrieval_ranking_has_the_familys_ranks_and_the_nearest_first() -> None:
    texts = np.eye(3, dtype=np.float32)
    videos = texts[[0, 2, 1]]
    vectors = {name: np.stack([videos[i], texts[i]]) for i, name in enumerate("abc")}
    ranking = rankings(vectors, shown=2)["text_to_video"]
    assert ranking.rank == {"a": 1, "b": 3, "c": 3}
    assert [ranking.first[name][0] for name in "abc"] == ["a", "c", "b"]
    figures = item_figures(RETRIEVAL, {}, vectors)
    assert figures is not None
    assert figures.values == {"a": 1.0, "b": 0.0, "c": 0.0}
