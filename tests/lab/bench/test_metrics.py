"""`longvid bench metrics`: what it needs is said, and both ways score the same captions the same."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from lab.bench.metrics import bench_metrics, intervals, peer_scorer, score_ours, shifted
from lab.bench.result import NotMeasuredError
from tasks.caption_metrics.conventions import CaptionedItem
from tasks.youcook2 import load_clip_captioning


def ignore(note: str) -> None:
    """No progress to show."""


@pytest.fixture
def items(shared_data: Path) -> list[CaptionedItem]:
    return shifted(load_clip_captioning(shared_data / "youcook2"))[:60]


def test_without_the_peer_ours_is_measured_and_what_to_install_is_said(
    monkeypatch: pytest.MonkeyPatch, items: list[CaptionedItem]
) -> None:
    monkeypatch.setitem(sys.modules, "pycocoevalcap.bleu.bleu", None)
    ours, theirs = bench_metrics(items, 1, ignore).comparisons[0].rows
    assert ours.seconds
    assert "longvid[peers]" in (theirs.missing or "")


def test_without_java_the_comparison_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("pycocoevalcap", reason="pip install 'longvid[peers]'")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotMeasuredError, match="no java"):
        peer_scorer()


def test_every_figure_has_an_interval_around_it(shared_data: Path) -> None:
    scores = score_ours(shifted(load_clip_captioning(shared_data / "youcook2"))[:400])
    found = intervals(scores)
    assert set(found) == {name for name, value in scores.values.items() if value is not None}
    assert all(low < (scores.values[name] or 0.0) < high for name, (low, high) in found.items())


@pytest.mark.slow
def test_both_ways_give_the_same_figures(shared_data: Path) -> None:
    pytest.importorskip("pycocoevalcap", reason="pip install 'longvid[peers]'")
    if shutil.which("java") is None:
        pytest.skip("pycocoevalcap's tokeniser needs java")
    result = bench_metrics(shifted(load_clip_captioning(shared_data / "youcook2"))[:500], 1, ignore)
    scored = result.comparisons[0]
    assert scored.facts["captions"] == 500
    assert scored.facts["largest_difference"] < 1e-9
    assert [row.name for row in scored.rows] == ["ours", "pycocoevalcap"]
    assert all(row.seconds and row.cpu_seconds for row in scored.rows)
