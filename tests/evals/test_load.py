"""Records as pandas frames."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.load import metrics_frame, samples_frame
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.conftest import ToyModel, run_toy


def test_a_samples_frame_has_a_row_per_item_and_dotted_columns(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(bad=frozenset({"q03"})), tmp_path / "run")
    frame = samples_frame(tmp_path / "run").set_index("id")
    assert len(frame) == 12
    assert frame["scores.accuracy"].mean() == results.primary.value
    assert frame["error.kind"].dropna().to_dict() == {"q03": "OSError"}
    assert frame["seconds.total"].sum() == pytest.approx(results.cost.seconds)


def test_a_folder_without_samples_gives_an_empty_frame(tmp_path: Path) -> None:
    assert samples_frame(tmp_path).empty


def test_a_metrics_frame_has_runs_beside_their_floors(task: MultipleChoiceTask, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    runs = [run_toy(task, ToyModel(), folder, limit=limit) for folder, limit in zip(folders, (None, 5), strict=True)]
    frame = metrics_frame(folders)
    primary = frame[(frame["kind"] == "run") & frame["primary"]]
    assert primary["value"].tolist() == [run.primary.value for run in runs]
    assert primary["status"].tolist() == ["complete", "partial"]
    assert frame[frame["kind"] == "floor"]["model"].tolist() == [f.model for run in runs for f in run.floors]
