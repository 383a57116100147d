"""`results.json`: counts add up, floors are real runs, costs are sums, and a status is earned."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.floors import ConstantModel, choice_floors
from evals.new_run import describe_run
from evals.record import Counts, ErrorRow, OfficialScore, Results, Sample, status_of
from evals.results import build_results, cost_of, prediction_of
from evals.store import read_samples
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.conftest import ToyModel, ToyTalker, run_toy, toy_task


def row(key: str, state: str) -> Sample:
    error = ErrorRow(kind="OSError", message="gone") if state == "failed" else None
    return Sample(id=key, cluster="v", answer=None if error else 1, raw="1", rule="given", error=error)


@settings(deadline=None)  # a busy machine is no fault of the code
@given(
    states=st.lists(st.sampled_from(["answered", "failed", "missing"]), min_size=6, max_size=6),
    limit=st.one_of(st.none(), st.integers(1, 9)),
)
def test_counts_add_up_whatever_happened(states: list[str], limit: int | None) -> None:
    task = toy_task(6)
    run = describe_once(task).model_copy(update={"limit": limit})
    samples = {
        item.id: row(item.id, state) for item, state in zip(task.items(), states, strict=True) if state != "missing"
    }
    results = build_results(task, run, samples)
    counts, asked = results.counts, states[:limit]
    assert (counts.task_items, counts.asked) == (6, len(asked))
    assert (counts.answered, counts.failed, counts.not_reached) == tuple(
        asked.count(state) for state in ("answered", "failed", "missing")
    )
    assert len(results.failed_ids) == counts.failed
    assert (results.status == "complete") == (states == ["answered"] * 6 and len(asked) == 6)


RUNS: dict[str, object] = {}


def describe_once(task: MultipleChoiceTask):  # type: ignore[no-untyped-def]
    """One description for all examples: collecting provenance starts processes."""
    return RUNS.setdefault(task.info.name, describe_run(task, ConstantModel(1), "toy", {}, ["longvid"]))


@pytest.mark.parametrize(
    ("answered", "failed", "asked", "status"),
    [
        (5, 0, 5, "complete"),
        (4, 1, 5, "partial"),
        (4, 0, 5, "partial"),
        (3, 0, 3, "partial"),
        (0, 5, 5, "failed"),
        (0, 0, 5, "failed"),
    ],
)
def test_only_a_run_with_every_item_answered_is_complete(answered: int, failed: int, asked: int, status: str) -> None:
    counts = Counts(task_items=5, asked=asked, answered=answered, failed=failed, not_reached=asked - answered - failed)
    assert status_of(counts) == status


def test_rows_of_unknown_items_are_not_counted(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(), tmp_path / "run")
    samples = read_samples(tmp_path / "run")
    results = build_results(task, describe_once(task), {**samples, "stranger": row("stranger", "answered")})
    assert results.counts.answered == 12


def test_the_best_constant_equals_the_best_run_of_the_constant_model(task: MultipleChoiceTask, tmp_path: Path) -> None:
    runs = [run_toy(task, ConstantModel(choice), tmp_path / str(choice)) for choice in range(5)]
    best = max(runs, key=lambda run: run.primary.value or 0.0)
    floor = runs[0].floors[1]
    assert floor.model == f"constant (choice={runs.index(best)})"
    assert floor.metric == best.primary


def test_floors_are_on_the_answered_items_only(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(bad=frozenset({"q01"})), tmp_path / "run", limit=7)
    assert [floor.metric.n for floor in results.floors] == [6] * 4


def test_the_chance_floor_is_the_expectation_with_a_range_around_it(task: MultipleChoiceTask, tmp_path: Path) -> None:
    chance = run_toy(task, ToyModel(), tmp_path / "run").floors[0]
    assert chance.model == "chance"
    assert chance.metric.value == pytest.approx(0.2)
    low, high = chance.metric.interval or (1.0, 0.0)
    assert low < 0.2 < high


def test_without_public_answers_there_is_no_floor() -> None:
    task = toy_task(3, hidden=frozenset({"q00", "q01", "q02"}))
    assert list(choice_floors(task, task.items(), 0)) == []


def test_the_real_floors_are_the_published_ones(egoschema_500: MultipleChoiceTask) -> None:
    chance, constant, longest, shortest = choice_floors(egoschema_500, egoschema_500.items(), 0)
    assert chance.metric.value == pytest.approx(0.2)
    assert (constant.name, constant.metric.value) == ("constant (choice=4)", pytest.approx(0.234))
    assert (constant.metric.n, constant.metric.clusters) == (500, 347)
    assert (longest.name, longest.metric.value) == ("longest option", pytest.approx(0.072))
    assert (shortest.name, shortest.metric.value) == ("shortest option", pytest.approx(0.184))


@pytest.fixture
def hidden_run(tmp_path: Path) -> tuple[MultipleChoiceTask, Results]:
    """A run whose last six answers are not public."""
    task = toy_task(12, hidden=frozenset(f"q{i:02d}" for i in range(6, 12)))
    return task, run_toy(task, ToyModel(), tmp_path / "hidden")


def test_with_hidden_answers_accuracy_is_null(hidden_run: tuple[MultipleChoiceTask, Results]) -> None:
    results = hidden_run[1]
    public = next(metric for metric in results.metrics if metric.name == "accuracy_public")
    assert (results.primary.name, results.primary.value, results.primary.interval) == ("accuracy", None, None)
    assert public.value is not None
    assert public.n == 6


def test_an_official_score_fills_the_null_and_names_its_source(
    hidden_run: tuple[MultipleChoiceTask, Results], tmp_path: Path
) -> None:
    task, before = hidden_run
    official = OfficialScore(metric="accuracy", value=0.345, source="kaggle")
    results = build_results(task, describe_once(task), read_samples(tmp_path / "hidden"), official)
    assert results.primary.value == 0.345
    assert results.primary.method == "official score (kaggle)"
    assert results.metrics[1:] == before.metrics[1:]


def test_an_official_score_never_replaces_a_known_figure(task: MultipleChoiceTask, tmp_path: Path) -> None:
    own = run_toy(task, ToyModel(), tmp_path / "run")
    official = OfficialScore(metric="accuracy", value=0.99, source="kaggle")
    results = build_results(task, describe_once(task), read_samples(tmp_path / "run"), official)
    assert results.primary == own.primary


def test_costs_are_sums_over_the_answered_items(task: MultipleChoiceTask, tmp_path: Path) -> None:
    talker = ToyTalker({item.id: "Answer: B" for item in task.items()})
    cost = run_toy(task, talker, tmp_path / "run", batch_size=4).cost
    assert cost.prompt_tokens == 3 * (100 + 101 + 102 + 103)
    assert (cost.cached_tokens, cost.completion_tokens) == (120, 84)
    assert (cost.prompt_tokens_per_item, cost.completion_tokens_per_item) == (101.5, 7.0)
    assert cost.frames_per_item == 8.0
    assert cost.seconds_by_stage == {"read": 3.0, "write": 6.0}


def test_total_seconds_are_those_of_the_samples(task: MultipleChoiceTask, tmp_path: Path) -> None:
    cost = run_toy(task, ToyModel(), tmp_path / "run", batch_size=5).cost
    samples = read_samples(tmp_path / "run").values()
    assert cost.seconds == pytest.approx(sum(sample.seconds["total"] for sample in samples))
    assert cost.seconds_per_item == pytest.approx((cost.seconds or 0) / 12)
    assert (cost.peak_memory_bytes or 0) > 1 << 20


@pytest.mark.parametrize(("stages", "share"), [({"decode": 9.0, "wait": 1.0}, 0.25), ({"wait": 0.0}, 0.0), ({}, None)])
def test_the_share_of_time_that_the_model_waited_for_frames(stages: dict[str, float], share: float | None) -> None:
    samples = [Sample(id=name, cluster=name, seconds={**stages, "total": 4.0}) for name in "ab"]
    cost = cost_of(samples)
    assert cost.frames_wait_share == share
    assert cost.seconds_by_stage == {name: 2 * value for name, value in stages.items()}


def test_what_was_not_measured_is_null_and_not_zero(task: MultipleChoiceTask, tmp_path: Path) -> None:
    cost = run_toy(task, ToyModel(bad=frozenset(item.id for item in task.items())), tmp_path / "run").cost
    assert (cost.seconds, cost.seconds_per_item, cost.frames_per_item, cost.peak_memory_bytes) == (None,) * 4
    assert cost.prompt_tokens_per_item is None


def test_unread_replies_are_wrong_and_counted(task: MultipleChoiceTask, tmp_path: Path) -> None:
    replies = {item.id: "I cannot determine the answer." for item in task.items()}
    results = run_toy(task, ToyTalker(replies), tmp_path / "run")
    unparsed = next(metric for metric in results.metrics if metric.name == "unparsed_rate")
    assert (results.status, results.primary.value, unparsed.value) == ("complete", 0.0, 1.0)


def test_a_model_that_always_takes_one_option_is_warned_of(egoschema_500: MultipleChoiceTask) -> None:
    samples = {i.id: Sample(id=i.id, cluster=i.cluster, answer=2, raw="2", rule="given") for i in egoschema_500.items()}
    results = build_results(egoschema_500, describe_once(egoschema_500), samples)
    assert results.details["chosen_counts"] == [0, 0, 500, 0, 0]
    assert results.details["answer_counts"] == [101, 108, 91, 83, 117]
    assert any(warning.startswith("collapse: 500 of 500 answers") for warning in results.warnings)


def test_a_recorded_answer_comes_back_as_the_prediction_it_was(task: MultipleChoiceTask, tmp_path: Path) -> None:
    talker = ToyTalker({item.id: "Answer: B" for item in task.items()})
    run_toy(task, talker, tmp_path / "run")
    item = task.items()[0]
    (asked,) = task.predict(talker, [item])
    recorded = prediction_of(read_samples(tmp_path / "run")[item.id])
    assert (recorded.answer, recorded.raw, recorded.rule) == (asked.answer, asked.raw, asked.rule)
    assert recorded.trace.usage == asked.trace.usage
    assert recorded.trace.frames == asked.trace.frames
    assert recorded.trace.prompt_sha256 == asked.trace.prompt_sha256
