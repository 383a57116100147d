"""From tokens to one vector per video."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.blocks import attend
from encoders.config import VisionConfig


class AttentionPool(nn.Module):
    """One learnt query attends over all tokens (as in CoCa): [B, N, width] → [B, out]."""

    def __init__(self, width: int, out: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.empty(1, out))
        self.norm_q = nn.LayerNorm(out, eps=eps)
        self.norm_kv = nn.LayerNorm(width, eps=eps)
        self.q = nn.Linear(out, out)
        self.k = nn.Linear(width, out)
        self.v = nn.Linear(width, out)
        self.proj = nn.Linear(out, out)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, _ = tokens.shape
        context = self.norm_kv(tokens)
        q = self.q(self.norm_q(self.query)).view(1, 1, self.heads, -1).expand(batch, -1, -1, -1)
        k = self.k(context).view(batch, length, self.heads, -1)
        v = self.v(context).view(batch, length, self.heads, -1)
        out = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        pooled: Tensor = self.proj(out.reshape(batch, -1))
        return pooled


class Pool(nn.Module):
    """The tower's last step: final LayerNorm, pooling, and for frame-level encoders late fusion.

    "mean" averages all space-time tokens (paper); "class" averages the class tokens of the time
    steps; "attention" is `AttentionPool`. Late fusion averages the frames' vectors, or attends
    over them. `norm_after_pool` is where open_clip's average-pooled models have their LayerNorm.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        out = config.out_width
        self.kind, self.frame_level = config.pool, config.attention == "frame"
        self.after = config.norm_after_pool or config.pool == "attention"
        self.norm = nn.LayerNorm(out if self.after else config.width, eps=config.eps)
        self.attention: AttentionPool | None = None
        self.fusion: AttentionPool | None = None
        if config.pool == "attention":
            self.attention = AttentionPool(config.width, out, config.pool_heads, config.eps)
        if config.fusion == "attention":
            self.fusion = AttentionPool(out, out, config.pool_heads, config.eps)

    def forward(self, tokens: Tensor, class_tokens: Tensor | None, steps: int) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, D] and class tokens [B, steps, D] → vector [B, out] and the tokens.

        The tokens come back normalised unless the LayerNorm stands after the pool. A frame-level
        encoder's N is steps · places, in that order.
        """
        if not self.after:
            tokens = self.norm(tokens)
            class_tokens = None if class_tokens is None else self.norm(class_tokens)
        vectors = self._vectors(tokens, class_tokens, steps if self.frame_level else 1)
        if self.after:
            vectors = self.norm(vectors)
        pooled: Tensor = vectors.mean(1) if self.fusion is None else self.fusion(vectors)
        return pooled, tokens

    def _vectors(self, tokens: Tensor, class_tokens: Tensor | None, groups: int) -> Tensor:
        """One vector for each group of tokens, or for each class token: [B, groups, out]."""
        if self.kind == "class" and class_tokens is not None:
            return class_tokens
        batch, _, width = tokens.shape
        rows = tokens.view(batch, groups, -1, width)
        if self.attention is None:
            return rows.mean(2)
        if class_tokens is not None:
            rows = torch.cat([class_tokens.view(batch, groups, -1, width), rows], 2)
        out: Tensor = self.attention(rows.flatten(0, 1)).view(batch, groups, -1)
        return out


def pool_over_time(tokens: Tensor, place: Tensor, places: int) -> Tensor:
    """Mean over time at each place: tokens [B, N, D] at `place` [B, N] → [B, places, D].

    However many frames there were, as many vectors come out. A place of which no token was kept
    gives zeros.
    """
    index = place[..., None].expand_as(tokens)
    empty = tokens.new_zeros(len(tokens), places, tokens.shape[2])
    return empty.scatter_reduce(1, index, tokens, "mean", include_self=False)
