"""A language model asked in the words of a composer: the shared half of the blind model and the aggregator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Protocol

from baselines.llm.protocol import Chat, LanguageModel
from tasks.digests import text_sha256
from tasks.model import ModelInfo, OptionRequest, OptionScores, TextReply, TextRequest, appetite_of
from tasks.routes import Route
from tasks.task import Clip, JsonValue, TokenUsage, Trace


@dataclass(frozen=True, slots=True)
class Composed:
    """What the language model will read, and what to note about how it came about."""

    chat: Chat
    notes: Mapping[str, JsonValue] = field(default_factory=dict)


class Composer(Protocol):
    """Puts a task's prompt about a clip into a chat that leaves `room` tokens of the context free."""

    def __call__(self, clip: Clip, prompt: str, reply_start: str, room: int) -> Composed: ...


class PromptedModel:
    """Offers ChoiceScorer, TextGenerator and Captioner by composing chats for a language model."""

    def __init__(
        self,
        llm: LanguageModel,
        compose: Composer,
        info: ModelInfo,
        route: Route,
        max_tokens: int | None = None,
        *,
        guided: bool = False,
    ) -> None:
        self.info = info
        self.route = route
        self.appetite = appetite_of(llm)
        self._llm = llm
        self._compose = compose
        self._max_tokens = max_tokens
        self._guided = guided

    def score_options(self, requests: Sequence[OptionRequest]) -> list[OptionScores]:
        started = perf_counter()
        composed = []
        for request in requests:
            room = max(self._llm.count_tokens(Chat(user=option)) for option in request.options)
            composed.append(self._compose(request.clip, request.prompt, request.reply_start, room))
        ready = perf_counter()
        results = self._llm.score([c.chat for c in composed], [request.options for request in requests])
        seconds = shares(started, ready, len(requests))
        return [
            OptionScores(result.means, trace_of(c, result.usage, seconds))
            for c, result in zip(composed, results, strict=True)
        ]

    def generate(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        started = perf_counter()
        limit = self._max_tokens or max(request.max_tokens for request in requests)
        composed = [self._compose(request.clip, request.prompt, "", limit) for request in requests]
        ready = perf_counter()
        chats = [
            replace(c.chat, choices=request.choices if self._guided else ())
            for c, request in zip(composed, requests, strict=True)
        ]
        replies = self._llm.generate(chats, limit)
        seconds = shares(started, ready, len(requests))
        return [
            TextReply(reply.text, reply.finished, trace_of(c, reply.usage, seconds))
            for c, reply in zip(composed, replies, strict=True)
        ]

    def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """A caption is free text like any other."""
        return self.generate(requests)


def shares(started: float, ready: float, count: int) -> dict[str, float]:
    """Seconds per item spent on composing prompts and in the language model."""
    return {"compose": (ready - started) / count, "llm": (perf_counter() - ready) / count}


def trace_of(composed: Composed, usage: TokenUsage, seconds: Mapping[str, float]) -> Trace:
    """The record of one exchange."""
    chat = composed.chat
    return Trace(
        prompt_sha256=text_sha256(chat.system, chat.user, chat.reply_start),
        usage=usage,
        seconds=seconds,
        notes=composed.notes,
    )
