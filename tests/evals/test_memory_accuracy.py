"""Memory against accuracy: read, joined, and what is missing said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.errors import DataError

pytest.importorskip("torch")

from encoders.bench.report import write_json
from encoders.bench.rows import Machine, Report, Row
from evals.memory_accuracy import bench_frame, joined, missing, study_frame
from evals.plots import plot_memory


def row(method: str, activations: int) -> Row:
    return Row("b", method, 16, 0.0, 128, 9, 9, 1, 1, activations, 10**9, 0, 0, 1)


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    rows = (row("jst-mask0", 4 * 10**9), row("jst-mask75", 10**9), row("fst", 6 * 10**9))
    write_json(Report(Machine("meta", "", "", 1, None, compiled=False), rows), tmp_path / "bench.json")
    return tmp_path / "bench.json"


def study_file(folder: Path, content: object) -> Path:
    path = folder / "masking.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_seeds_are_averaged_and_methods_joined_by_memory(bench: Path, tmp_path: Path) -> None:
    values = [("jst-mask0", 0.6, 0), ("jst-mask0", 0.7, 1), ("jst-mask75", 0.6, 0)]
    rows = [{"method": method, "value": value, "seed": seed} for method, value, seed in values]
    path = study_file(tmp_path, {"metric": "recall_at_1", "rows": rows})
    frame = joined(bench_frame(bench), study_frame(path))
    assert frame["method"].tolist() == ["jst-mask75", "jst-mask0"]
    assert frame["training_gb"].tolist() == pytest.approx([2.0, 5.0])
    assert frame["value"].tolist() == pytest.approx([0.6, 0.65])
    assert frame["seeds"].tolist() == [1, 2]
    assert missing(bench_frame(bench), study_frame(path), bench, path) == ["no accuracy of fst"]
    assert len(plot_memory(frame).axes[0].texts) == 2


def test_without_a_study_nothing_is_made_up(bench: Path, tmp_path: Path) -> None:
    study = study_frame(tmp_path / "masking.json")
    frame = joined(bench_frame(bench), study)
    assert frame.empty
    assert "no method has an accuracy yet" in missing(bench_frame(bench), study, bench, tmp_path / "masking.json")[0]
    assert plot_memory(frame).axes[0].texts[0].get_text() == "no accuracies yet"


@pytest.mark.parametrize("content", [[], {"rows": []}, {"metric": "x", "rows": [{"method": "fst", "value": "high"}]}])
def test_another_file_than_a_study_is_refused_by_name(tmp_path: Path, content: object) -> None:
    with pytest.raises(DataError, match=r"masking\.json is not a study"):
        study_frame(study_file(tmp_path, content))
