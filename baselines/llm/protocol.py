"""The protocol of language models, whatever engine runs them, and the checks of prompt lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from encoders.causal_lm.scoring import ScoringTokens, split_tokens
from tasks.errors import ModelError
from tasks.model import BatchHint, ModelInfo
from tasks.task import JsonValue, TokenUsage

if TYPE_CHECKING:
    from encoders.frames import Frames


Form = Literal["video", "images"]
"""How frames are sent: as one video with the times of its frames, or each as an image."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Frames shown before a chat's words, from a segment of video that lasts `duration` seconds.

    `between` holds texts among them, in order, each with the number of the frame that it comes before; texts require
    images, because a video can't contain any.
    """

    frames: Frames
    form: Form
    duration: float
    between: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Chat:
    """One exchange. `reply_start` is prefilled: the reply continues it.

    With `choices` the reply is constrained to one of them (guided choice). The first `shared` characters of `user` may
    also begin other chats: engines with a prefix cache need not read them twice. `shown` holds the frames that a video
    language model sees before `user`. `draw`, the number of the reply among several sampled ones, is added to the seed.
    """

    user: str
    system: str = ""
    reply_start: str = ""
    choices: tuple[str, ...] = ()
    shared: int = 0
    shown: Shown | None = None
    draw: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """Generated text without `Chat.reply_start`; `finished` is False when `max_tokens` cut it.

    `thought` is what a thinking model wrote before its answer; `text` excludes it. `notes` say what became of
    the frames.
    """

    text: str
    finished: bool
    usage: TokenUsage
    thought: str = ""
    notes: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContinuationScores:
    """Summed log-likelihood (nats) and token count of each continuation, in order."""

    logprobs: tuple[float, ...]
    tokens: tuple[int, ...]
    usage: TokenUsage
    notes: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def means(self) -> tuple[float, ...]:
        """Mean log-likelihood per token."""
        return tuple(total / n for total, n in zip(self.logprobs, self.tokens, strict=True))


class LanguageModel(Protocol):
    """A chat model that can generate text and score given continuations."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def batch_hint(self) -> BatchHint:
        """The number of chats per call that makes it fast."""
        ...

    @property
    def context(self) -> int:
        """Maximum length of prompt plus reply, in tokens."""
        ...

    def count_tokens(self, chat: Chat) -> int:
        """Count the tokens of the rendered prompt, including chat template and `reply_start`."""
        ...

    def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
        """Generate replies greedily. Raises ModelError if a prompt leaves no room for the reply.

        Also raises it for chats with choices if the engine can't constrain replies.
        """
        ...

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]:
        """Return log-likelihoods of continuations, processing each prompt once."""
        ...


def describe_chat(index: int, chat: Chat) -> str:
    """Describe a chat by its position and its first and last words, for messages."""
    words = " ".join(chat.user.split())
    return f"chat {index} ('{words[:40]}…{words[-40:]}')" if len(words) > 80 else f"chat {index} ('{words}')"


def check_room(item: str, prompt: int, extra: int, what: str, *, context: int, model: str) -> None:
    """Raise ModelError, naming `item` and the counts, unless `prompt` and `extra` tokens fit the context."""
    if prompt + extra > context:
        raise ModelError(
            f"{item}: {prompt} tokens and {extra} for {what} make {prompt + extra}, "
            f"more than the context of {context} of '{model}'"
        )


def check_max_tokens(max_tokens: int) -> None:
    """Raise ModelError for a reply limit below 1."""
    if max_tokens < 1:
        raise ModelError(f"max_tokens is {max_tokens}, must be at least 1")


def context_limit(model: str, own: int | None, asked: int | None) -> int:
    """Return the maximum length of prompt plus reply: the model's own limit, or a lower given one.

    Raises ModelError.
    """
    if own is None and asked is None:
        raise ModelError(f"model '{model}' states no longest context: give one (-M context=N)")
    if asked is not None and not 1 <= asked <= (own or asked):
        raise ModelError(f"context={asked} is outside 1..{own or '∞'} of model '{model}'")
    return int(asked or own or 0)


class PromptWriter(Protocol):
    """Renders chats by the model's own template and encodes text with its own tokenizer."""

    @property
    def details(self) -> Mapping[str, JsonValue]:
        """Facts for the record about how prompts are written."""
        ...

    def render(self, chat: Chat) -> str:
        """Return the prompt as text, up to and including `reply_start`."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a rendered prompt."""
        ...

    def quote(self, text: str) -> str:
        """Escape text so that no part of it becomes a control token after a rendered prompt."""
        ...


def write_prompts(
    writer: PromptWriter, chats: Sequence[Chat], max_tokens: int, *, context: int, model: str
) -> list[list[int]]:
    """Return the token ids of each chat. Raises ModelError if one leaves no room for `max_tokens`."""
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
    """Return the token ids of each chat and its continuations. Raises ModelError if they don't fit or can't be split.

    Room for one token is kept, because these engines always generate one.
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
    """Return the continuations' tokens if each is a single token, which take one pass together; else None."""
    if any(len(ids) > 1 for ids in tokens.continuations):
        return None
    return tuple(ids[0] for ids in tokens.continuations)
