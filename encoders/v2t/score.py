"""Options weighed by likelihood in sight of a video: the route `options-loglik`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from encoders.causal_lm.continuations import split_tokens
from encoders.causal_lm.scoring import logprobs_from_cache
from encoders.v2t.connector import VideoMemory
from encoders.v2t.generate import check_room
from encoders.v2t.model import VideoToText
from encoders.v2t.text import encode
from tasks.errors import ModelError
from tasks.task import TokenUsage


@torch.inference_mode()
def score_options(
    model: VideoToText,
    tokenizer: PreTrainedTokenizerBase,
    memory: VideoMemory,
    text: str,
    options: Sequence[str],
    item: str,
) -> tuple[tuple[float, ...], TokenUsage]:
    """Mean log-likelihood per token (nats) of each option behind `text`, in sight of a memory of one video.

    The prompt runs once and the options share its cache. Raises ModelError, naming `item`, when an
    option merges with the prompt in the tokenizer, overflows the context or is not finite.
    """
    if len(memory) != 1:
        raise ModelError(f"{item}: options are weighed for one video at a time, not {len(memory)}")
    tokens = split_tokens(lambda words: encode(tokenizer, words), text, options, item)
    lengths = [len(ids) for ids in tokens.continuations]
    check_room(model, len(tokens.prompt), max(lengths))
    with model.attachment.looking_at(memory):
        totals = logprobs_from_cache(model.lm, tokens)
    if not all(math.isfinite(total) for total in totals):
        raise ModelError(f"{item}: the model gave a log-likelihood that is not finite")
    usage = TokenUsage(prompt=len(tokens.prompt), completion=sum(lengths))
    return tuple(total / length for total, length in zip(totals, lengths, strict=True)), usage
