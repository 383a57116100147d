"""From a Chat to token ids: the model's own chat template, or a stated plain format without one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from baselines.llm.protocol import Chat
from tasks.errors import ModelError
from tasks.task import JsonValue

PLAIN_FORMAT = "{system}\\n\\n{user}\\n\\n"


@dataclass(frozen=True, slots=True)
class ScoringTokens:
    """A prompt's token ids and, apart from them, those of each continuation (never empty)."""

    prompt: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...]


def describe_format(tokenizer: PreTrainedTokenizerBase) -> Mapping[str, JsonValue]:
    """What a record says about how prompts are written."""
    template = tokenizer.chat_template
    if template is None:
        return {"chat_format": "plain", "plain_format": PLAIN_FORMAT}
    return {
        "chat_format": "template",
        "chat_template_sha256": hashlib.sha256(str(template).encode()).hexdigest(),
    }


def render(tokenizer: PreTrainedTokenizerBase, chat: Chat) -> str:
    """The prompt as text, up to and including `reply_start`. Raises ModelError if the template refuses."""
    if tokenizer.chat_template is None:
        opening = f"{chat.system}\n\n" if chat.system else ""
        return f"{opening}{chat.user}\n\n{chat.reply_start}"
    messages = [{"role": "system", "content": chat.system}] if chat.system else []
    messages.append({"role": "user", "content": chat.user})
    try:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    except TemplateError as error:
        raise ModelError(f"the model's chat template refuses this chat: {error}") from error
    return f"{text}{chat.reply_start}"


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a rendered prompt. A template writes the special tokens itself; plain text has none."""
    ids: list[int] = tokenizer(text, add_special_tokens=tokenizer.chat_template is None)["input_ids"]
    return ids


def split_tokens(
    tokenizer: PreTrainedTokenizerBase, chat: Chat, continuations: Sequence[str], item: str
) -> ScoringTokens:
    """Token ids of a prompt and of each continuation as it is tokenised behind that prompt.

    Raises ModelError, naming `item`, when a continuation is empty or its first characters would
    merge into the prompt's last token: its likelihood given the prompt would then be undefined.
    """
    if not continuations:
        raise ModelError(f"{item} has no continuation to score")
    text = render(tokenizer, chat)
    prompt = encode(tokenizer, text)
    tails = []
    for number, continuation in enumerate(continuations):
        ids = encode(tokenizer, text + continuation)
        if not continuation:
            raise ModelError(f"{item}: continuation {number} is empty")
        if ids[: len(prompt)] != prompt or len(ids) == len(prompt):
            raise ModelError(
                f"{item}: continuation {number} ({continuation[:40]!r}) merges with the end of the prompt "
                f"({text[-20:]!r}) in the tokenizer; move the blank between them to the continuation"
            )
        tails.append(tuple(ids[len(prompt) :]))
    return ScoringTokens(tuple(prompt), tuple(tails))
