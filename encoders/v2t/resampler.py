"""The Perceiver resampler: a few learnt queries read the video's spatial tokens (paper, video-to-text)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.blocks import Mlp
from encoders.v2t.config import VideoToTextConfig
from encoders.v2t.cross_attention import CrossAttention


class ResamplerLayer(nn.Module):
    """Latents attend to tokens and to themselves, then a feed-forward, both with residuals (after Flamingo)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm_latents = nn.LayerNorm(width)
        self.norm_tokens = nn.LayerNorm(width)
        self.attn = CrossAttention(width, width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = Mlp(width, hidden, "gelu")

    def forward(self, latents: Tensor, tokens: Tensor) -> Tensor:
        """Latents [B, L, width], tokens [B, N, width] → latents."""
        queries = self.norm_latents(latents)
        context = torch.cat([self.norm_tokens(tokens), queries], 1)
        latents = latents + self.attn(queries, self.attn.keys_values(context))
        out: Tensor = latents + self.mlp(self.norm_mlp(latents))
        return out


class Resampler(nn.Module):
    """Spatial tokens [B, places, vision_width] → latents [B, latents, width].

    No positions are added: the tower's tokens carry theirs.
    """

    def __init__(self, config: VideoToTextConfig) -> None:
        super().__init__()
        self.proj = nn.Linear(config.vision_width, config.width)
        self.latents = nn.Parameter(torch.empty(config.latents, config.width))
        self.layers = nn.ModuleList(
            ResamplerLayer(config.width, config.heads, config.mlp_ratio * config.width) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.proj(tokens)
        latents = self.latents.to(tokens.dtype).expand(len(tokens), -1, -1)
        for layer in self.layers:
            latents = layer(latents, tokens)
        out: Tensor = self.norm(latents)
        return out
