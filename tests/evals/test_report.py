"""Reports: a run beside its floors, figures with their units."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.record import MetricRow
from evals.report import blind_neighbours, cells, figure, make_report, markdown
from tasks.errors import RecordError
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.conftest import ToyModel, run_toy, toy_task


def metric(name: str, value: float | None) -> MetricRow:
    return MetricRow(
        name=name,
        value=value,
        interval=None,
        level=0.95,
        method="-",
        n=5,
        clusters=5,
        primary=True,
        higher_is_better=True,
    )


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.5, "50.0 %"),
        ("summary_rouge_l", 0.2712, "27.1 %"),
        ("micro_cider_d", 0.4171, "0.417"),
        ("text_to_video_median_rank", 203.0, "203"),
        ("accuracy", None, "–"),
    ],
)
def test_a_figure_is_shown_in_its_own_unit(name: str, value: float | None, text: str) -> None:
    assert figure(metric(name, value)) == text


def test_a_run_stands_beside_chance_and_the_best_constant(task: MultipleChoiceTask, tmp_path: Path) -> None:
    report = make_report([run_toy(task, ToyModel(), tmp_path / "run")], [])
    assert [row.name.split(" ")[0] for row in report.rows] == ["toy", "chance", "constant"]
    assert any("no blind run" in note for note in report.notes)
    assert markdown(report).count("\n| ") == 4


def test_a_blind_run_beside_the_folder_is_found_and_shown(task: MultipleChoiceTask, tmp_path: Path) -> None:
    class Blind(ToyModel):
        @property
        def info(self):  # type: ignore[no-untyped-def]
            from tasks.model import ModelInfo

            return ModelInfo("blind")

    run_toy(task, Blind(), tmp_path / "blind")
    run = run_toy(task, ToyModel(), tmp_path / "run")
    blind = blind_neighbours([tmp_path / "run"], [run])
    report = make_report([run], blind)
    assert [row.kind for row in report.rows] == ["run", "floor: blind", "floor", "floor"]
    assert not any("no blind run" in note for note in report.notes)


def test_a_partial_run_says_so_in_its_row(task: MultipleChoiceTask, tmp_path: Path) -> None:
    report = make_report([run_toy(task, ToyModel(), tmp_path / "run", limit=5)], [])
    assert "run, partial" in cells(report.rows[0])
    assert any("not a benchmark result" in note for note in report.notes)


def test_runs_on_two_tasks_are_not_put_into_one_report(task: MultipleChoiceTask, tmp_path: Path) -> None:
    one = run_toy(task, ToyModel(), tmp_path / "one")
    other = run_toy(toy_task(5, name="other"), ToyModel(), tmp_path / "other")
    with pytest.raises(RecordError, match=r"other@5, toy@12"):
        make_report([one, other], [])
