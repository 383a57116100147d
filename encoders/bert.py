"""BERT as a text tower, its parts and weights named as in transformers.

Written out because transformers' own takes three seconds to import, half of what a tiny encoder's run of a hundred
questions takes. A test holds both to the same bits: weights drawn from a seed, outputs, gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.config import TextConfig
from encoders.vit import activation

INIT_STD = 0.02
TYPES = 2


class BertEmbeddings(nn.Module):
    """The sum of word, type and position, normalised; every token is of the first type."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocabulary, config.width, padding_idx=0)
        self.position_embeddings = nn.Embedding(config.context, config.width)
        self.token_type_embeddings = nn.Embedding(TYPES, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, ids: Tensor) -> Tensor:
        """int64 [C, L] → [C, L, width]."""
        places = torch.arange(ids.shape[1], device=ids.device)[None]
        words = self.word_embeddings(ids) + self.token_type_embeddings(torch.zeros_like(ids))
        embedded: Tensor = self.LayerNorm(words + self.position_embeddings(places))
        return embedded


class BertSelfAttention(nn.Module):
    """Attention between all tokens of a chunk; `plain` does without SDPA."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.plain = False
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width)
        self.value = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[C, L, width] → the same; `mask` is bool [C, 1, L, L], None where no chunk is padded."""
        query, key, value = (
            part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        if self.plain:
            weights = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
            if mask is not None:
                least = torch.finfo(weights.dtype).min
                weights = weights + torch.zeros_like(mask, dtype=weights.dtype).masked_fill(~mask, least)
            mixed: Tensor = functional.softmax(weights, dim=-1) @ value
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return mixed.transpose(1, 2).flatten(2)


class BertOutput(nn.Module):
    """A projection, added to what went in, normalised."""

    def __init__(self, inner: int, config: TextConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        normalised: Tensor = self.LayerNorm(self.dense(x) + before)
        return normalised


class BertLayer(nn.Module):
    """Attention, then a feed-forward part, each normalised after its sum."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": BertSelfAttention(config), "output": BertOutput(config.width, config)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(config.width, config.mlp)})
        self.output = BertOutput(config.mlp, config)
        self.act = activation(config.activation)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.attention["output"](self.attention["self"](x, mask), x)
        widened: Tensor = self.output(self.act(self.intermediate["dense"](x)), x)
        return widened


class Bert(nn.Module):
    """The tokens' outputs, without a pooler and without dropout."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embeddings = BertEmbeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(BertLayer(config) for _ in range(config.depth))})
        self.apply(initialise)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """int64 [C, L] and bool [C, L], True at real tokens → [C, L, width]."""
        length = ids.shape[1]
        wide = None if mask.all() else mask[:, None, None, :].expand(-1, 1, length, length)
        x: Tensor = self.embeddings(ids)
        for layer in self.layers:
            x = layer(x, wide)
        return x

    @property
    def layers(self) -> list[BertLayer]:
        """The layers in order."""
        return [module for module in self.encoder.modules() if isinstance(module, BertLayer)]

    def use_plain_attention(self) -> None:
        """Do without SDPA."""
        for layer in self.layers:
            for part in layer.modules():
                if isinstance(part, BertSelfAttention):
                    part.plain = True


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Draw a part's weights as BERT does: a small normal, the padding's embedding and biases zero."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INIT_STD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        module.weight[module.padding_idx].zero_()
