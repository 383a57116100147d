"""From a Chat to token ids: the model's own chat template, or a stated plain format without one."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence

from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from baselines.llm.protocol import Chat
from encoders.causal_lm.continuations import ScoringTokens
from encoders.causal_lm.continuations import split_tokens as continuations_of
from tasks.errors import ModelError
from tasks.task import JsonValue

PLAIN_FORMAT = "{system}\\n\\n{user}\\n\\n"


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


def load_writer(source: str) -> TokenizerWriter:
    """The tokenizer of a folder or hub name as a writer; no code of its own is run. Raises ModelError."""
    try:
        return TokenizerWriter(AutoTokenizer.from_pretrained(source))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"can't load tokenizer '{source}': {error}".splitlines()[0]) from error


def split_tokens(
    tokenizer: PreTrainedTokenizerBase, chat: Chat, continuations: Sequence[str], item: str
) -> ScoringTokens:
    """Token ids of a prompt and of each continuation as it is tokenised behind that prompt.

    Raises ModelError as encoders.causal_lm.continuations does.
    """
    return continuations_of(lambda text: encode(tokenizer, text), render(tokenizer, chat), continuations, item)
