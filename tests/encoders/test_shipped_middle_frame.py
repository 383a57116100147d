"""The shipped encoders see nothing in the middle frame that answers kitchen's questions: they score chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoders.build import build_preset
from encoders.frames import Frames
from encoders.models import PresetOptions
from encoders.shipped import SHIPPED
from encoders.task_model import EncoderModel
from tasks.kitchen.benchmark import choice_items
from tasks.kitchen.plan import Plan, make_plan
from tasks.kitchen.render import render
from tasks.kitchen.texts import OPTIONS
from tasks.statistics import fraction_metric

VIDEOS = 1000
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    return [make_plan("val", index) for index in range(VIDEOS)]


def answers(model: EncoderModel, plan: Plan) -> list[float]:
    """1 for each of the video's questions that the middle frame gets right."""
    middle = plan.duration / 2
    frames = Frames(render(plan, [middle]), (middle,), (middle,), 1.0)
    seen = model.embed_frames([frames], [{}]).vectors[0]
    return [
        float(np.argmax(model.embed_text([option.lower() for option in item.options]).vectors @ seen) == item.answer)
        for item in choice_items(plan, Path("no-videos"))
    ]


@pytest.mark.parametrize("name", ["imagevit-tiny", "shortvivit-tiny", "effshortvivit-tiny", "longvivit-tiny"])
def test_the_middle_frame_alone_gives_nothing_away_to_a_trained_encoder(name: str, plans: list[Plan]) -> None:
    preset = name.removeprefix("eff")
    model = build_preset(preset, PresetOptions(weights=str(SHIPPED / f"{name}.safetensors"), frames=1))
    assert isinstance(model, EncoderModel)
    right = [answers(model, plan) for plan in plans]
    families = [plan.family for plan, hits in zip(plans, right, strict=True) for _ in hits]
    metric = fraction_metric("accuracy", [hit for hits in right for hit in hits], families)
    assert metric.interval is not None
    low, high = metric.interval
    assert low <= 1 / OPTIONS <= high, f"{metric.value:.1%}"
