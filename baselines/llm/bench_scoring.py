"""Side-by-side measure of scoring options from a shared cache and each from scratch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from baselines.llm.protocol import Chat, ContinuationScores


class BothWays(Protocol):
    """A language model that can score either way."""

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]: ...

    def score_from_scratch(
        self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]
    ) -> list[ContinuationScores]: ...


@dataclass(frozen=True, slots=True)
class ScoringComparison:
    """Seconds each way over the same chats, and how far the results agree.

    `prompt_tokens` are the prompts', each counted once; `same_choices` counts chats whose best
    continuation (by mean log-likelihood) is the same; `largest_difference` is between means, in nats.
    """

    chats: int
    prompt_tokens: int
    cached_seconds: float
    scratch_seconds: float
    same_choices: int
    largest_difference: float

    @property
    def speedup(self) -> float:
        """Times faster from the shared cache."""
        return self.scratch_seconds / self.cached_seconds


def compare_scoring(llm: BothWays, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> ScoringComparison:
    """Score every chat both ways in turn, so that other load on the machine falls on both alike.

    The first chat is scored once beforehand, unmeasured, to warm up. Raises ValueError without chats.
    """
    if not chats:
        raise ValueError("nothing to compare: no chats")
    llm.score(chats[:1], continuations[:1])
    seconds = [0.0, 0.0]
    tokens = same = 0
    largest = 0.0
    for chat, texts in zip(chats, continuations, strict=True):
        started = time.perf_counter()
        cached = llm.score([chat], [texts])[0]
        halfway = time.perf_counter()
        scratch = llm.score_from_scratch([chat], [texts])[0]
        seconds[0] += halfway - started
        seconds[1] += time.perf_counter() - halfway
        tokens += cached.usage.prompt
        same += _best(cached) == _best(scratch)
        largest = max(largest, *(abs(a - b) for a, b in zip(cached.means, scratch.means, strict=True)))
    return ScoringComparison(len(chats), tokens, seconds[0], seconds[1], same, largest)


def _best(scores: ContinuationScores) -> int:
    return scores.means.index(max(scores.means))
