"""Against implementations that share no code with ours: of transformers, timm and torch."""

import pytest
import torch
from torch import nn

from encoders.vit import Attention, FactorizedBlock
from tests.encoders.small import encoder, stir, videos
from tests.encoders.vivit import vivit_of


def scaled(pixels, config):
    mean, std = torch.tensor(config.pixel_mean), torch.tensor(config.pixel_std)
    return ((pixels / 255 - mean) / std).movedim(-1, 2)  # [B, T, 3, H, W]


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"tubelet": 4}, {"patch": 16}])
def test_joint_attention_over_tubelets_is_transformers_vivit(changes):
    model = encoder(**changes)
    stir(model)
    tower, pixels = model.vision, videos(2)
    reference = vivit_of(tower)
    x = reference.embeddings.patch_embeddings(scaled(pixels, tower.config))
    x = x + reference.embeddings.position_embeddings[:, 1:]
    for layer in reference.layers:
        x = layer(x)
    expected = reference.layernorm(x)  # without ViViT's class token, which the paper does not have
    torch.testing.assert_close(tower(pixels).tokens, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_one_step_with_a_class_token_is_the_whole_of_transformers_vivit():
    model = encoder(class_token=True, pool="class", frames=2)
    stir(model)
    pixels = videos(3, 2)
    expected = vivit_of(model.vision)(scaled(pixels, model.config.vision)).last_hidden_state
    out = model.vision(pixels)
    torch.testing.assert_close(out.pooled, expected[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out.tokens, expected[:, 1:], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_frame_level_encoder_is_timm_s_vit_on_each_frame():
    timm = pytest.importorskip("timm")
    model = encoder(attention="frame", patches="image", class_token=True, pool="class", eps=1e-6)
    stir(model)
    tower, pixels = model.vision, videos(1, 5)[0]
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 4, "mlp_ratio": 2}
    reference = timm.models.VisionTransformer(**shape, num_classes=0).eval()
    own = tower.state_dict()
    state = {name: own[name] for name in reference.state_dict() if name.startswith("blocks.")}
    kernel = own["image.proj.weight"].view(48, 8, 8, 3).permute(0, 3, 1, 2)
    state |= {"patch_embed.proj.weight": kernel, "patch_embed.proj.bias": own["image.proj.bias"]}
    state |= {"norm.weight": own["pool.norm.weight"], "norm.bias": own["pool.norm.bias"]}
    state["cls_token"] = own["class_token"][None, None]
    state["pos_embed"] = torch.cat([torch.zeros(1, 48), own["positions.space"]])[None]
    reference.load_state_dict(state)
    expected = reference(scaled(pixels[None], tower.config)[0])
    torch.testing.assert_close(tower(pixels[:, None]).pooled, expected, rtol=1e-4, atol=1e-4)


def torch_attention(own: Attention):
    reference = nn.MultiheadAttention(own.proj.in_features, own.heads, batch_first=True)
    reference.load_state_dict(
        {
            "in_proj_weight": own.qkv.weight,
            "in_proj_bias": own.qkv.bias,
            "out_proj.weight": own.proj.weight,
            "out_proj.bias": own.proj.bias,
        }
    )
    return lambda rows: reference(rows, rows, rows, need_weights=False)[0]


@torch.no_grad()
def test_factorised_attention_joins_each_place_with_itself_at_other_times():
    block = FactorizedBlock(16, 2, 32, "gelu", 1e-5)
    stir(block)
    x = torch.randn(2, 5, 3, 16)
    spatial, temporal = torch_attention(block.attn), torch_attention(block.attn_time)
    h = x.clone()
    for step in range(5):
        h[:, step] += spatial(block.norm1(x[:, step]))
    before = block.norm_time(h)
    for slot in range(3):
        h[:, :, slot] += torch.tanh(block.alpha) * temporal(before[:, :, slot])
    torch.testing.assert_close(block(x), h + block.mlp(block.norm2(h)), rtol=1e-4, atol=1e-5)
