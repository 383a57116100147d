from dataclasses import replace

import pytest
import torch

from encoders.config import PRESETS, preset
from encoders.dual import build_encoder
from encoders.vit import pool_over_time, sample_keep
from tasks.errors import ModelError
from tests.encoders.small import encoder, generator, stir, texts, tiny, videos

FRAME = {"attention": "frame", "patches": "image"}
TUBES = {"patches": "tubes", "frames": 32, "size": 64, "patch": 16}
VARIANTS = {
    "joint": {},
    "joint-class-token": {"class_token": True, "pool": "class", "pre_norm": True},
    "joint-attention-pool": {"pool": "attention", "pool_width": 24, "pool_heads": 4},
    "factorized": {"attention": "factorized"},
    "factorized-class-token": {"attention": "factorized", "class_token": True, "pool": "class"},
    "frame": FRAME,
    "frame-attention-fusion": {**FRAME, "fusion": "attention"},
    "frame-attention-pool": {**FRAME, "pool": "attention", "class_token": True},
    "coarse-time": {"tubelet": 4},
    "coarse-space": {"patch": 16},
    "coarse-both": {"tubelet": 4, "patch": 16},
    "tubes": TUBES,
    "norm-after-pool": {"norm_after_pool": True, "activation": "quick_gelu"},
}


def inputs(changes, batch=2, seed=0):
    if changes == TUBES:
        return videos(batch, 32, 64, seed)
    return videos(batch, 8, 32, seed)


@pytest.fixture(params=VARIANTS)
def changes(request):
    return VARIANTS[request.param]


def test_every_variant_gives_every_parameter_a_gradient(changes):
    model = encoder(**changes)
    stir(model)
    pixels = inputs(changes)
    out = model(pixels, texts())
    image = model.embed_video(pixels[:, :1])
    (out.video[0] - out.video[1] + image[0] + out.text[0] * out.scale).square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert without in ([], ["text.bert.embeddings.token_type_embeddings.weight"])


@pytest.mark.parametrize("name", [name for name in PRESETS if name.endswith("tiny")])
def test_every_preset_runs_forward_and_backward_at_its_own_size(name):
    model = tiny(name)
    stir(model)
    pixels = videos(2, 16, 64)
    out = model(pixels, texts(context=128))
    ((out.video[0] - out.text[1]).square().sum() * out.scale).backward()
    front = "vision.image" if name.startswith("imagevit") else "vision.video"
    trained = {n for n, p in model.named_parameters() if p.grad is not None}
    assert out.video.shape == out.text.shape == (2, 128)
    assert {n for n, _ in model.named_parameters() if not n.startswith(("vision.image", "vision.video"))} <= trained
    assert any(n.startswith(front) for n in trained)


@pytest.mark.parametrize("size", ["b", "l"])
@pytest.mark.parametrize("family", ["imagevit", "shortvivit", "longvivit", "factorized"])
def test_large_presets_run_forward_and_backward_when_shrunken(family, size):
    config = preset(f"{family}-{size}")
    vision = replace(config.vision, width=64, heads=4, mlp=128, depth=2, size=32)
    text = replace(config.text, width=64, heads=4, mlp=128, depth=1, vocabulary=300)
    model = build_encoder(replace(config, vision=vision, text=text))
    stir(model)
    out = model(videos(2, 16, 32), texts())
    model.embed_video(videos(2, 1, 32)).sum().add(out.video[0] @ out.text[1] * out.scale).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_different_videos_in_a_batch_give_different_vectors(changes):
    vectors = encoder(**changes).embed_video(inputs(changes, 3))
    assert bool((torch.pdist(vectors) > 1e-3).all())


def test_a_batch_equals_its_videos_one_by_one(changes):
    model, pixels = encoder(**changes), inputs(changes, 3)
    single = torch.cat([model.embed_video(pixels[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(model.embed_video(pixels), single, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in VARIANTS if n != "tubes"])
def test_keeping_every_token_equals_the_dense_network(name):
    model = encoder(**VARIANTS[name])
    frame = model.config.vision.attention == "frame"
    grouped = model.config.vision.attention != "joint"
    dense = model.vision(videos())
    places = 4 if model.config.vision.patch == 16 else 16
    tokens = dense.tokens.shape[1]
    every = torch.arange(places).expand(2, 8 if frame else 1, -1) if grouped else torch.arange(tokens).expand(2, -1)
    kept = model.vision(videos(), every)
    torch.testing.assert_close(kept.pooled, dense.pooled)
    torch.testing.assert_close(kept.tokens, dense.tokens)
    assert torch.equal(kept.time, dense.time)
    assert torch.equal(kept.place, dense.place)


def reference_masked(model, pixels, keep):
    """The dense net's own embeddings and blocks, with attention restricted to kept tokens by a mask."""
    tower = model.vision
    shape = tuple(pixels.shape[1:4])
    patches = tower.video[0]
    x = patches(pixels, tower.norm) + tower.positions(patches.kernel, shape)
    alive = torch.zeros(x.shape[:2], dtype=torch.bool).scatter_(1, keep, value=True)
    for block in tower.blocks:
        batch, length, width = x.shape
        heads = block.attn.heads
        q, k, v = (
            part.view(batch, length, heads, -1).transpose(1, 2) for part in block.attn.qkv(block.norm1(x)).chunk(3, -1)
        )
        scores = (q @ k.transpose(2, 3)) * (width // heads) ** -0.5
        weights = scores.masked_fill(~alive[:, None, None], float("-inf")).softmax(-1)
        x = x + block.attn.proj((weights @ v).transpose(1, 2).flatten(2))
        x = block.feed_forward(x)
    x = tower.pool.norm(x)
    return (x * alive[..., None]).sum(1) / alive.sum(1, keepdim=True)


def test_the_masked_path_equals_dense_attention_restricted_to_kept_tokens():
    model = encoder()
    stir(model)
    keep = sample_keep(model.config.vision, (2, 8, 32, 32), 0.75, generator())
    expected = reference_masked(model, videos(), keep)
    torch.testing.assert_close(model.vision(videos(), keep).pooled, expected, rtol=1e-5, atol=1e-5)


def test_a_masked_vector_depends_on_which_tokens_were_kept():
    model = encoder()
    first, second = (
        model.embed_video(videos(), sample_keep(model.config.vision, (2, 8, 32, 32), 0.75, generator(seed)))
        for seed in (0, 1)
    )
    assert bool((first - second).norm(dim=1).min() > 1e-3)


def test_masked_pixels_cannot_change_the_vector():
    model, pixels = encoder(), videos(1)
    keep = torch.arange(16)[None]  # the first tubelet's 16 places: frames 0 and 1
    changed = pixels.clone()
    changed[:, 2:] = 255 - changed[:, 2:]
    assert torch.equal(model.embed_video(pixels, keep), model.embed_video(changed, keep))


@pytest.mark.parametrize("name", ["joint", "factorized"])
def test_the_order_of_frames_matters_to_a_video_encoder(name):
    model = encoder(**VARIANTS[name])
    stir(model)
    pixels = videos(1)
    backwards = pixels.flip(1)
    assert bool((model.embed_video(pixels) - model.embed_video(backwards)).norm() > 1e-3)


def test_a_frame_level_encoder_averages_its_frames():
    model, pixels = encoder(**FRAME), videos(1)
    frames = model.vision(pixels[0, :, None]).pooled
    torch.testing.assert_close(model.vision(pixels).pooled[0], frames.mean(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["joint", "factorized", "frame", "joint-class-token"])
def test_tokens_come_with_their_time_step_and_place(name):
    model = encoder(**VARIANTS[name])
    out = model.vision(videos())
    steps = 8 if name == "frame" else 4
    assert out.tokens.shape == (2, steps * 16, 48)
    assert out.time[0].tolist() == [step for step in range(steps) for _ in range(16)]
    assert out.place[1].tolist() == list(range(16)) * steps


def test_kept_tokens_carry_the_indices_they_were_kept_by():
    model = encoder()
    keep = torch.tensor([[0, 17, 63], [5, 6, 33]])
    out = model.vision(videos(), keep)
    assert torch.equal(out.time * 16 + out.place, keep)


def test_hidden_states_are_the_tokens_after_each_block():
    model = encoder(norm_after_pool=True)
    out = model.vision(videos(), hidden=True)
    assert len(out.hidden) == 3
    torch.testing.assert_close(out.hidden[-1], out.tokens)
    assert not torch.equal(out.hidden[0], out.hidden[1])


def test_pooling_over_time_is_the_mean_at_each_place():
    model = encoder()
    out = model.vision(videos())
    expected = out.tokens.view(2, 4, 16, -1).mean(1)
    torch.testing.assert_close(pool_over_time(out.tokens, out.place, 16), expected)


def test_pooling_over_time_skips_masked_tokens():
    tokens = torch.tensor([[[1.0], [3.0], [8.0]]])
    place = torch.tensor([[0, 0, 2]])
    assert pool_over_time(tokens, place, 4).flatten().tolist() == [2, 0, 8, 0]


def test_checkpointing_changes_no_vector_and_no_gradient():
    plain, saving = encoder(), encoder()
    saving.vision.checkpointing = True
    for model in (plain, saving):
        model.embed_video(videos())[:, 0].sum().backward()
    for (name, one), two in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, msg=name)


def test_bf16_stays_close_to_fp32():
    model = encoder()
    exact = model.embed_video(videos())
    half = model.to(torch.bfloat16).embed_video(videos())
    assert bool((exact * half).sum(1).min() > 0.999)


@pytest.mark.parametrize("changes_name", ["joint", "factorized", "frame", "joint-class-token"])
def test_the_tower_traces_into_one_graph_without_breaks(changes_name):
    model = encoder(**VARIANTS[changes_name])
    torch.compiler.reset()
    compiled = torch.compile(model.vision, backend="eager", fullgraph=True)
    keep = sample_keep(model.config.vision, (2, 8, 32, 32), 0.5, generator())
    torch.testing.assert_close(compiled(videos(), keep).pooled, model.vision(videos(), keep).pooled)


@pytest.mark.parametrize(
    "pixels",
    [
        torch.zeros(1, 8, 32, 32, 3),
        torch.zeros(8, 32, 32, 3, dtype=torch.uint8),
        torch.zeros(1, 8, 3, 32, 32, dtype=torch.uint8),
    ],
)
def test_pixels_of_another_type_or_layout_are_refused(pixels):
    with pytest.raises(ModelError, match="uint8"):
        encoder().vision(pixels)


def test_building_twice_from_a_seed_gives_the_same_weights_and_leaves_the_global_state():
    before = torch.random.get_rng_state()
    first, second, other = encoder(1), encoder(1), encoder(2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.vision_proj.weight, other.vision_proj.weight)
