"""Who turns a chat into token ids for an engine that takes token ids: the model's tokenizer here, or its server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from baselines.llm.limits import check_room, describe_chat
from baselines.llm.protocol import Chat
from encoders.causal_lm.scoring import ScoringTokens, split_tokens
from tasks.task import JsonValue


class PromptWriter(Protocol):
    """Renders chats by the model's own template and encodes text with its own tokenizer."""

    @property
    def details(self) -> Mapping[str, JsonValue]:
        """What a record says about how prompts are written."""
        ...

    def render(self, chat: Chat) -> str:
        """The prompt as text, up to and including `reply_start`."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of a rendered prompt."""
        ...

    def quote(self, text: str) -> str:
        """Text from outside as it may stand behind a rendered prompt: nothing in it is a control token."""
        ...


def write_prompts(
    writer: PromptWriter, chats: Sequence[Chat], max_tokens: int, *, context: int, model: str
) -> list[list[int]]:
    """Token ids of each chat. Raises ModelError where one leaves no room for `max_tokens`."""
    prompts = []
    for index, chat in enumerate(chats):
        ids = writer.encode(writer.render(chat))
        check_room(describe_chat(index, chat), len(ids), max_tokens, "the reply", context=context, model=model)
        prompts.append(ids)
    return prompts


def write_scoring(
    writer: PromptWriter,
    chats: Sequence[Chat],
    continuations: Sequence[Sequence[str]],
    *,
    context: int,
    model: str,
) -> list[ScoringTokens]:
    """Token ids of each chat and its continuations. Raises ModelError where they don't fit or can't be split.

    One token of room is kept, as these engines always generate one.
    """
    written = []
    for index, (chat, texts) in enumerate(zip(chats, continuations, strict=True)):
        item = describe_chat(index, chat)
        tokens = split_tokens(writer.encode, writer.render(chat), texts, item, writer.quote)
        longest = max(len(ids) for ids in tokens.continuations) + 1
        check_room(item, len(tokens.prompt), longest, "its longest continuation", context=context, model=model)
        written.append(tokens)
    return written


def letters_of(tokens: ScoringTokens) -> tuple[int, ...] | None:
    """The continuations' tokens where each is a single one: these take one pass together."""
    if any(len(ids) > 1 for ids in tokens.continuations):
        return None
    return tuple(ids[0] for ids in tokens.continuations)
