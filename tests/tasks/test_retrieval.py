"""The retrieval family: known ranks, both directions, ties and duplicates under their own names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.errors import DataError, ModelError
from tasks.model import Embeddings
from tasks.retrieval import RetrievalItem, RetrievalTask, retrieval_digest
from tasks.statistics import t_quantile, wilson_interval
from tasks.task import Clip, Metric, Score, Summary, TaskInfo, Trace


def items_of(texts: Sequence[str]) -> list[RetrievalItem]:
    return [RetrievalItem(f"i{n}", f"v{n}", Clip(f"v{n}", 0, 1), text) for n, text in enumerate(texts)]


def task_of(texts: Sequence[str]) -> RetrievalTask:
    items = items_of(texts)
    info = TaskInfo("toy@n", "retrieval", "1", len(items), retrieval_digest(items), "", 0, "", "", "", "")
    return RetrievalTask(info, items)


@dataclass
class Known:
    """An encoder whose vectors are given: by clip and by text."""

    videos: dict[str, NDArray[np.float32]]
    texts: dict[str, NDArray[np.float32]]

    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        return Embeddings(np.stack([self.videos[c.video_id] for c in clips]), tuple(Trace() for _ in clips))

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        return Embeddings(np.stack([self.texts[t] for t in texts]), tuple(Trace() for _ in texts))


def summary_of(task: RetrievalTask, model: Known) -> Summary:
    predictions = task.predict(model, task.items())
    scores = [task.score(item, p) for item, p in zip(task.items(), predictions, strict=True)]
    return task.summarise(scores, np.random.default_rng(0))


def figure(summary: Summary, name: str) -> Metric:
    return next(metric for metric in summary.metrics if metric.name == name)


def identity(count: int) -> NDArray[np.float32]:
    return np.eye(count, dtype=np.float32)


def test_an_encoder_that_knows_every_pair_is_always_first() -> None:
    task = task_of(["a", "b", "c"])
    rows = identity(3)
    summary = summary_of(task, Known({f"v{i}": rows[i] for i in range(3)}, dict(zip("abc", rows, strict=True))))
    for direction in ("text_to_video", "video_to_text"):
        assert figure(summary, f"{direction}_recall_at_1").value == 1.0
        assert figure(summary, f"{direction}_median_rank").value == 1.0
    assert [metric.name for metric in summary.metrics if metric.primary] == ["text_to_video_recall_at_1"]


def test_a_recall_of_all_or_nothing_still_has_an_interval_with_a_width() -> None:
    task = task_of(["a", "b", "c"])
    rows = identity(3)
    right = summary_of(task, Known({f"v{i}": rows[i] for i in range(3)}, dict(zip("abc", rows, strict=True))))
    wrong = summary_of(task, Known({f"v{i}": rows[i - 1] for i in range(3)}, dict(zip("abc", rows, strict=True))))
    for summary, value in ((right, 1.0), (wrong, 0.0)):
        recall = figure(summary, "text_to_video_recall_at_1")
        assert (recall.value, recall.interval) == (value, pytest.approx(wilson_interval(3 * value, 3, t_quantile(2))))
        assert recall.method.startswith("Wilson")
        assert figure(summary, "text_to_video_median_rank").method.startswith("t over clusters")


def test_an_interval_is_over_videos_and_not_their_clips() -> None:
    clips = [RetrievalItem(f"i{n}", f"v{n % 2}", Clip(f"v{n % 2}", n, n + 1), str(n)) for n in range(40)]
    info = TaskInfo("toy@n", "retrieval", "1", len(clips), retrieval_digest(clips), "", 0, "", "", "", "")
    task = RetrievalTask(info, clips)
    # every clip of v0 is found, none of v1: two videos say next to nothing
    pairs = [np.stack([identity(40)[n], identity(40)[n if n % 2 == 0 else n - 1]]) for n in range(40)]
    scores = [Score(c.id, c.cluster, None, {}, pair) for c, pair in zip(clips, pairs, strict=True)]
    recall = figure(task.summarise(scores, np.random.default_rng(0)), "text_to_video_recall_at_1")
    assert (recall.value, recall.clusters) == (0.5, 2)
    assert recall.interval == pytest.approx((0.0, 1.0), abs=0.002)


def test_the_two_directions_are_told_apart() -> None:
    # both texts lie nearer to v0: text b ranks its video second, while each video ranks its own text by its own axis
    task = task_of(["a", "b"])
    videos = {"v0": np.array([1, 0], np.float32), "v1": np.array([0, 0.4], np.float32)}
    texts = {"a": np.array([1, 0], np.float32), "b": np.array([0.5, 1], np.float32)}
    summary = summary_of(task, Known(videos, texts))
    assert figure(summary, "text_to_video_recall_at_1").value == 0.5
    assert figure(summary, "video_to_text_recall_at_1").value == 1.0


def test_equal_vectors_rank_last_not_first() -> None:
    task = task_of(["a", "b", "c", "d"])
    same = np.ones(2, np.float32)
    summary = summary_of(task, Known({f"v{i}": same for i in range(4)}, dict.fromkeys("abcd", same)))
    assert figure(summary, "text_to_video_median_rank").value == 4.0


def test_equal_captions_count_as_right_only_under_their_own_name() -> None:
    task = task_of(["stir", "stir", "fry"])
    rows = identity(3)
    texts = {"stir": rows[0], "fry": rows[2]}
    summary = summary_of(task, Known({f"v{i}": rows[i] for i in range(3)}, texts))
    assert figure(summary, "text_to_video_recall_at_1").value == pytest.approx(2 / 3)
    assert figure(summary, "text_to_video_recall_at_1_duplicate_aware").value == 1.0


def test_random_vectors_give_the_median_rank_of_half_the_pool() -> None:
    rng = np.random.default_rng(1)
    count = 3350
    task = task_of([str(n) for n in range(count)])
    vectors = rng.standard_normal((count, 2, 16)).astype(np.float32)
    scores = [Score(item.id, item.cluster, None, {}, row) for item, row in zip(task.items(), vectors, strict=True)]
    summary = task.summarise(scores, rng)
    for direction in ("text_to_video", "video_to_text"):
        assert figure(summary, f"{direction}_median_rank").value == pytest.approx(1675, abs=120)
        assert figure(summary, f"{direction}_recall_at_1").value == pytest.approx(0.0003, abs=0.0015)
        low, high = figure(summary, f"{direction}_median_rank_percentile").interval or (1, 0)
        assert low < 0.5 < high


def test_a_part_of_the_pool_says_that_it_is_easier() -> None:
    task = task_of(["a", "b", "c"])
    scores = [Score(f"i{n}", f"v{n}", None, {}, np.stack([identity(2)[n]] * 2)) for n in range(2)]
    summary = task.summarise(scores, np.random.default_rng(0))
    assert "among the 2 answered items" in summary.warnings[0]
    assert figure(summary, "text_to_video_recall_at_1").n == 2


def test_a_vector_that_is_not_finite_is_refused_by_its_id() -> None:
    task = task_of(["a"])
    bad = np.array([np.nan, 1], np.float32)
    with pytest.raises(DataError, match="i0"):
        task.predict(Known({"v0": bad}, {"a": bad}), task.items())


def test_vectors_of_two_lengths_are_refused_by_id() -> None:
    task = task_of(["a"])
    with pytest.raises(ModelError, match="i0"):
        task.predict(Known({"v0": np.ones(2, np.float32)}, {"a": np.ones(3, np.float32)}), task.items())


def test_a_score_without_its_vectors_is_named() -> None:
    task = task_of(["a", "b"])
    with pytest.raises(DataError, match="i1"):
        task.summarise(
            [Score("i0", "v0", None, {}, np.ones((2, 2), np.float32)), Score("i1", "v1", None, {})],
            np.random.default_rng(0),
        )


def test_a_model_without_vectors_is_told_what_it_lacks() -> None:
    with pytest.raises(ModelError, match="embed_text and embed_video"):
        task_of(["a"]).check(object())
