"""Memory against accuracy: a bench report and the shipped study as frames, and their plot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.errors import RecordError

pytest.importorskip("torch")

from evals.load import plot_memory
from lab.bench.result import CostRow, Machine, Report, write_json
from lab.studies.report import STUDY, bench_frame, study_frame
from tests.evals.conftest import ROOT


def test_memory_is_what_the_report_counts(tmp_path: Path) -> None:
    row = CostRow("b", "jst-mask75", 16, 0.75, 128, 9, 9, 1, 1, 10**9, 10**9, 0, 0, 1)
    write_json(Report(Machine("meta", "", "", 1, None, compiled=False), (row,)), tmp_path / "bench.json")
    frame = bench_frame(tmp_path / "bench.json")
    assert frame["activations_gb"].tolist() == [1.0]
    assert frame["training_gb"].tolist() == [2.0]


def test_the_shipped_study_has_every_method_with_its_interval_and_its_memory() -> None:
    frame = study_frame(ROOT / STUDY)
    content = json.loads((ROOT / STUDY).read_text(encoding="utf-8"))
    assert sorted(frame["method"]) == sorted(method["method"] for method in content["methods"])
    assert (frame["seeds"] == len(content["seeds"])).all()
    assert ((frame["low"] <= frame["value"]) & (frame["value"] <= frame["high"])).all()
    assert frame["activations_mb"].is_monotonic_increasing
    assert len(plot_memory(frame).axes[0].texts) == len(frame)


def test_another_file_than_a_study_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(RecordError, match=r"study\.json"):
        study_frame(path)
