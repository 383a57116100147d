"""Corpus figures are compared from per-item statistics: on all items they are those of the runs' own results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from evals.compare.rows import Comparison
from evals.store import read_results
from tasks.caption_metrics.meteor import NotRun
from tasks.captioning import CaptioningTask, CaptionItem, captioning_digest
from tasks.errors import RecordError
from tasks.model import Embeddings, ModelInfo, TextReply, TextRequest
from tasks.retrieval import PRIMARY, RetrievalItem, RetrievalTask, retrieval_digest
from tasks.task import Clip, TaskInfo, Trace
from tasks.youcook2 import CLIP_CAPTIONS
from tests.evals.compare.runs import compared, run_as

WORDS = ("cut", "fry", "boil", "add", "mix", "the", "onion", "oil", "pasta", "water", "with", "a", "spoon", "salt")


def sentence(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, size=rng.integers(4, 9)))


@dataclass(frozen=True)
class Copyist:
    """Repeats a share of the reference's words, others at random."""

    references: dict[str, str]
    share: float
    seed: int = 0
    info = ModelInfo("copyist")

    def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        rng = np.random.default_rng(self.seed)
        said = [
            " ".join(
                w if rng.random() < self.share else str(rng.choice(WORDS)) for w in self.references[r.item_id].split()
            )
            for r in requests
        ]
        return [TextReply(text, finished=True) for text in said]


@pytest.fixture(scope="module")
def captions() -> CaptioningTask:
    """60 clips of 30 videos."""
    rng = np.random.default_rng(0)
    items = [
        CaptionItem(f"v{n // 2}:{n % 2}", f"v{n // 2}", Clip(f"v{n // 2}", n, n + 1), (sentence(rng),))
        for n in range(60)
    ]
    info = TaskInfo("toy@60", "captioning", "1", 60, captioning_digest(items), "micro_cider_d", 0, "video", "", "", "")
    return CaptioningTask(info, items, CLIP_CAPTIONS, meteor=lambda: NotRun("no jar in this test"))


@dataclass(frozen=True)
class Blurred:
    """Unit vectors of things and texts, with noise on the texts'."""

    noise: float
    info = ModelInfo("blurred")

    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        return self._of([clip.start for clip in clips], 0.0)

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        return self._of([float(text.split()[-1]) for text in texts], self.noise)

    def _of(self, numbers: Sequence[float], noise: float) -> Embeddings:
        rows = [
            np.random.default_rng(int(n)).standard_normal(8)
            + noise * np.random.default_rng(999 + int(n)).standard_normal(8)
            for n in numbers
        ]
        vectors = np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)
        return Embeddings(vectors, tuple(Trace() for _ in rows))


@pytest.fixture(scope="module")
def retrieval() -> RetrievalTask:
    """80 clips of 40 videos; every fourth text is its neighbour's too."""
    items = [
        RetrievalItem(f"i{n}", f"v{n // 2}", Clip(f"v{n // 2}", n, n + 1), f"clip {n - n % 4 // 3}") for n in range(80)
    ]
    info = TaskInfo("toy@80", "retrieval", "1", 80, retrieval_digest(items), PRIMARY, 1 / 80, "video", "", "", "")
    return RetrievalTask(info, items)


def assert_figures_are_the_runs_own(comparison: Comparison, first: Path, other: Path) -> None:
    ours, theirs = ({m.name: m.value for m in read_results(folder).metrics} for folder in (first, other))
    (pair,) = comparison.pairs
    known = {name for name, value in ours.items() if value is not None}
    assert {row.name for row in pair.differences} == known
    for row in pair.differences:
        assert row.first == pytest.approx(ours[row.name], rel=1e-9)
        assert row.other == pytest.approx(theirs[row.name], rel=1e-9)
        assert row.difference == pytest.approx(row.other - row.first)
        metric = next(m for m in read_results(first).metrics if m.name == row.name)
        assert (row.primary, row.higher_is_better) == (metric.primary, metric.higher_is_better)


def test_every_caption_figure_is_compared_and_is_the_runs_own(captions: CaptioningTask, tmp_path: Path) -> None:
    references = {item.id: item.references[0] for item in captions.items()}
    for name, share in (("poor", 0.3), ("good", 0.7)):
        run_as(captions, Copyist(references, share), tmp_path / name)
    comparison = compared(captions, tmp_path / "poor", tmp_path / "good")
    assert_figures_are_the_runs_own(comparison, tmp_path / "poor", tmp_path / "good")
    (pair,) = comparison.pairs
    assert "randomisation" in pair.test.method
    assert pair.supported
    assert len(pair.wins) > len(pair.losses)
    assert any("METEOR is left out" in note for note in comparison.notes)


def test_equal_captioners_are_not_told_apart(captions: CaptioningTask, tmp_path: Path) -> None:
    references = {item.id: item.references[0] for item in captions.items()}
    for seed in (1, 2):
        run_as(captions, Copyist(references, 0.5, seed), tmp_path / str(seed))
    (pair,) = compared(captions, tmp_path / "1", tmp_path / "2").pairs
    assert not pair.supported
    assert pair.primary.interval is not None
    assert pair.primary.interval[0] < 0 < pair.primary.interval[1]


def test_a_mean_over_items_is_what_wins_and_losses_are_counted_by(captions: CaptioningTask, tmp_path: Path) -> None:
    references = {item.id: item.references[0] for item in captions.items()}
    run_as(captions, Copyist(references, 0.0), tmp_path / "none")
    run_as(captions, Copyist(references, 1.0), tmp_path / "all")
    (pair,) = compared(captions, tmp_path / "none", tmp_path / "all").pairs
    assert (len(pair.wins), len(pair.losses), len(pair.ties)) == (60, 0, 0)


def test_captions_need_the_references(captions: CaptioningTask, tmp_path: Path) -> None:
    references = {item.id: item.references[0] for item in captions.items()}
    for name in "ab":
        run_as(captions, Copyist(references, 0.5), tmp_path / name)
    with pytest.raises(RecordError, match="can't be computed from the record alone; name the benchmark's files"):
        compared(None, tmp_path / "a", tmp_path / "b")


def test_every_retrieval_figure_is_compared_and_is_the_runs_own(retrieval: RetrievalTask, tmp_path: Path) -> None:
    run_as(retrieval, Blurred(2.0), tmp_path / "blurred")
    run_as(retrieval, Blurred(0.3), tmp_path / "sharp")
    comparison = compared(retrieval, tmp_path / "blurred", tmp_path / "sharp")
    assert_figures_are_the_runs_own(comparison, tmp_path / "blurred", tmp_path / "sharp")
    (pair,) = comparison.pairs
    assert pair.supported
    rows = {row.name: row for row in pair.differences}
    median = rows["text_to_video_median_rank"]
    assert median.interval is not None
    assert median.interval[1] < 0


def test_retrieval_needs_no_files_but_for_equal_captions(retrieval: RetrievalTask, tmp_path: Path) -> None:
    run_as(retrieval, Blurred(2.0), tmp_path / "a")
    run_as(retrieval, Blurred(1.0), tmp_path / "b")
    alone, whole = (compared(task, tmp_path / "a", tmp_path / "b") for task in (None, retrieval))
    rows = {row.name: row for row in whole.pairs[0].differences}
    assert all(rows[row.name] == row for row in alone.pairs[0].differences)
    assert {row.name for row in alone.pairs[0].differences} == {name for name in rows if "duplicate" not in name}


def test_ranks_are_among_the_common_items(retrieval: RetrievalTask, tmp_path: Path) -> None:
    run_as(retrieval, Blurred(2.0), tmp_path / "a")
    run_as(retrieval, Blurred(1.0), tmp_path / "b", limit=20)
    comparison = compared(retrieval, tmp_path / "a", tmp_path / "b")
    rows = {row.name: row for row in comparison.pairs[0].differences}
    own = {metric.name: metric.value for metric in read_results(tmp_path / "b").metrics}
    assert comparison.items == 20
    assert rows["text_to_video_mean_rank"].other == own["text_to_video_mean_rank"]
