"""Video-to-text small enough to test exactly: tower and language model of a few thousand parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from encoders.v2t.model import VideoToText, build_connector, config_for
from tests.encoders.causal_lm.tiny import llama
from tests.encoders.small import encoder

PLACES = 16


def model(lm: PreTrainedModel | None = None, *, gate: float = 1.5, seed: int = 0, **changes: Any) -> VideoToText:
    """A model whose gates stand open at `gate`, as training would leave them."""
    lm = lm or llama()
    vision = encoder().vision
    config = config_for(vision.config, lm.config, **{"depth": 2, "latents": 5, **changes})
    connector = build_connector(config, seed=seed).eval()
    with torch.no_grad():
        for layer in connector.video_layers:
            if layer.gate is not None:
                layer.gate.fill_(gate)
    return VideoToText(vision, connector, lm)


def spatial(batch: int = 2, seed: int = 0) -> Tensor:
    """Spatial tokens [batch, PLACES, 48] that differ from place to place and more from video to video."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 1, 48, generator=generator) + 0.5 * torch.randn(batch, PLACES, 48, generator=generator)
