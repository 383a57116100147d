"""All that trains in video-to-text: the resampler, and one cross-attention for each language-model layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from encoders.v2t.config import VideoToTextConfig
from encoders.v2t.cross_attention import KeysValues, VideoAttention
from encoders.v2t.resampler import Resampler


@dataclass(frozen=True, slots=True)
class VideoMemory:
    """Keys and values of a batch of videos for each language-model layer: the video, attended to once."""

    layers: tuple[KeysValues, ...]

    def __len__(self) -> int:
        return len(self.layers[0][0])

    def repeat(self, times: int) -> VideoMemory:
        """Each video `times` in a row, as beam search lays out its rows."""
        if times == 1:
            return self
        return VideoMemory(
            tuple((k.repeat_interleave(times, 0), v.repeat_interleave(times, 0)) for k, v in self.layers)
        )


class Connector(nn.Module):
    """Spatial tokens [B, places, vision_width] → what every layer of the language model looks at."""

    def __init__(self, config: VideoToTextConfig) -> None:
        super().__init__()
        self.config = config
        self.resampler = Resampler(config)
        self.layers = nn.ModuleList(
            VideoAttention(config.lm_width, config.width, config.cross_heads, gated=config.gated)
            for _ in range(config.lm_layers)
        )

    @property
    def video_layers(self) -> list[VideoAttention]:
        """The cross-attention of each language-model layer, in order."""
        return [layer for layer in self.layers if isinstance(layer, VideoAttention)]

    def forward(self, tokens: Tensor) -> VideoMemory:
        latents = self.resampler(tokens.to(self.resampler.proj.weight.dtype))
        return VideoMemory(tuple(layer.attn.keys_values(latents) for layer in self.video_layers))


def build_connector(config: VideoToTextConfig, *, seed: int = 0) -> Connector:
    """A randomly initialised connector, the same for the same seed; global random state is left alone.

    Xavier for linear layers, zero biases and gates, latents of unit norm in the mean (ours).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        connector = Connector(config)
        for module in connector.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(connector.resampler.latents, std=config.width**-0.5)
    return connector
