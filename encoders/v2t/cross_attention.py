"""Attention from one sequence to another, and the layer that lets a language model look at a video."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.blocks import attend

KeysValues = tuple[Tensor, Tensor]
"""Keys and values, each [B, heads, N, d]."""


class CrossAttention(nn.Module):
    """Multi-head attention of queries [B, N, width] to a context [B, M, context]."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(context, 2 * width)
        self.proj = nn.Linear(width, width)

    def keys_values(self, context: Tensor) -> KeysValues:
        """What is looked at, computed once however often it is looked at."""
        batch, length, _ = context.shape
        keys, values = self.kv(context).view(batch, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return keys, values

    def forward(self, x: Tensor, seen: KeysValues) -> Tensor:
        """[B, N, width] → the same."""
        batch, length, width = x.shape
        q = self.q(x).view(batch, length, self.heads, -1).transpose(1, 2)
        out: Tensor = self.proj(attend(q, *seen).transpose(1, 2).reshape(batch, length, width))
        return out


class VideoAttention(nn.Module):
    """One language-model layer's look at the video, added to its hidden states before the layer runs.

    `h = h + tanh(gate) · attention(norm(h), video)` with the gate zero at the start; without a gate the
    attention is added as it is. Place, gate and LayerNorm are ours.
    """

    def __init__(self, width: int, context: int, heads: int, *, gated: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attn = CrossAttention(width, context, heads)
        # One element, not a scalar: FSDP shards parameters along their first axis.
        self.gate = nn.Parameter(torch.zeros(1)) if gated else None

    def forward(self, hidden: Tensor, seen: KeysValues) -> Tensor:
        """Hidden states [B, N, width] → the same shape and dtype."""
        update: Tensor = self.attn(self.norm(hidden.to(self.norm.weight.dtype)), seen)
        if self.gate is not None:
            update = torch.tanh(self.gate) * update
        return hidden + update.to(hidden.dtype)
