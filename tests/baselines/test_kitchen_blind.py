"""A language model that reads kitchen's questions without the video scores chance: the words give nothing away."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines.models import BlindOptions
from baselines.prompted import build_blind
from tasks.kitchen.benchmark import load_qa
from tasks.routes import Route
from tasks.statistics import fraction_metric
from tests.needs import needs_smollm2


@pytest.mark.slow
@needs_smollm2
@pytest.mark.parametrize("route", [Route.OPTIONS_LOGLIK, Route.LETTER_LOGPROB])
def test_smollm2_without_the_video_scores_chance(route: Route) -> None:
    task = load_qa(Path("no-such-folder"))
    items = task.items()
    predictions = task.predict(build_blind(BlindOptions(llm="smollm2", route=route)), items)
    right = [float(prediction.answer == item.answer) for item, prediction in zip(items, predictions, strict=True)]
    metric = fraction_metric("accuracy", right, [item.cluster for item in items])
    assert metric.interval is not None
    low, high = metric.interval
    assert low <= task.info.chance <= high, f"{metric.value:.1%}"
