"""What an OpenAI-compatible server's replies say; whatever can't be read for certain is a fault, not an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baselines.llm.api_client import Json, RefusedError, ServerFaultError
from tasks.task import TokenUsage

FINISHED = {"stop": True, "length": False}


@dataclass(frozen=True, slots=True)
class Written:
    """A completion: its text, whether it ended by itself, and the tokens the server counted."""

    text: str
    finished: bool
    usage: TokenUsage


def read_completion(body: Json) -> Written:
    """The text of `/completions` with one choice."""
    choice = _choices(body, 1)[0]
    return _written(choice.get("text"), choice, body)


def read_chat(body: Json) -> Written:
    """The text of `/chat/completions` with one choice; reasoning sent apart from the content is left out."""
    choice = _choices(body, 1)[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        raise ServerFaultError("the server's reply has no message")
    return _written(message.get("content"), choice, body)


def read_usage(body: Json) -> TokenUsage:
    """Tokens as the server counted them; cached ones only where it tells (vLLM: --enable-prompt-tokens-details)."""
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return TokenUsage()
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return TokenUsage(_count(usage.get("prompt_tokens")), _count(cached), _count(usage.get("completion_tokens")))


def read_echoed(body: Json, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
    """Log-likelihood (nats) of every prompt token but the first, of each prompt echoed with `logprobs`.

    Raises RefusedError where the server echoes no log-likelihoods: it can't weigh options.
    """
    rows = []
    for choice, prompt in zip(_choices(body, len(prompts)), prompts, strict=True):
        logprobs = choice.get("logprobs")
        values = logprobs.get("token_logprobs") if isinstance(logprobs, dict) else None
        if not isinstance(values, list) or len(values) < len(prompt):
            raise RefusedError("the server echoes no log-likelihoods of prompt tokens", 200)
        rows.append([_logprob(value) for value in values[1 : len(prompt)]])
    return rows


def read_letters(body: Json, ids: Sequence[int]) -> list[float] | None:
    """Log-likelihoods of the tokens `ids` as the first token of one reply; None where some are not told."""
    logprobs = _choices(body, 1)[0].get("logprobs")
    tops = logprobs.get("top_logprobs") if isinstance(logprobs, dict) else None
    first = tops[0] if isinstance(tops, list) and tops else None
    if not isinstance(first, dict):
        return None
    names = [f"token_id:{token}" for token in ids]
    return [_logprob(first[name]) for name in names] if all(name in first for name in names) else None


def _choices(body: Json, count: int) -> list[Mapping[str, Any]]:
    """The choices in order of their index, as many as were asked for."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise ServerFaultError("the server's reply has no choices")
    by_index = {choice.get("index", place): choice for place, choice in enumerate(choices)}
    if sorted(by_index) != list(range(count)):
        raise ServerFaultError(f"the server's reply has {len(choices)} choices where {count} were asked for")
    return [by_index[place] for place in range(count)]


def _written(text: object, choice: Mapping[str, Any], body: Json) -> Written:
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        raise RefusedError("the server's content filter stopped the reply", 200)
    if reason not in FINISHED:
        raise ServerFaultError(f"the server ended the reply for no usable reason ({reason!r})")
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise ServerFaultError("the server's reply has no text")
    if FINISHED[reason] and not text.strip():
        raise ServerFaultError("the server sent an empty completion")
    return Written(text, FINISHED[reason], read_usage(body))


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _logprob(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ServerFaultError(f"the server sent a log-likelihood that is no number: {value!r}")
    return float(value)
