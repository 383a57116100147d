"""`longvid bench metrics`: what it needs is said, and both ways score the same captions the same."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from evals.bench_metrics import bench_metrics, intervals, peer_scorer, score_ours, shifted, timed
from tasks.errors import LongvidError
from tasks.youcook2 import load_clip_captioning
from tests.evals.conftest import assert_one_line, longvid


def ignore(note: str) -> None:
    """No progress to show."""


def test_without_the_peer_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocoevalcap.bleu.bleu", None)
    assert_one_line(longvid("bench", "metrics"), "needs pycocoevalcap", "longvid[peers]")


def test_without_java_the_comparison_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("pycocoevalcap", reason="pip install 'longvid[peers]'")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LongvidError, match="needs java"):
        peer_scorer()


def test_a_timing_counts_waiting_by_the_clock_and_not_as_work() -> None:
    clock, processor = timed(lambda: time.sleep(0.3))
    assert clock >= 0.3
    assert processor < 0.2


def test_every_figure_has_an_interval_around_it(shared_data: Path) -> None:
    scores = score_ours(shifted(load_clip_captioning(shared_data / "youcook2"))[:400])
    found = intervals(scores, np.random.default_rng(0))
    assert set(found) == {name for name, value in scores.values.items() if value is not None}
    assert all(low < (scores.values[name] or 0.0) < high for name, (low, high) in found.items())


@pytest.mark.slow
def test_both_ways_give_the_same_figures(shared_data: Path) -> None:
    pytest.importorskip("pycocoevalcap", reason="pip install 'longvid[peers]'")
    if shutil.which("java") is None:
        pytest.skip("pycocoevalcap's tokeniser needs java")
    result = bench_metrics(shifted(load_clip_captioning(shared_data / "youcook2"))[:500], 1, ignore)
    assert result.captions == 500
    assert result.largest_difference < 1e-9
    assert len(result.ours.seconds) == len(result.theirs.cpu_seconds) == 1
