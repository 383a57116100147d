"""Example records: real records of systems whose skill is known, and frames made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.example_runs import (
    KINDS,
    QUESTIONS,
    RUNS_VARIABLE,
    SKILLS,
    example_task,
    make_example_runs,
    runs_or_examples,
)
from evals.load import breakdown_frame, runs_frame
from evals.store import read_results


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_example_runs(tmp_path_factory.mktemp("examples"))


def test_systems_score_as_their_skill_says(folders: list[Path]) -> None:
    for skill, folder in zip(SKILLS, folders, strict=True):
        metric = read_results(folder).primary
        expected = sum(skill.accuracy.values()) / len(skill.accuracy)
        assert metric.value == pytest.approx(expected, abs=3 * (0.25 / QUESTIONS) ** 0.5)


def test_records_are_complete_and_say_that_they_are_made_up(folders: list[Path]) -> None:
    for folder in folders:
        results = read_results(folder)
        assert results.status == "complete"
        assert results.model.details["made_up"] is True
        assert results.task.name.startswith("made-up")


def test_answers_are_spread_evenly_over_options_and_kinds() -> None:
    items = example_task().items()
    for kind in KINDS:
        answers = [item.answer for item in items if item.labels["question type"] == kind]
        assert [answers.count(place) for place in range(5)] == [16] * 5


def test_a_runs_frame_has_a_row_per_run_best_first_with_system_and_cost(folders: list[Path]) -> None:
    frame = runs_frame(folders)
    assert frame["value"].is_monotonic_decreasing
    assert set(frame["system"]) == {"encoder", "aggregator", "text"}
    assert frame.set_index("system").loc["aggregator", "prompt_tokens_per_item"] == 1_630


def test_a_breakdown_frame_adds_up(folders: list[Path]) -> None:
    frame = breakdown_frame(folders)
    counts = frame.groupby(["run", "kind"])["n"].sum()
    assert (counts == QUESTIONS).all()
    assert {"question type", "length", "share of the video seen"} == set(frame["kind"])


def test_runs_come_from_the_environment_where_it_names_some(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RUNS_VARIABLE, str(folders[0].parent))
    assert runs_or_examples(tmp_path) == sorted(folders)
    assert not any(tmp_path.iterdir())
