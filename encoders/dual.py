"""The dual encoder: a vision and a text tower, a shared space, a learnt temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.adapt import add_modules, freeze, trainable_patterns
from encoders.config import AdaptConfig, EncoderConfig
from encoders.init import initialise
from encoders.text import text_tower
from encoders.tokens import TextBatch
from encoders.vision import VisionTower

MAX_SCALE = math.log(100.0)
"""Ceiling of the log-scale, as in CLIP."""


@dataclass(frozen=True, slots=True)
class DualOutput:
    """Unit vectors float32 [B, E] and [N, E], and the factor of their similarities (1 / temperature)."""

    video: Tensor
    text: Tensor
    scale: Tensor


class DualEncoder(nn.Module):
    """Video and text into one space. `forward` does both at once, as DDP and FSDP want it."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionTower(config.vision)
        self.text = text_tower(config.text)
        self.vision_proj = nn.Linear(config.vision.out_width, config.embed, bias=False)
        self.text_proj = nn.Linear(config.text.width, config.embed, bias=False)
        # One element, not a scalar: FSDP shards parameters along their first axis.
        self.log_scale = nn.Parameter(torch.full((1,), math.log(1 / config.temperature)))

    def embed_video(self, pixels: Tensor, keep: Tensor | None = None) -> Tensor:
        """uint8 [B, T, H, W, 3] → unit vectors float32 [B, E]; `keep` as in encoders.masking."""
        return unit(self.vision_proj(self.vision(pixels, keep).pooled))

    def embed_text(self, batch: TextBatch) -> Tensor:
        """Unit vectors float32 [texts, E]."""
        return unit(self.text_proj(self.text(batch)))

    @property
    def scale(self) -> Tensor:
        """1 / temperature, at most 100: a float32 scalar."""
        return bounded_scale(self.log_scale).squeeze(0)

    def forward(self, pixels: Tensor, batch: TextBatch, keep: Tensor | None = None) -> DualOutput:
        return DualOutput(self.embed_video(pixels, keep), self.embed_text(batch), self.scale)


def bounded_scale(log_scale: Tensor) -> Tensor:
    """The factor that a log-scale stands for, at most 100, with a gradient at that ceiling too.

    Published CLIP weights stand there; behind a plain clamp theirs would have no gradient and never come down.
    """
    value = log_scale.float()
    return (value + (value.clamp(max=MAX_SCALE) - value).detach()).exp()


def unit(vectors: Tensor) -> Tensor:
    """Vectors at length 1, in float32."""
    return functional.normalize(vectors.float(), dim=-1)


def similarities(output: DualOutput) -> Tensor:
    """Scaled cosine similarities [videos, texts]."""
    return output.scale * output.video @ output.text.T


def contrastive_loss(output: DualOutput) -> Tensor:
    """CLIP's symmetric NCE loss; video i belongs to text i (paper, pre-training)."""
    logits = similarities(output)
    target = torch.arange(len(logits), device=logits.device)
    both = functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    return both / 2


def build_encoder(config: EncoderConfig, *, seed: int = 0) -> DualEncoder:
    """A randomly initialised encoder, the same for the same seed; global random state is left alone.

    `config.adapt` decides which parameters require gradients.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = DualEncoder(config)
        initialise(encoder)
        add_modules(encoder.vision, config.adapt)
    freeze(encoder, trainable_patterns(config.adapt, config.vision))
    return encoder


def adapt_encoder(encoder: DualEncoder, adapt: AdaptConfig, *, seed: int = 0) -> DualEncoder:
    """Adapt a loaded encoder in place: add the method's modules, freeze the rest."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        add_modules(encoder.vision, adapt)
    encoder.config = replace(encoder.config, adapt=adapt)
    freeze(encoder, trainable_patterns(adapt, encoder.config.vision))
    return encoder
