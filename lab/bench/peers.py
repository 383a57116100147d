"""Peers' encoders of the same shape as ours, with random weights, to compare forward passes and training steps.

Their pixels arrive like ours, as uint8 on the device, and are normalised there: their own processors, which do so frame
by frame on the CPU, are not measured.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor, nn

from encoders.config import VisionConfig
from lab.bench.result import NotMeasuredError

Build = Callable[[VisionConfig], nn.Module]


class PerVideo(nn.Module):
    """transformers' ViViT on uint8 [B, T, H, W, 3]: joint attention over tubelets, the mean of its tokens."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        transformers = needed("transformers", "transformers")
        shape = transformers.VivitConfig(
            image_size=config.size,
            num_frames=config.frames,
            tubelet_size=[config.tubelet, config.patch, config.patch],
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=config.mlp,
            hidden_act="gelu",
        )
        self.model = transformers.VivitModel(shape, add_pooling_layer=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """[B, width]."""
        dtype = next(self.parameters()).dtype
        scaled = ((pixels.to(dtype) / 255 - 0.5) / 0.25).movedim(-1, 2)
        pooled: Tensor = self.model(scaled).last_hidden_state.mean(1)
        return pooled


class PerFrame(nn.Module):
    """open_clip's vision transformer on every frame of uint8 [B, T, H, W, 3], the mean of the frames' vectors."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        needed("open_clip", "open_clip_torch")
        from open_clip.transformer import VisionTransformer

        self.model = VisionTransformer(
            config.size, config.patch, config.width, config.depth, config.heads, config.mlp / config.width,
            output_dim=config.width,
        )  # fmt: skip

    def forward(self, pixels: Tensor) -> Tensor:
        """[B, width]."""
        dtype = next(self.parameters()).dtype
        frames = pixels.flatten(0, 1).to(dtype).movedim(-1, 1)
        vectors: Tensor = self.model((frames / 255 - 0.5) / 0.25)
        return vectors.view(*pixels.shape[:2], -1).mean(1)


def build_peer(build: Build, config: VisionConfig, device: torch.device) -> nn.Module:
    """Build a peer in bf16 on the device. Raises NotMeasuredError if its library is not installed."""
    with torch.device(device):
        return build(config).to(torch.bfloat16)


def needed(module: str, package: str) -> ModuleType:
    """Import a library. Raises NotMeasuredError if it, or a dependency, is not installed."""
    if find_spec(module.partition(".")[0]) is None:  # of a part of a missing package it raises
        raise NotMeasuredError(f"{package} is not installed")
    try:
        return import_module(module)
    except (ImportError, RuntimeError) as error:
        raise NotMeasuredError(f"{package} can't be imported: {error}".splitlines()[0]) from error
