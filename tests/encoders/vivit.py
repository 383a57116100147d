"""transformers' ViViT with our weights: the independent implementation that tests compare with."""

from __future__ import annotations

import torch
from transformers import VivitConfig, VivitModel

from encoders.vit import VisionTower


@torch.no_grad()
def vivit_of(tower: VisionTower) -> VivitModel:
    """transformers' ViViT of the same shape, with the tower's weights."""
    config = tower.config
    shape = VivitConfig(
        image_size=config.size,
        num_frames=config.frames,
        tubelet_size=[config.tubelet, config.patch, config.patch],
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp,
        hidden_act="gelu",
        layer_norm_eps=config.eps,
    )
    own = tower.state_dict()
    kernel = own["video.0.proj.weight"].view(config.width, config.tubelet, config.patch, config.patch, 3)
    first = own.get("class_token", torch.zeros(config.width))
    places = (own["positions.time"][:, None] + own["positions.space"]).flatten(0, 1)
    state = {
        "embeddings.cls_token": first[None, None],
        "embeddings.position_embeddings": torch.cat([torch.zeros(1, config.width), places])[None],
        "embeddings.patch_embeddings.projection.weight": kernel.permute(0, 4, 1, 2, 3),
        "embeddings.patch_embeddings.projection.bias": own["video.0.proj.bias"],
        "layernorm.weight": own["pool.norm.weight"],
        "layernorm.bias": own["pool.norm.bias"],
    }
    names = {"attn.proj": "attention.o_proj", "norm1": "layernorm_before", "norm2": "layernorm_after"}
    names |= {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    for layer in range(config.depth):
        for kind in ("weight", "bias"):
            for mine, theirs in names.items():
                state[f"layers.{layer}.{theirs}.{kind}"] = own[f"blocks.{layer}.{mine}.{kind}"]
            for letter, part in zip("qkv", own[f"blocks.{layer}.attn.qkv.{kind}"].chunk(3), strict=True):
                state[f"layers.{layer}.attention.{letter}_proj.{kind}"] = part
    model = VivitModel(shape, add_pooling_layer=False).eval()
    model.load_state_dict(state)
    return model
