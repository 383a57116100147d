"""CoCa's text decoder with a key-value cache for earlier tokens and for the image.

open_clip's own `CoCa.generate` reads the whole text again for every token, encodes the image once per beam, and
needs a class that transformers no longer has. The weights used here are those of open_clip's modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class DecoderState:
    """Keys and values, [rows, heads, length, width] each, of every layer.

    `image` has one row per image, the others one per text: `rows / images` texts share an image, those of
    the first image first. `length` counts the tokens read.
    """

    image: tuple[Pair, ...]
    unimodal: tuple[Pair, ...]
    multimodal: tuple[Pair, ...]
    length: int = 0

    def rows(self, index: Tensor) -> DecoderState:
        """Select the texts at `index` [rows], which must keep each image's texts together and in order of image."""
        return DecoderState(self.image, _selected(self.unimodal, index), _selected(self.multimodal, index), self.length)


class CocaDecoder:
    """Computes the logits of the next token; `model` is an open_clip CoCa in evaluation mode."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - an untyped library
        self._text = model.text
        self._decoder = model.text_decoder
        self.context: int = model.text.context_length
        self.vocabulary: int = model.text.token_embedding.num_embeddings

    def start(self, image: Tensor, texts: int = 1) -> DecoderState:
        """Return the state before the first token, for `texts` texts per image; `image` is [images, tokens, width]."""
        crossed = tuple(_image_keys(block, image) for block in self._decoder.cross_attn)
        rows = len(image) * texts

        def empty(blocks: Any) -> tuple[Pair, ...]:  # noqa: ANN401
            return tuple(
                (image.new_empty(rows, *_split(block)), image.new_empty(rows, *_split(block))) for block in blocks
            )

        return DecoderState(crossed, empty(self._text.transformer.resblocks), empty(self._decoder.resblocks))

    def step(self, state: DecoderState, tokens: Tensor) -> tuple[Tensor, DecoderState]:
        """Read one more token of each text, `tokens` [rows]; return logits [rows, vocabulary] and the next state.

        A text's class token comes after all others and is seen by none of them, so it is left out here.
        """
        text, decoder = self._text, self._decoder
        embedded = text.token_embedding(tokens) + text.positional_embedding[state.length]
        x = embedded.to(state.image[0][0].dtype)[:, None]
        unimodal, multimodal = [], []
        for block, past in zip(text.transformer.resblocks, state.unimodal, strict=True):
            x, kept = _self_block(block, x, past)
            unimodal.append(kept)
        layers = zip(decoder.resblocks, decoder.cross_attn, state.multimodal, state.image, strict=True)
        for block, cross, past, image in layers:
            x, kept = _self_block(block, x, past)
            multimodal.append(kept)
            x = _cross_block(cross, x, image)
        logits: Tensor = decoder.ln_final(x[:, 0]) @ decoder.text_projection
        return logits, DecoderState(state.image, tuple(unimodal), tuple(multimodal), state.length + 1)


def _selected(layers: tuple[Pair, ...], index: Tensor) -> tuple[Pair, ...]:
    return tuple((keys[index], values[index]) for keys, values in layers)


def _split(block: Any) -> tuple[int, int, int]:  # noqa: ANN401
    attention = block.attn
    return attention.num_heads, 0, attention.head_dim


def _heads(x: Tensor, attention: Any) -> Tensor:  # noqa: ANN401
    """[rows, length, width] → [rows, heads, length, head width]."""
    return x.view(*x.shape[:-1], attention.num_heads, attention.head_dim).transpose(1, 2)


def _image_keys(block: Any, image: Tensor) -> Pair:  # noqa: ANN401
    attention = block.attn
    width = attention.embed_dim
    weight, bias = attention.in_proj_weight[width:], attention.in_proj_bias[width:]
    keys, values = F.linear(block.ln_1_kv(image), weight, bias).chunk(2, dim=-1)
    return _heads(keys, attention), _heads(values, attention)


def _self_block(block: Any, x: Tensor, past: Pair) -> tuple[Tensor, Pair]:  # noqa: ANN401
    attention = block.attn
    parts = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
    query, key, value = (_heads(part, attention) for part in parts)
    keys, values = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
    seen = F.scaled_dot_product_attention(query, keys, values)
    return _rest(block, x, seen.transpose(1, 2).flatten(2)), (keys, values)


def _cross_block(block: Any, x: Tensor, image: Pair) -> Tensor:  # noqa: ANN401
    attention = block.attn
    width = attention.embed_dim
    query = F.linear(block.ln_1(x), attention.in_proj_weight[:width], attention.in_proj_bias[:width])
    # All texts of an image are queries of one row, so that its keys are never repeated.
    keys, values = image
    beside = _heads(query.reshape(len(keys), -1, width), attention)
    seen = F.scaled_dot_product_attention(beside, keys, values)
    return _rest(block, x, seen.transpose(1, 2).flatten(2).reshape(x.shape))


def _rest(block: Any, x: Tensor, seen: Tensor) -> Tensor:  # noqa: ANN401
    """Apply the rest of the block: output projection, feed-forward part and both residuals."""
    x = x + block.ls_1(block.attn.out_proj(seen))
    out: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
    return out
