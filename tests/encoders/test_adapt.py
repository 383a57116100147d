import pytest
import torch

from encoders.adapt import PATCHES, matches, trainable_patterns, trainable_table
from encoders.config import AdaptConfig, preset
from encoders.dual import adapt_encoder
from tasks.errors import ModelError
from tests.encoders.small import encoder, stir, texts, videos

METHODS = ("full", "adapters", "lora", "last", "temporal", "frozen")
SHARED = {"vision_proj.weight", "log_scale"}


def adapted(method, **adapt):
    kind = "factorized" if method == "temporal" else "joint"
    base = encoder(attention=kind)
    return adapt_encoder(base, AdaptConfig(method, last=2, rank=4, bottleneck=8, **adapt))


def wanted(method):
    """Names that should train, spelt out independently of the patterns."""
    front = {"vision.video.0.proj.weight", "vision.video.0.proj.bias", "vision.positions.time"}
    both = ("weight", "bias")
    linears = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    layer = {f"{m}.{k}" for m in (*linears, "norm1", "norm2") for k in both}
    if method == "adapters":
        return front | {f"vision.blocks.{i}.adapter.{p}.{k}" for i in range(3) for p in ("down", "up") for k in both}
    if method == "lora":
        return front | {
            f"vision.blocks.{i}.{m}.lora_{ab}.default.weight" for i in range(3) for m in linears for ab in "AB"
        }
    if method == "last":
        return (
            front | {f"vision.blocks.{i}.{n}" for i in (1, 2) for n in layer} | {f"vision.pool.norm.{k}" for k in both}
        )
    if method == "temporal":
        parts = {f"{m}.{k}" for m in ("attn_time.qkv", "attn_time.proj", "norm_time") for k in both}
        return front | {f"vision.blocks.{i}.{n}" for i in range(3) for n in {*parts, "alpha"}}
    return set()


@pytest.mark.parametrize("method", ["adapters", "lora", "last", "temporal", "frozen"])
def test_gradients_reach_exactly_the_parameters_meant_to_train(method):
    model = adapted(method, tune_text=False)
    stir(model)
    out = model(videos(), texts())
    ((out.video[0] - out.text[1]).square().sum() * out.scale).backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
    assert reached == wanted(method) | SHARED


@pytest.mark.parametrize("method", METHODS)
def test_text_trains_unless_told_otherwise(method):
    trains = {n for n, p in adapted(method).named_parameters() if p.requires_grad}
    assert {n for n in trains if n.startswith("text")} == {
        n for n, _ in adapted(method).named_parameters() if n.startswith("text")
    }
    assert not any(p.requires_grad for p in adapted(method, tune_text=False).text.parameters())


def test_of_the_text_tower_the_projection_alone_can_train():
    trains = {n for n, p in adapted("last", tune_text=False, tune_text_proj=True).named_parameters() if p.requires_grad}
    without = {n for n, p in adapted("last", tune_text=False).named_parameters() if p.requires_grad}
    assert trains == without | {"text_proj.weight"}


@pytest.mark.parametrize("method", METHODS)
def test_every_adaptation_equals_the_unadapted_network_at_step_0(method):
    kind = "factorized" if method == "temporal" else "joint"
    pixels = videos()
    plain = encoder(attention=kind).embed_video(pixels)
    assert torch.equal(adapted(method).embed_video(pixels), plain)


@torch.no_grad()
def test_factorised_attention_at_step_0_equals_the_network_without_it():
    model = encoder(attention="factorized")
    pixels = videos()
    before = model.embed_video(pixels)
    for name, parameter in model.named_parameters():
        if "_time" in name:
            parameter.normal_()
    assert torch.equal(model.embed_video(pixels), before)
    for block in model.vision.blocks:
        block.alpha.fill_(0.5)
    assert not torch.allclose(model.embed_video(pixels), before, atol=1e-3)


@torch.no_grad()
def test_factorised_attention_at_step_0_is_the_frame_level_encoder_of_its_tubelets():
    model = encoder(attention="factorized")
    pixels = videos(1)
    whole = model.vision(pixels).tokens.view(4, 16, -1)
    for step in range(4):
        alone = model.vision.positions.time[step]
        model.vision.positions.time[0].copy_(alone)
        part = model.vision(pixels[:, 2 * step : 2 * step + 2]).tokens[0]
        torch.testing.assert_close(part, whole[step], rtol=1e-5, atol=1e-5)


def test_temporal_attention_starts_from_the_spatial_weights():
    state = encoder(attention="factorized").state_dict()
    for name, value in state.items():
        if "_time" in name:
            twin = name.replace("attn_time", "attn").replace("norm_time", "norm1")
            assert torch.equal(value, state[twin]), name


@pytest.mark.parametrize("method", ["adapters", "lora", "last", "temporal"])
def test_a_training_step_moves_only_what_trains(method):
    model = adapted(method, tune_text=False)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(3):
        out = model(videos(), texts())
        ((out.video[0] - out.text[1]).square().sum() * out.scale).backward()
        optimiser.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == wanted(method) | SHARED


def test_the_patch_projection_can_be_left_alone():
    model = adapted("last", tune_patches=False)
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert {n for n, _ in model.named_parameters() if matches(n, PATCHES)} <= frozen


def test_training_the_last_layers_alone_keeps_no_activations_of_the_others():
    held = []
    model = adapted("last", tune_patches=False, tune_text=False)
    first = model.vision.blocks[0]
    first.register_forward_hook(lambda module, args, out: held.append(out.requires_grad))
    model.embed_video(videos())
    assert held == [False]


def test_the_table_counts_what_each_choice_trains():
    table = {row.method: row for row in trainable_table(preset("factorized-b"))}
    assert set(table) == {"full", "adapters", "lora", "last", "temporal"}
    assert table["full"].share == 1
    front = 1536 * 768 + 768 + 8 * 768
    assert table["adapters"].trainable == 12 * (2 * 64 * 768 + 64 + 768) + front
    joint = {row.method: row for row in trainable_table(preset("longvivit-l"))}
    front = 1536 * 1024 + 1024 + 128 * 1024
    assert joint["lora"].trainable == 24 * 8 * 16 * 1024 + front
    assert joint["last"].trainable == 4 * (12 * 1024**2 + 13 * 1024) + 2048 + front


def test_adaptations_that_have_nothing_to_train_are_refused():
    vision = preset("shortvivit-b").vision
    with pytest.raises(ModelError, match="factorized"):
        trainable_patterns(AdaptConfig("temporal"), vision)
    with pytest.raises(ModelError, match="last 13 of 12"):
        trainable_patterns(AdaptConfig("last", last=13), vision)
