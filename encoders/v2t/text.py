"""Texts of a language model for video-to-text: their start, captions, and what the loss covers.

Plain text, no chat template (our choice): every text opens with the tokenizer's start token, or its end token if it has
none, so that a caption's first word is predicted too; a caption follows the prompt after a blank and is closed by the
end token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from encoders.causal_lm.scoring import split_tokens
from encoders.control_tokens import encode_text
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class TextRows:
    """Token ids int64 [B, L], `real` [B, L] (False at padding) and `target` [B, L]: tokens that the loss covers."""

    ids: Tensor
    real: Tensor
    target: Tensor

    def to(self, device: torch.device | str) -> TextRows:
        """Move the rows to another device."""
        return TextRows(self.ids.to(device), self.real.to(device), self.target.to(device))


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the token ids of a text after the start token. Raises ModelError for a tokenizer that has none."""
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if not isinstance(start, int):
        raise ModelError("the tokenizer has neither a start nor an end token: a caption could not begin")
    return [start, *encode_text(tokenizer, text)]


def caption_rows(
    tokenizer: PreTrainedTokenizerBase, prompts: str | Sequence[str], captions: Sequence[str], limit: int
) -> TextRows:
    """Return prompt (shared or one each), caption and end token, padded right; the last two are the target.

    Raises ModelError if a caption is empty or longer than `limit` tokens with its prompt.
    """
    if not isinstance(tokenizer.eos_token_id, int):
        raise ModelError("the tokenizer has no end token: a caption could not end")
    rows = []
    own = [prompts] * len(captions) if isinstance(prompts, str) else prompts
    for prompt, caption in zip(own, captions, strict=True):
        behind = f" {caption}" if prompt and caption else caption
        split = split_tokens(lambda text: encode(tokenizer, text), prompt, [behind], f"caption {caption[:40]!r}")
        rows.append((split.prompt, (*split.continuations[0], tokenizer.eos_token_id)))
        length = sum(map(len, rows[-1]))
        if length > limit:
            raise ModelError(f"caption {caption[:40]!r} has {length} tokens with its prompt, more than {limit}")
    longest = max(len(before) + len(words) for before, words in rows)
    ids = torch.full((len(rows), longest), tokenizer.eos_token_id)
    real, target = (torch.zeros(ids.shape, dtype=torch.bool) for _ in range(2))
    for row, (before, words) in enumerate(rows):
        end = len(before) + len(words)
        ids[row, :end] = torch.tensor([*before, *words])
        real[row, :end] = True
        target[row, len(before) : end] = True
    return TextRows(ids, real, target)


def prompt_rows(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> TextRows:
    """Return prompts padded left, as generation needs them, without targets."""
    rows = [encode(tokenizer, prompt) for prompt in prompts]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), rows[0][0])
    real = torch.zeros(ids.shape, dtype=torch.bool)
    for row, tokens in enumerate(rows):
        ids[row, longest - len(tokens) :] = torch.tensor(tokens)
        real[row, longest - len(tokens) :] = True
    return TextRows(ids, real, torch.zeros_like(real))
