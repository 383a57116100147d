"""What a training run is told by when it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from encoders.pretrain.settings import StageSettings, read_settings
from encoders.shipped import CONFIGS
from evals.training import completed, deciding, difference
from tasks.errors import ModelError

CONFIG = CONFIGS / "kitchen-tiny.toml"


def without_what_came_later(value: Any) -> Any:
    """Settings as they were written before clips, masks by time, balance and the like existed."""
    later = {"clips", "mask_by", "balance", "brief_apart", "held_out", "tune_text_proj", "signals", "kinds"}
    if isinstance(value, dict):
        return {key: without_what_came_later(part) for key, part in value.items() if key not in later}
    return value


def asked(settings: StageSettings) -> dict[str, Any]:
    data = json.loads(json.dumps({"world": "kitchen.v1", "brief_apart": False, "videos": settings.data.kitchen.videos}))
    return {"settings": deciding(settings), "facts": {"init": settings.model.init, "data": data}}


@pytest.mark.parametrize("stage", ["image", "short", "short-masked", "long-start", "long"])
def test_a_run_from_before_a_setting_existed_goes_on(stage: str) -> None:
    settings = read_settings(CONFIG, stage)
    now = asked(settings)
    before = without_what_came_later(now)
    assert before != now
    assert difference(completed(before, settings, Path("run.json")), now) is None


def test_a_run_from_before_a_setting_existed_does_not_go_on_with_it_changed() -> None:
    before = without_what_came_later(asked(read_settings(CONFIG, "long")))
    settings = read_settings(CONFIG, "long", changes=['model.mask_by="time"'])
    found = difference(completed(before, settings, Path("run.json")), asked(settings))
    assert found == "settings.model.mask_by was 'anywhere', now 'time'"


def test_a_setting_that_is_none_any_more_is_named_with_its_file() -> None:
    before = asked(read_settings(CONFIG, "long"))
    before["settings"]["model"]["colour"] = "red"
    with pytest.raises(ModelError, match=r"run\.json: settings: model: unknown key 'colour'"):
        completed(before, read_settings(CONFIG, "long"), Path("run.json"))


def test_a_run_may_go_on_with_its_model_shared_out() -> None:
    whole, shared = (
        deciding(read_settings(CONFIG, "image", changes=[f'training.parallel="{way}"'])) for way in ("ddp", "fsdp")
    )
    assert difference(whole, shared) is None


def test_a_run_does_not_go_on_at_another_rate() -> None:
    once, twice = (deciding(read_settings(CONFIG, "image", changes=[f"training.lr={lr}"])) for lr in (1e-3, 2e-3))
    assert difference(once, twice) == "training.lr was 0.001, now 0.002"


def test_a_run_may_go_on_further_along_its_schedule() -> None:
    part, whole = (deciding(read_settings(CONFIG, "image", changes=[f"training.until={end}"])) for end in (100, 0))
    assert difference(part, whole) is None
