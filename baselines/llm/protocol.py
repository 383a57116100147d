"""The small protocol every language model speaks, whatever engine runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tasks.model import Appetite, ModelInfo
from tasks.task import TokenUsage


@dataclass(frozen=True, slots=True)
class Chat:
    """One exchange. `reply_start` is put in the model's mouth: the reply continues it.

    With `choices` the reply is held to be one of them (guided choice).
    """

    user: str
    system: str = ""
    reply_start: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """Generated text without `Chat.reply_start`; `finished` is False when `max_tokens` cut it."""

    text: str
    finished: bool
    usage: TokenUsage


@dataclass(frozen=True, slots=True)
class ContinuationScores:
    """Summed log-likelihood (nats) and token count of each continuation, in order."""

    logprobs: tuple[float, ...]
    tokens: tuple[int, ...]
    usage: TokenUsage

    @property
    def means(self) -> tuple[float, ...]:
        """Mean log-likelihood per token."""
        return tuple(total / n for total, n in zip(self.logprobs, self.tokens, strict=True))


class LanguageModel(Protocol):
    """A chat model that can write and can weigh given continuations."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def appetite(self) -> Appetite:
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
