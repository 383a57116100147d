"""Encoders small enough to test exactly, and videos that differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from encoders.config import EncoderConfig, TextConfig, VisionConfig, preset
from encoders.dual import DualEncoder, build_encoder
from encoders.tokens import TextBatch, byte_tokenizer


def vision(**changes: Any) -> VisionConfig:
    base = VisionConfig(width=48, depth=3, heads=4, mlp=96, size=32, patch=8, frames=8)
    return replace(base, **changes)


def encoder(seed: int = 0, **changes: Any) -> DualEncoder:
    text = TextConfig(width=32, depth=1, heads=2, mlp=64, vocabulary=260, context=32)
    return build_encoder(EncoderConfig("small", vision(**changes), text, embed=24), seed=seed).eval()


def tiny(name: str) -> DualEncoder:
    return build_encoder(preset(name)).eval()


def videos(batch: int = 2, frames: int = 8, size: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, frames, size, size, 3), dtype=torch.uint8, generator=generator)


def still(size: int = 32, frames: int = 8, seed: int = 3) -> Tensor:
    """One frame, repeated: [1, frames, size, size, 3]."""
    return videos(1, 1, size, seed).expand(-1, frames, -1, -1, -1)


def texts(*words: str, context: int = 32) -> TextBatch:
    return byte_tokenizer().batch(words or ("a pan", "an onion"), context)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def stir(module: torch.nn.Module, seed: int = 5) -> None:
    """Move every parameter off its initial value, zeros included."""
    noise = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise))
