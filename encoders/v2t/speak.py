"""Video-to-text inference: generate texts, and score options by likelihood given a video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from encoders.causal_lm.load import eos_ids
from encoders.causal_lm.scoring import logprobs_from_cache, split_tokens
from encoders.v2t.model import VideoMemory, VideoToText
from encoders.v2t.text import encode, prompt_rows
from tasks.errors import ModelError
from tasks.task import TokenUsage


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a caption is decoded: greedily, or the best of `beams` by log-likelihood / length ** `length_penalty`.

    At least `min_tokens` tokens before the end token, at most `max_tokens` with it. Nothing is sampled.
    """

    max_tokens: int
    min_tokens: int = 0
    beams: int = 1
    length_penalty: float = 1.0
    cache: bool = True

    def __post_init__(self) -> None:
        """Check the limits. Raises ModelError."""
        if self.beams < 1 or not 0 <= self.min_tokens <= self.max_tokens or self.max_tokens < 1:
            raise ModelError(
                f"decoding needs beams >= 1 and 0 <= min_tokens <= max_tokens, max_tokens >= 1; got beams="
                f"{self.beams}, min_tokens={self.min_tokens}, max_tokens={self.max_tokens}"
            )


@dataclass(frozen=True, slots=True)
class Caption:
    """A generated text; `finished` is False if `max_tokens` cut it. Token counts include the end token."""

    text: str
    finished: bool
    prompt_tokens: int
    tokens: int


@torch.inference_mode()
def generate(
    model: VideoToText,
    tokenizer: PreTrainedTokenizerBase,
    memory: VideoMemory,
    prompts: Sequence[str],
    decoding: Decoding,
) -> list[Caption]:
    """Continue `prompts[i]` given video i of `memory`, which holds the videos' keys and values.

    Raises ModelError if a prompt leaves no room in the language model's context.
    """
    rows = prompt_rows(tokenizer, prompts).to(model.lm.device)
    check_room(model, rows.ids.shape[1], decoding.max_tokens)
    ends = eos_ids(model.lm, tokenizer)
    # The model's own config is replaced: its sampling and penalties would otherwise be merged in.
    model.lm.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]  # untyped library
        do_sample=False,
        num_beams=decoding.beams,
        length_penalty=decoding.length_penalty,
        max_new_tokens=decoding.max_tokens,
        min_new_tokens=decoding.min_tokens or None,
        use_cache=decoding.cache,
        eos_token_id=sorted(ends),
        pad_token_id=min(ends),
    )
    with model.attachment.looking_at(memory.repeat(decoding.beams)):
        whole = model.lm.generate(  # type: ignore[operator]  # the mixin's method, untyped here
            inputs=rows.ids, attention_mask=rows.real.long()
        )
    captions = []
    for real, ids in zip(rows.real, whole[:, rows.ids.shape[1] :].tolist(), strict=True):
        end = next((at for at, token in enumerate(ids) if token in ends), None)
        written = ids if end is None else ids[: end + 1]
        text = str(tokenizer.decode(written, skip_special_tokens=True)).strip()
        captions.append(Caption(text, end is not None, int(real.sum()), len(written)))
    return captions


def check_room(model: VideoToText, prompt: int, extra: int) -> None:
    """Raise ModelError if prompt and reply are longer than the language model's context."""
    context = getattr(model.lm.config.get_text_config(), "max_position_embeddings", None)
    if context is not None and prompt + extra > context:
        raise ModelError(f"a prompt of {prompt} tokens and {extra} more overflow the context of {context}")


@torch.inference_mode()
def score_options(
    model: VideoToText,
    tokenizer: PreTrainedTokenizerBase,
    memory: VideoMemory,
    text: str,
    options: Sequence[str],
    item: str,
) -> tuple[tuple[float, ...], TokenUsage]:
    """Return the mean log-likelihood per token (nats) of each option after `text`, given a memory of one video.

    The prompt is processed once and the options share its cache. Raises ModelError, naming `item`, if an
    option merges with the prompt in the tokenizer, overflows the context or is not finite.
    """
    if len(memory) != 1:
        raise ModelError(f"{item}: options are scored for one video at a time, not {len(memory)}")
    tokens = split_tokens(lambda words: encode(tokenizer, words), text, options, item)
    lengths = [len(ids) for ids in tokens.continuations]
    check_room(model, len(tokens.prompt), max(lengths))
    with model.attachment.looking_at(memory):
        totals = logprobs_from_cache(model.lm, tokens)
    if not all(math.isfinite(total) for total in totals):
        raise ModelError(f"{item}: the model gave a log-likelihood that is not finite")
    usage = TokenUsage(prompt=len(tokens.prompt), completion=sum(lengths))
    return tuple(total / length for total, length in zip(totals, lengths, strict=True)), usage
