"""The small protocol that every language model speaks, whatever engine runs it, and how prompts are fitted into it."""

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
"""How frames travel: as one video with the times of its frames, or each as a picture of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Frames that stand before a chat's words, of a stretch of video that lasts `duration` seconds.

    `between` are texts among them, each with the number of the frame that it stands before, in order; they go with
    pictures, as a video has none.
    """

    frames: Frames
    form: Form
    duration: float
    between: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Chat:
    """One exchange. `reply_start` is put in the model's mouth: the reply continues it.

    With `choices` the reply is held to be one of them (guided choice). `draw` says which of several replies is wanted
    where they are drawn: it is added to the seed. The first `shared` characters of `user` may be
    another chat's too: engines that keep what they have read need not read them twice. `shown` is what a model that
    sees is shown before it reads `user`.
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

    `thought` is what a thinking model wrote before its answer, which is no part of `text`. `notes` say what became of
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
    """A chat model that can write and can weigh given continuations."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def batch_hint(self) -> BatchHint:
        """How many chats it wants at once to be fast."""
        ...

    @property
    def context(self) -> int:
        """Longest prompt plus reply, in tokens."""
        ...

    def count_tokens(self, chat: Chat) -> int:
        """Tokens of the rendered prompt, chat template and `reply_start` included."""
        ...

    def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
        """Greedy replies. Raises ModelError when a prompt leaves no room for the reply.

        It also refuses chats with choices where the engine can't hold a reply to them.
        """
        ...

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]:
        """Log-likelihoods of continuations, each prompt processed once."""
        ...


def describe_chat(index: int, chat: Chat) -> str:
    """A chat by its place and its first and last words, for messages."""
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
    """Raise ModelError for a reply of no length."""
    if max_tokens < 1:
        raise ModelError(f"max_tokens is {max_tokens}, must be at least 1")


def context_limit(model: str, own: int | None, asked: int | None) -> int:
    """The longest prompt plus reply: the model's own limit, or less where asked. Raises ModelError."""
    if own is None and asked is None:
        raise ModelError(f"model '{model}' states no longest context: give one (-M context=N)")
    if asked is not None and not 1 <= asked <= (own or asked):
        raise ModelError(f"context={asked} is outside 1..{own or '∞'} of model '{model}'")
    return int(asked or own or 0)


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
