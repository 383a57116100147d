"""What an OpenAI-compatible server's replies say; whatever can't be read for certain is a fault, not an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baselines.llm.api_client import Json, RefusedError, ServerFaultError, told_in
from baselines.llm.outside import clean, one_line
from tasks.task import TokenUsage

FINISHED = {"stop": True, "length": False}
TEXT_PARTS = frozenset({"text", "output_text"})
REASONING_PARTS = frozenset({"thinking", "reasoning", "redacted_thinking"})
ID_PREFIX = "token_id:"
MOST_TOKENS = 1 << 40
ROUNDING = 1e-5
"""Ours: a logarithm of a softmax in float32 may come out this far above 0."""


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
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal and not message.get("content"):
        raise RefusedError(f"the model refused: {refusal}", 200)
    return _written(_content(message.get("content")), choice, body)


def read_usage(body: Json) -> TokenUsage:
    """Tokens as the server counted them; cached ones only where it tells (vLLM: --enable-prompt-tokens-details)."""
    usage = _part(body, "usage")
    cached = _part(usage, "prompt_tokens_details").get("cached_tokens")
    return TokenUsage(_count(usage.get("prompt_tokens")), _count(cached), _count(usage.get("completion_tokens")))


def read_echoed(body: Json, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
    """Log-likelihood (nats) of every prompt token but the first, of each prompt echoed with `logprobs`.

    Each choice tells those of its prompt and of the one token that was written behind it. Raises RefusedError where
    the server echoes none: it can't weigh options. One token more or less shifts all of them, so it is a fault.
    """
    rows = []
    for choice, prompt in zip(_choices(body, len(prompts)), prompts, strict=True):
        logprobs = _part(choice, "logprobs")
        values = logprobs.get("token_logprobs")
        if not isinstance(values, list) or len(values) <= 1 < len(prompt):
            raise RefusedError("the server echoes no log-likelihoods of prompt tokens", 200)
        if len(values) != len(prompt) + 1:
            raise ServerFaultError(
                f"the server sent log-likelihoods of {len(values)} tokens where {len(prompt)} and one more were asked"
            )
        _check_tokens(logprobs.get("tokens"), prompt)
        rows.append([_logprob(value) for value in values[1 : len(prompt)]])
    return rows


def read_letters(body: Json, ids: Sequence[int]) -> list[float] | None:
    """Log-likelihoods of the tokens `ids` as the first token of one reply; None where some are not told."""
    tops = _part(_choices(body, 1)[0], "logprobs").get("top_logprobs")
    if not isinstance(tops, list) or not tops or not isinstance(tops[0], dict):
        return None
    first = tops[0]
    names = {token: f"{ID_PREFIX}{token}" for token in ids}
    if not all(name in first for name in names.values()):
        return None
    if len(tops) != 1:
        raise ServerFaultError(f"the server sent log-likelihoods of {len(tops)} tokens where one was asked for")
    return [_logprob(first[names[token]]) for token in ids]


def _part(body: Json, name: str) -> Mapping[str, Any]:
    """An object within another; an empty one where there is none."""
    found = body.get(name)
    return found if isinstance(found, dict) else {}


def _check_tokens(told: object, prompt: Sequence[int]) -> None:
    """Where the server tells token ids, they must be the prompt's."""
    if not isinstance(told, list) or not all(isinstance(t, str) and t.startswith(ID_PREFIX) for t in told):
        return
    if told[: len(prompt)] != [f"{ID_PREFIX}{token}" for token in prompt]:
        raise ServerFaultError("the server sent log-likelihoods of other tokens than it was asked for")


def _choices(body: Json, count: int) -> list[Mapping[str, Any]]:
    """The choices in order of their index, as many as were asked for, each once."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        told = told_in(body)
        raise ServerFaultError(f"the server's reply has no choices{f': {told}' if told else ''}")
    if len(choices) != count:
        raise ServerFaultError(f"the server's reply has {len(choices)} choices where {count} were asked for")
    by_index: dict[int, Mapping[str, Any]] = {}
    for place, choice in enumerate(choices):
        index = choice.get("index")
        index = place if index is None else index
        if type(index) is not int:
            raise ServerFaultError(f"the server's reply has a choice whose index is no whole number: {_shown(index)}")
        if index in by_index or not 0 <= index < count:
            twice = "twice" if index in by_index else f"where {count} were asked for"
            raise ServerFaultError(f"the server's reply has choice {index} {twice}")
        by_index[index] = choice
        if choice.get("error"):
            raise ServerFaultError(f"the server's reply holds an error: {told_in(choice) or _shown(choice['error'])}")
    return [by_index[place] for place in range(count)]


def _content(content: object) -> object:
    """A message's text where it comes in parts; those that hold reasoning are left out."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in REASONING_PARTS:
            continue
        text = part.get("text") if kind in TEXT_PARTS else None
        if not isinstance(text, str):
            raise ServerFaultError(f"the server's reply has a part that is no text: {_shown(part)}")
        texts.append(text)
    return "".join(texts)


def _written(text: object, choice: Mapping[str, Any], body: Json) -> Written:
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        raise RefusedError("the server's content filter stopped the reply", 200)
    finished = FINISHED.get(reason) if isinstance(reason, str) else None
    if finished is None:
        raise ServerFaultError(f"the server ended the reply for no usable reason ({_shown(reason)})")
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise ServerFaultError(f"the server's reply has no text: {_shown(text)}")
    if finished and not text.strip():
        raise ServerFaultError("the server sent an empty completion")
    return Written(clean(text), finished, read_usage(body))


def _shown(value: object) -> str:
    """A value of the wrong kind, for a message."""
    return one_line(repr(value), longest=80)


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else 0


def _logprob(value: object) -> float:
    """A log-likelihood: a number, finite, and not positive but for the last bits of a sum."""
    number = float(value) if type(value) is float or (type(value) is int and abs(value) <= MOST_TOKENS) else math.nan
    if not math.isfinite(number):
        raise ServerFaultError(f"the server sent a log-likelihood that is no number: {_shown(value)}")
    if number > ROUNDING:
        raise ServerFaultError(f"the server sent a log-likelihood above 0, which none can be: {_shown(value)}")
    return min(number, 0.0)
