"""Text floors as models: the figures that protocols name, and nothing seen of any video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from baselines.floors import (
    TrainingText,
    constant_floor,
    random_floor,
    salad_floor,
    text_floors,
    typical_floor,
)
from baselines.models import SALAD_WORDS
from tasks.captioning import CaptioningTask
from tasks.errors import DataError
from tasks.model import Captioner, TextRequest
from tasks.task import Clip
from tasks.youcook2 import load_summary

TRAINING = [
    TrainingText("cut the onion and fry it", "1"),
    TrainingText("cut the onion and fry it well", "1"),
    TrainingText("bake a cake", "2"),
]


def asked(video: str) -> TextRequest:
    return TextRequest(video, Clip(video, 0, 1), "", 9)


@pytest.fixture(scope="module")
def summary(shared_data: Path) -> CaptioningTask:
    return load_summary(shared_data / "youcook2").without_meteor("not asked for")


def test_every_floor_is_a_captioner() -> None:
    floors = text_floors(TRAINING, {"v": "1"}, 0)
    assert [floor.name for floor in floors] == [
        "word-salad",
        "constant-paragraph",
        "random-paragraph",
        "recipe-type-paragraph",
    ]
    assert all(isinstance(floor, Captioner) for floor in floors)


def test_only_the_recipe_type_floor_says_that_it_uses_the_label() -> None:
    marked = [floor.name for floor in text_floors(TRAINING, {}, 0) if floor.info.details.get("uses_label")]
    assert marked == ["recipe-type-paragraph"]


def test_a_draw_depends_on_seed_and_item_alone() -> None:
    draw = next(floor for floor in text_floors(TRAINING, {}, 0) if floor.name == "random-paragraph")
    names = [f"v{n}" for n in range(30)]
    forward = [reply.text for reply in draw.caption([asked(name) for name in names])]
    assert forward == [reply.text for reply in draw.caption([asked(name) for name in names[::-1]])][::-1]
    assert len(set(forward)) == len(TRAINING)


def test_a_type_that_training_lacks_is_refused_by_the_videos_id() -> None:
    typical = text_floors(TRAINING, {"v": "9"}, 0)[-1]
    with pytest.raises(DataError, match="'v'"):
        typical.caption([asked("v")])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("word-salad", 0.271),
        pytest.param("constant-paragraph", 0.255, marks=pytest.mark.slow),
        ("random-paragraph", 0.195),
        ("recipe-type-paragraph", 0.311),
    ],
)
def test_a_floor_has_its_published_rouge_l(summary: CaptioningTask, name: str, expected: float) -> None:
    labels = {item.clip.video_id: item.label for item in summary.items()}
    floor = {
        "word-salad": lambda: salad_floor(SALAD_WORDS),
        "constant-paragraph": lambda: constant_floor(summary.training),
        "random-paragraph": lambda: random_floor(summary.training, 0),
        "recipe-type-paragraph": lambda: typical_floor(summary.training, labels),
    }[name]()
    assert floor.name == name
    predictions = summary.predict(floor, summary.items())
    scores = [summary.score(item, p) for item, p in zip(summary.items(), predictions, strict=True)]
    figures = summary.summarise(scores, np.random.default_rng(0)).metrics
    assert next(m.value for m in figures if m.primary) == pytest.approx(expected, abs=0.003)
