"""A plan is made from a few items spread over the task, and its figures are means over them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.planning import make_plan, spread
from tasks.errors import ModelError
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.conftest import ToyModel, ToyTalker


@given(total=st.integers(1, 300), count=st.integers(1, 50))
def test_spread_takes_the_middles_of_equal_stretches(total: int, count: int) -> None:
    picked = spread(range(total), count)
    taken = min(count, total)
    assert len(set(picked)) == len(picked) == taken
    assert picked == sorted(picked)
    for i, position in enumerate(picked):
        assert i * total / taken <= position + 1
        assert position < (i + 1) * total / taken


def test_spread_of_everything_is_everything() -> None:
    assert spread("abc", 7) == ["a", "b", "c"]


def test_a_plan_counts_items_and_clusters_under_the_limit(task: MultipleChoiceTask) -> None:
    plan = make_plan(task, ToyModel(), probe=2, limit=7)
    assert (plan.task, plan.items, plan.clusters, plan.items_with_video, plan.probed) == ("toy@12", 7, 3, 0, 2)


def test_a_plans_tokens_are_means_over_the_probed_items_times_the_items(task: MultipleChoiceTask) -> None:
    plan = make_plan(task, ToyTalker({item.id: "B" for item in task.items()}), probe=3, limit=None)
    assert (plan.prompt_tokens_per_item, plan.completion_tokens_per_item) == (100.0, 7.0)
    assert plan.prompt_tokens == 1200.0
    assert plan.seconds == pytest.approx(12 * plan.seconds_per_item)


def test_a_probe_warms_up_on_an_item_that_is_not_timed(task: MultipleChoiceTask) -> None:
    model = ToyModel()
    make_plan(task, model, probe=3, limit=None)
    assert model.asked_ids == ["q01", "q04", "q07", "q10"]


def test_a_model_that_cannot_do_the_task_is_refused_before_the_probe(task: MultipleChoiceTask) -> None:
    with pytest.raises(ModelError, match="toy@12 needs"):
        make_plan(task, object(), probe=1, limit=None)
