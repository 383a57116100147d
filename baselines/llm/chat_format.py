"""From a Chat to token ids: the model's own chat template, or a stated plain format without one.

Only the template writes control tokens: what a chat says is quoted (see encoders.control_tokens).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from baselines.llm.protocol import Chat
from encoders.causal_lm.load import read_tokenizer
from encoders.causal_lm.scoring import ScoringTokens
from encoders.causal_lm.scoring import split_tokens as continuations_of
from encoders.control_tokens import encode_quoted, quote
from tasks.errors import ModelError
from tasks.task import JsonValue

PLAIN_FORMAT = "{system}\\n\\n{user}\\n\\n"
TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What a template, which is a program of the model's, may raise."""


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
    """The prompt as text for `encode`, up to and including `reply_start`. Raises ModelError if the template refuses."""
    system, user, begun = (quote(tokenizer, text) for text in (chat.system, chat.user, chat.reply_start))
    if tokenizer.chat_template is None:
        opening = f"{system}\n\n" if system else ""
        return f"{opening}{user}\n\n{begun}"
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": user})
    try:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    except TEMPLATE_ERRORS as error:
        raise ModelError(f"the model's chat template refuses this chat: {error}") from error
    return f"{text}{begun}"


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a rendered prompt. A template writes the special tokens itself; plain text has none."""
    return encode_quoted(tokenizer, text, add_special_tokens=tokenizer.chat_template is None)


class TokenizerWriter:
    """A PromptWriter with the tokenizer at hand. Threads take turns: the tokenizer's core lends itself to one."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._turn = threading.Lock()

    @property
    def details(self) -> Mapping[str, JsonValue]:
        return describe_format(self._tokenizer)

    def render(self, chat: Chat) -> str:
        return render(self._tokenizer, chat)

    def encode(self, text: str) -> list[int]:
        with self._turn:
            return encode(self._tokenizer, text)

    def quote(self, text: str) -> str:
        return quote(self._tokenizer, text)


def load_writer(source: str) -> TokenizerWriter:
    """The tokenizer of a folder or hub name as a writer; no code of its own is run. Raises ModelError."""
    return TokenizerWriter(read_tokenizer(source))


def split_tokens(
    tokenizer: PreTrainedTokenizerBase, chat: Chat, continuations: Sequence[str], item: str
) -> ScoringTokens:
    """Token ids of a prompt and of each continuation as it is tokenised behind that prompt.

    Raises ModelError as encoders.causal_lm.scoring does.
    """
    tokens = continuations_of(
        partial(encode, tokenizer), render(tokenizer, chat), continuations, item, partial(quote, tokenizer)
    )
    return replace(tokens, shared=shared_tokens(tokenizer, chat, tokens.prompt)) if chat.shared else tokens


def shared_tokens(tokenizer: PreTrainedTokenizerBase, chat: Chat, prompt: Sequence[int]) -> int:
    """How many of the prompt's tokens stand for `chat.shared` and what a template writes before it."""
    beginning = encode(tokenizer, render(tokenizer, replace(chat, user=chat.user[: chat.shared], reply_start="")))
    same = (place for place, (a, b) in enumerate(zip(prompt, beginning, strict=False)) if a != b)
    # The last token of all stays out: something has to be read anew for the first continuation's sake.
    return min(next(same, len(beginning)), len(prompt) - 1)
