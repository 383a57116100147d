from dataclasses import replace
from itertools import pairwise

import pytest

from encoders.pretrain.checkpoint import Plan, rate_at
from tasks.errors import ModelError

PLAN = Plan(steps=100, lr=2.0, warmup=10, floor=0.1, log=5, save=10)


def test_the_rate_rises_in_a_line_and_falls_along_a_cosine_to_its_floor():
    rates = [rate_at(PLAN, step) for step in range(PLAN.steps)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert rates[10] == pytest.approx(2.0)
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert rate_at(PLAN, 55) == pytest.approx((2.0 + 0.2) / 2)
    assert rate_at(PLAN, 100) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"steps": 0}, "steps"),
        ({"warmup": 100}, "warmup"),
        ({"save": 7}, "multiple of log"),
        ({"evaluate": 8}, "multiple of log"),
        ({"keep": 0}, "keep"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(changes, what):
    with pytest.raises(ModelError, match=what):
        Plan(**{"steps": 100, "lr": 1.0, "log": 5, "save": 10, **changes})


def test_training_may_end_before_its_schedule_does_and_not_after():
    plan = Plan(steps=100, lr=1.0, save=10, until=40)
    assert plan.end == 40
    assert rate_at(plan, 39) == rate_at(replace(plan, until=0), 39) > 0.5
    assert replace(plan, until=0).end == 100
    with pytest.raises(ModelError, match=r"until \(101\)"):
        replace(plan, until=101)
