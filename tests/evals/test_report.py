"""Reports: a run beside its floors, figures with their units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evals.leaderboard.build import build_leaderboard
from evals.record import Results
from evals.report import blind_neighbours, cells, figure, make_report, markdown
from tasks.caption_metrics.conventions import METRICS_VERSION
from tasks.errors import RecordError
from tasks.multiple_choice import MultipleChoiceTask
from tasks.registry import family_of
from tasks.retrieval import PRIMARY, retrieval_metrics
from tasks.statistics import METHOD
from tasks.task import Metric
from tests.evals.conftest import ToyModel, run_toy, toy_task
from tests.evals.records import TASK, results_of
from tests.evals.records import metric as record_metric


def metric(name: str, value: float | None) -> Metric:
    return Metric(
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
    ("family", "name", "value", "text"),
    [
        ("multiple-choice", "accuracy", 0.5, "50.0 %"),
        ("captioning", "summary_rouge_l", 0.2712, "27.1 %"),
        ("captioning", "micro_cider_d", 0.4171, "0.417"),
        ("retrieval", "text_to_video_median_rank", 203.0, "203"),
        ("multiple-choice", "accuracy", None, "–"),
        ("of nobody", "overlap", 0.25, "25.0 %"),
    ],
)
def test_a_figure_is_shown_in_its_own_unit(family: str, name: str, value: float | None, text: str) -> None:
    assert figure(metric(name, value), family_of(family)) == text


def test_a_run_stands_beside_its_floors(task: MultipleChoiceTask, tmp_path: Path) -> None:
    report = make_report([run_toy(task, ToyModel(), tmp_path / "run")], [])
    assert [row.name.split(" ")[0] for row in report.rows] == ["toy", "chance", "constant", "longest", "shortest"]
    assert any("no blind run" in note for note in report.notes)
    assert markdown(report).count("\n| ") == 6


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
    assert [row.kind for row in report.rows] == ["run", "floor: blind", *["floor"] * 4]
    assert not any("no blind run" in note for note in report.notes)


def test_a_partial_run_says_so_in_its_row(task: MultipleChoiceTask, tmp_path: Path) -> None:
    report = make_report([run_toy(task, ToyModel(), tmp_path / "run", limit=5)], [])
    assert "run, partial" in cells(report.rows[0], report.family)
    assert any("not a benchmark result" in note for note in report.notes)


def test_runs_on_two_tasks_are_not_put_into_one_report(task: MultipleChoiceTask, tmp_path: Path) -> None:
    one = run_toy(task, ToyModel(), tmp_path / "one")
    other = run_toy(toy_task(5, name="other"), ToyModel(), tmp_path / "other")
    with pytest.raises(RecordError, match=r"other@5, toy@12"):
        make_report([one, other], [])


def scored_by(method: str, clusters: int = 40) -> Results:
    figure_ = replace(record_metric(0.5), method=method, clusters=clusters)
    return results_of("old").model_copy(update={"metrics": (figure_,)})


def test_intervals_of_an_earlier_method_are_marked_until_the_run_is_scored_again() -> None:
    old = "cluster bootstrap, percentile, 5000 resamples"
    assert any(
        "earlier method" in note and note.startswith("old: ") for note in make_report([scored_by(old)], []).notes
    )
    assert not any("earlier method" in note for note in make_report([scored_by(METHOD)], []).notes)


def test_caption_figures_of_an_earlier_version_are_marked() -> None:
    run = results_of("old", task=replace(TASK, family="captioning"))
    today = run.model_copy(update={"details": {"caption_metrics": METRICS_VERSION}})
    assert any("METEOR too low" in note for note in make_report([run], []).notes)
    assert not any("METEOR" in note for note in make_report([today], []).notes)


@pytest.mark.parametrize(("clusters", "said"), [(4, True), (9, True), (10, False)])
def test_clusters_too_few_for_any_method_are_said_in_report_and_board(clusters: int, said: bool) -> None:
    run = scored_by(METHOD, clusters)
    board = build_leaderboard([run], published=[])
    for notes in (make_report([run], []).notes, board.tables[0].notes):
        assert any("too few for any method" in note for note in notes) is said


def test_a_run_on_few_clusters_records_the_warning(tmp_path: Path) -> None:
    warnings = run_toy(toy_task(12), ToyModel(), tmp_path / "run").warnings
    assert any("only 4 clusters" in warning for warning in warnings)


def test_the_figures_beside_a_primary_one_are_those_that_the_task_gives() -> None:
    texts = np.eye(4, dtype=np.float32)
    given = {metric.name for metric in retrieval_metrics(np.stack([texts, texts], axis=1), list("abcd"), list("abcd"))}
    run = results_of("r", task=replace(TASK, family="retrieval", primary_metric=PRIMARY))
    report = make_report([run], [])
    assert report.beside[:2] == ("text_to_video_recall_at_5", "text_to_video_recall_at_10")
    assert set(report.beside) < given
    assert "text to video recall at 5" in report.columns
