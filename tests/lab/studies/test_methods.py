from dataclasses import replace
from pathlib import Path

import pytest
import torch

from encoders.config import preset
from encoders.pretrain.checkpoint import Plan
from encoders.pretrain.settings import DataSettings, KitchenSettings, ModelSettings, StageSettings
from encoders.shipped import CONFIGS
from encoders.transfer import transfer
from encoders.vit import sample_keep
from lab.bench.encode import count_method, count_row, find_methods, seconds_side_by_side, training_bytes, vision_step
from lab.studies.run import SHORT, as_method, choose_methods, held_out, studied_methods, tuning_videos
from lab.studies.run import Plan as StudyPlan
from tasks.errors import ModelError
from tests.encoders.small import encoder, generator, videos

METHODS = studied_methods(3)
SHAPE = {"size": 64, "patch": 16, "frames": 16}
BASE = StageSettings(
    "short",
    "short",
    ModelSettings("image", vision={"frames": 16}),
    DataSettings(4, kitchen=KitchenSettings(8)),
    Plan(2, 1e-3),
)


@pytest.fixture(scope="module")
def image():
    return encoder(attention="frame", patches="image", **SHAPE)


def started(image, method):
    """A method's encoder, begun from an image encoder."""
    vision = replace(encoder(**SHAPE).config.vision, **method.changes)
    return transfer(image, replace(image.config, vision=vision, adapt=method.adapt), time_std=1.0)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_goes_on_from_the_image_encoder_and_trains_what_it_says(image, method):
    model = started(image, method).train()
    pixels = videos(2, 16, 64)
    keep = sample_keep(model.config.vision, pixels.shape[:4], method.mask, generator())
    model.embed_video(pixels, keep)[0, 0].backward()
    for name, parameter in model.named_parameters():
        if name.startswith("vision.") and "image" not in name:
            learns = parameter.grad is not None
            assert learns == parameter.requires_grad or name.startswith("vision.video"), name


def test_masked_methods_start_as_the_dense_ones_do(image):
    dense, masked = (started(image, method) for method in choose_methods(("jst-mask0", "jst-mask75"), 3))
    assert all(torch.equal(value, masked.state_dict()[name]) for name, value in dense.state_dict().items())


def test_a_stage_as_a_method_keeps_its_data_and_its_plan():
    method = find_methods(("coarse-time",))[0]
    changed = as_method(BASE, method)
    assert changed.model.vision == {"frames": 16, "tubelet": 4}
    assert replace(changed, name=BASE.name, model=BASE.model) == BASE


@pytest.mark.parametrize(("depth", "layers"), [(2, 1), (4, 1), (12, 4), (24, 8)])
def test_the_last_third_is_four_layers_of_twelve(depth, layers):
    assert choose_methods(("last-third",), depth)[0].adapt.last == layers


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ModelError, match=r"'jst'; known are jst-mask0"):
        choose_methods(("jst",), 4)


def test_any_tower_is_counted_as_the_bench_counts_its_presets():
    method = find_methods(("jst-mask75",))[0]
    assert replace(count_method(method, preset("shortvivit-tiny").vision), size="tiny") == count_row(method, "tiny", 16)


def test_a_batch_takes_activations_for_each_video_and_weights_once():
    row = count_method(find_methods(("jst-mask0",))[0], preset("shortvivit-tiny").vision)
    assert training_bytes(row, 1) == row.total_bytes
    assert training_bytes(row, 5) - training_bytes(row, 3) == 2 * row.activation_bytes


def test_steps_are_timed_in_turn():
    order = []
    steps = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = seconds_side_by_side(steps, 2, lambda note: None)
    assert order == ["a", "b"] * 3
    assert set(seconds) == {"a", "b"}
    assert min(seconds.values()) > 0


def test_a_timed_step_trains_the_tower(monkeypatch):
    towers = []
    build = vision_step.__globals__["build_vision"]
    monkeypatch.setitem(vision_step.__globals__, "build_vision", lambda *of: towers.append(build(*of)) or towers[-1])
    step = vision_step(METHODS[3], encoder().config.vision, 2, torch.autocast("cpu", enabled=False))
    before = {name: value.clone() for name, value in towers[0].state_dict().items()}
    step()
    assert any(not torch.equal(value, before[name]) for name, value in towers[0].state_dict().items())


def test_learning_rates_are_chosen_on_videos_and_from_a_seed_that_the_study_does_not_use():
    plan = StudyPlan(CONFIGS / "kitchen-study.toml", Path("none"), (0, 1, 2, 3))
    tuning, study = tuning_videos(plan, METHODS[0], 5e-4), plan.stage(SHORT, 0)
    families = [{family for _, family in held_out(stage)} for stage in (tuning, study)]
    assert len(families[0]) == len(families[1])
    assert families[0].isdisjoint(families[1])
    assert tuning.training.lr == 5e-4
    assert tuning.seed not in plan.seeds
