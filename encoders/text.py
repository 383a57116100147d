"""The text towers: BERT shapes with the token average (paper), and CLIP's causal transformer.

BERT is transformers' own, randomly initialised. CLIP's is built from our blocks, so that a tower
converted from open_clip runs and loads without it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.blocks import Block
from encoders.config import TextConfig
from encoders.tokens import TextBatch


def pool_chunks(vectors: Tensor, weights: Tensor, batch: TextBatch) -> Tensor:
    """Weighted mean of chunk vectors [C, D] over the chunks of each text: [texts, D]."""
    weights = weights.to(vectors.dtype)[:, None]
    sums = vectors.new_zeros(batch.texts, vectors.shape[1]).index_add(0, batch.owner, vectors * weights)
    total = vectors.new_zeros(batch.texts, 1).index_add(0, batch.owner, weights)
    return sums / total


class BertTower(nn.Module):
    """Average over the token outputs of transformers' BERT, start and end tokens included (ours)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        shape = BertConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=config.mlp,
            max_position_embeddings=config.context,
            hidden_act=config.activation,
            layer_norm_eps=config.eps,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.bert = BertModel(shape, add_pooling_layer=False)

    def use_plain_attention(self) -> None:
        """Leave SDPA: on CPU its backward pass takes three times as long (see encoders.blocks)."""
        self.bert.set_attn_implementation("eager")

    def forward(self, batch: TextBatch) -> Tensor:
        """[texts, width]: every token of a text counts the same, whatever chunk it fell into."""
        out = self.bert(input_ids=batch.ids, attention_mask=batch.mask.long()).last_hidden_state
        real = batch.mask[..., None].to(out.dtype)
        lengths = batch.mask.sum(1)
        means = (out * real).sum(1) / lengths[:, None].to(out.dtype)
        return pool_chunks(means, lengths, batch)


class ClipTower(nn.Module):
    """CLIP's text transformer; a text of several chunks is the mean of their vectors (ours)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Parameter(torch.empty(config.context, config.width))
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp, config.activation, config.eps) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, batch: TextBatch) -> Tensor:
        """[texts, width]: the output at each chunk's end token."""
        x = self.embedding(batch.ids) + self.positions[: batch.ids.shape[1]]
        for block in self.blocks:
            x = block(x, causal=True)
        end = batch.mask.sum(1) - 1
        ends = x[torch.arange(len(x), device=x.device), end]
        return pool_chunks(self.norm(ends), torch.ones_like(end), batch)


def text_tower(config: TextConfig) -> nn.Module:
    """The tower a config describes: TextBatch → [texts, width]."""
    return BertTower(config) if config.kind == "bert" else ClipTower(config)
