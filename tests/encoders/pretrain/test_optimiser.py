import math
from dataclasses import replace

import pytest
import torch

from encoders.pretrain.checkpoint import (
    Plan,
    build_optimiser,
    clamp_scales,
    load_optimiser,
    optimiser_tensors,
    set_rate,
    trainable,
)
from encoders.pretrain.engine import train
from tasks.errors import ModelError
from tests.encoders.pretrain.toy import PLAN as SHORT_PLAN
from tests.encoders.pretrain.toy import toy_job
from tests.encoders.small import encoder

PLAN = Plan(steps=10, lr=1e-2, weight_decay=0.1)


def decayed(model):
    optimiser = build_optimiser(model, PLAN)
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}


def test_weight_decay_spares_norms_biases_positions_and_the_temperature():
    found = decayed(encoder(class_token=True, pool="class"))
    spared = {name for name, decay in found.items() if decay == 0}
    assert {"log_scale", "vision.positions.space", "vision.positions.time", "vision.class_token"} <= spared
    assert "text.bert.embeddings.position_embeddings.weight" in spared
    assert all(name in spared for name in found if name.endswith("bias") or "norm" in name.lower())
    assert "vision.blocks.0.attn.qkv.weight" not in spared
    assert "vision.video.0.proj.weight" not in spared


def test_frozen_parameters_are_left_out():
    model = encoder()
    model.text.requires_grad_(False)
    assert not any(name.startswith("text.") for name in decayed(model))


def test_nothing_to_train_is_refused():
    with pytest.raises(ModelError, match="nothing to train"):
        build_optimiser(encoder().requires_grad_(False), PLAN)


def test_patterns_scale_the_rate_and_one_that_fits_nothing_is_refused():
    model = encoder()
    optimiser = build_optimiser(model, replace(PLAN, rates={"text.*": 0.1}))
    assert set_rate(optimiser, PLAN, 0) == pytest.approx(1e-2)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(1e-3 if name.startswith("text.") else 1e-2)
    with pytest.raises(ModelError, match=r"'vsion\.\*' matches no trainable parameter"):
        build_optimiser(model, replace(PLAN, rates={"vsion.*": 0.1}))


def test_the_state_goes_out_and_comes_back():
    model = encoder()
    optimiser = build_optimiser(model, PLAN)
    for name, parameter in trainable(model).items():
        if not name.startswith("vision.image"):
            parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    saved = {name: value.clone() for name, value in optimiser_tensors(model, optimiser).items()}
    assert not any("vision.image" in name for name in saved)
    fresh = build_optimiser(model, PLAN)
    load_optimiser(model, fresh, saved)
    again = optimiser_tensors(model, fresh)
    assert again.keys() == saved.keys()
    assert all(torch.equal(again[name], saved[name]) for name in saved)


def test_another_models_state_is_refused():
    model = encoder()
    with pytest.raises(ModelError, match=r"exp_avg\.foreign"):
        load_optimiser(model, build_optimiser(model, PLAN), {"exp_avg.foreign": torch.zeros(1)})


@pytest.mark.parametrize(("before", "after"), [(9.0, math.log(100)), (-1.0, 0.0), (2.5, 2.5)])
def test_every_scale_that_trains_is_brought_back_between_its_bounds(before, after):
    step = toy_job().step
    for name in ("encoder.log_scale", "statement_log_scale"):
        torch.nn.init.constant_(step.get_parameter(name), before)
    clamp_scales(step)
    assert step.encoder.log_scale.item() == pytest.approx(after)
    assert step.statement_log_scale.item() == pytest.approx(after)


def test_a_scale_that_does_not_train_is_left_alone():
    model = encoder()
    torch.nn.init.constant_(model.log_scale, 9.0)
    model.log_scale.requires_grad_(False)
    clamp_scales(model)
    assert model.log_scale.item() == 9


def test_training_leaves_the_ceiling_and_never_passes_it(tmp_path):
    job = toy_job()
    for name in ("encoder.log_scale", "statement_log_scale"):
        torch.nn.init.constant_(job.step.get_parameter(name), math.log(100))
    train(job, replace(SHORT_PLAN, lr=1e-2, warmup=0), tmp_path, seed=0)
    # Untrained vectors tell nothing, so that the loss pulls the scale down at once.
    assert 0 <= job.step.encoder.log_scale.item() < math.log(100) - 0.01
    assert 0 <= job.step.statement_log_scale.item() < math.log(100) - 0.01
