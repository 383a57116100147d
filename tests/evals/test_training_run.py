"""What a training run is told by when it goes on."""

from __future__ import annotations

from encoders.pretrain.settings import read_settings
from encoders.shipped import CONFIGS
from evals.training_run import deciding, difference

CONFIG = CONFIGS / "kitchen-tiny.toml"


def test_a_run_may_go_on_with_its_model_shared_out() -> None:
    whole, shared = (
        deciding(read_settings(CONFIG, "image", changes=[f'training.parallel="{way}"'])) for way in ("ddp", "fsdp")
    )
    assert difference(whole, shared) is None


def test_a_run_does_not_go_on_at_another_rate() -> None:
    once, twice = (deciding(read_settings(CONFIG, "image", changes=[f"training.lr={lr}"])) for lr in (1e-3, 2e-3))
    assert difference(once, twice) == "training.lr was 0.001, now 0.002"
