"""What replies say: read where it is certain, and a fault by name wherever a field is of another kind or impossible."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pytest

pytest.importorskip("httpx2")
pytest.importorskip("tenacity")

from baselines.llm.client import (
    Json,
    RefusedError,
    ServerFaultError,
    read_chat,
    read_completion,
    read_echoed,
    read_letters,
    read_usage,
)
from tasks.errors import ModelError
from tasks.task import TokenUsage

WRONG = [7, True, 1.5, "", "x", [], ["stop"], {}, {"a": 1}, math.nan]
PROMPTS = [[5, 6, 7], [5, 6, 8]]


def chat(content: object = "A", **choice: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"content": content}, "finish_reason": "stop", **choice}]}


def echoed(*rows: object, **first: object) -> dict[str, Any]:
    choices: list[dict[str, Any]] = [
        {"index": place, "logprobs": {"token_logprobs": row}} for place, row in enumerate(rows)
    ]
    choices[0] |= first
    return {"choices": choices}


GOOD = [None, -1.0, -2.0, -0.5]


def test_an_echo_gives_the_prompts_own_likelihoods() -> None:
    assert read_echoed(echoed(GOOD, [None, -1, -3.5, -9]), PROMPTS) == [[-1.0, -2.0], [-1.0, -3.5]]


def test_choices_are_put_in_order_by_their_index() -> None:
    body = echoed(GOOD, [None, -1.0, -3.5, -9.0])
    body["choices"].reverse()
    assert read_echoed(body, PROMPTS) == [[-1.0, -2.0], [-1.0, -3.5]]


@pytest.mark.parametrize(
    "value", [0.5, 1e-3, 1, True, False, math.nan, math.inf, -math.inf, None, "-1.0", [-1.0], {}, 10**400, -(10**400)]
)
def test_a_likelihood_that_cannot_be_is_a_fault_of_the_server(value: object) -> None:
    with pytest.raises(ServerFaultError, match="log-likelihood"):
        read_echoed(echoed([None, -1.0, value, -0.5], GOOD), PROMPTS)
    tops = [{"token_id:5": -1.0, "token_id:6": value}]
    with pytest.raises(ServerFaultError, match="log-likelihood"):
        read_letters({"choices": [{"logprobs": {"top_logprobs": tops}}]}, [5, 6])


@pytest.mark.parametrize("value", [0, 0.0, -0.0, 1e-7])
def test_certainty_is_a_likelihood_of_nothing(value: float) -> None:
    assert read_echoed(echoed([None, -1.0, value, -0.5], GOOD), PROMPTS)[0] == [-1.0, 0.0]


@pytest.mark.parametrize("row", [GOOD[:-1], [*GOOD, -0.1], [None, *GOOD], GOOD[:2]])
def test_one_token_too_many_or_too_few_is_a_fault(row: list[float | None]) -> None:
    with pytest.raises(ServerFaultError, match=rf"likelihoods of {len(row)} tokens where 3 and one more"):
        read_echoed(echoed(row, GOOD), PROMPTS)


def test_tokens_that_are_not_those_of_the_prompt_are_a_fault() -> None:
    named = [f"token_id:{token}" for token in (5, 6, 7, 9)]
    body = echoed(GOOD, GOOD, logprobs={"token_logprobs": GOOD, "tokens": named})
    assert read_echoed(body, PROMPTS)
    body["choices"][0]["logprobs"]["tokens"] = ["token_id:1", *named[:-1]]
    with pytest.raises(ServerFaultError, match="tokens other than those asked for"):
        read_echoed(body, PROMPTS)


@pytest.mark.parametrize("logprobs", [None, *WRONG, {"token_logprobs": None}, {"token_logprobs": {}}])
def test_a_server_that_echoes_no_likelihoods_is_refused(logprobs: object) -> None:
    with pytest.raises(RefusedError, match="echoes no log-likelihoods"):
        read_echoed(echoed(GOOD, GOOD, logprobs=logprobs), PROMPTS)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 0], "choice 0 twice"),
        ([1, 1], "choice 1 twice"),
        ([0, 1, 1], "3 choices where 2"),
        ([0, 0, 1], "3 choices where 2"),
        ([0], "1 choices where 2"),
        ([0, 2], "choice 2 where 2"),
        ([-1, 0], "choice -1 where 2"),
        ([0, True], "not a whole number: True"),
        ([0, 1.0], r"not a whole number: 1\.0"),
        ([0, "1"], "not a whole number: '1'"),
        ([0, [1]], r"not a whole number: \[1\]"),
        ([0, {}], "not a whole number: {}"),
        ([None, 0], "choice 0 twice"),
    ],
)
def test_each_choice_is_there_once(indices: list[object], message: str) -> None:
    body = {"choices": [{"index": index, "logprobs": {"token_logprobs": GOOD}} for index in indices]}
    with pytest.raises(ServerFaultError, match=message):
        read_echoed(body, PROMPTS)


def test_choices_without_an_index_are_in_order() -> None:
    body = {"choices": [{"logprobs": {"token_logprobs": [None, -n, -n, -1.0]}} for n in (1.0, 2.0)]}
    assert read_echoed(body, PROMPTS) == [[-1.0, -1.0], [-2.0, -2.0]]


@pytest.mark.parametrize("tops", [None, *WRONG, [None], [[]], [{}], [{"A": -1.0}]])
def test_letters_that_are_not_told_are_none(tops: object) -> None:
    assert read_letters({"choices": [{"logprobs": {"top_logprobs": tops}}]}, [5]) is None


def test_letters_of_more_than_one_token_are_a_fault() -> None:
    body = {"choices": [{"logprobs": {"top_logprobs": [{"token_id:5": -1.0}] * 2}}]}
    with pytest.raises(ServerFaultError, match="2 tokens where one"):
        read_letters(body, [5])


@pytest.mark.parametrize("choices", [None, *WRONG, [None], [[]], ["A"]])
@pytest.mark.parametrize("read", [read_chat, read_completion])
def test_choices_of_another_kind_are_a_fault(read: Any, choices: object) -> None:
    with pytest.raises(ServerFaultError, match="choices"):
        read({"choices": choices})


@pytest.mark.parametrize("reason", [None, *WRONG, "tool_calls", "abort"])
def test_a_reason_to_end_that_is_none_is_a_fault(reason: object) -> None:
    with pytest.raises(ServerFaultError, match="an unknown reason"):
        read_chat(chat(finish_reason=reason))


@pytest.mark.parametrize(
    "content", [7, True, 1.5, {}, {"text": "A"}, ["A"], [7], [{"type": "image_url"}], [{"text": "A"}]]
)
def test_content_that_is_no_text_is_a_fault(content: object) -> None:
    with pytest.raises(ServerFaultError, match=r"no text|not text"):
        read_chat(chat(content))


@pytest.mark.parametrize("message", [None, *WRONG])
def test_a_message_that_is_none_is_a_fault(message: object) -> None:
    with pytest.raises(ServerFaultError, match=r"no message|empty completion"):
        read_chat(chat(message=message))


def test_a_text_in_parts_is_put_together_without_its_reasoning() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "B? No."}]},
        {"type": "text", "text": "Answer: "},
        {"type": "text", "text": "A"},
    ]
    assert read_chat(chat(parts)).text == "Answer: A"


@pytest.mark.parametrize("content", [None, "", " \n", []])
def test_reasoning_alone_is_no_answer(content: object) -> None:
    message = {"content": content, "reasoning_content": "It is B.", "reasoning": "It is B."}
    with pytest.raises(ServerFaultError, match="empty completion after 8 characters of reasoning"):
        read_chat(chat(message=message))
    cut = read_chat(chat(message=message, finish_reason="length"))
    assert (cut.text.strip(), cut.finished) == ("", False)


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "function_call"])
@pytest.mark.parametrize("call", [{"tool_calls": [{"function": {"name": "answer"}}]}, {"function_call": {"name": "a"}}])
def test_a_call_of_a_tool_is_told_as_one(reason: str, call: dict[str, object]) -> None:
    with pytest.raises(ServerFaultError, match="called a tool instead"):
        read_chat(chat(message={"content": None, **call}, finish_reason=reason))


def test_a_refusal_is_told_in_its_words() -> None:
    with pytest.raises(RefusedError, match="refused: I can't help"):
        read_chat(chat(message={"content": None, "refusal": "I can't help"}))


@pytest.mark.parametrize(
    "usage", [None, *WRONG, {"prompt_tokens": -1}, {"prompt_tokens": True}, {"prompt_tokens": "9"}]
)
def test_usage_of_another_kind_counts_as_untold(usage: object) -> None:
    assert read_usage({"usage": usage}) == TokenUsage()
    details: Json = {"usage": {"prompt_tokens": 9, "prompt_tokens_details": usage, "completion_tokens": 10**30}}
    assert read_usage(details) == TokenUsage(9)


@pytest.mark.parametrize("wrong", [None, *WRONG, [[[]]], 10**400, "\ud83d"])
def test_no_field_of_any_kind_ends_in_another_error(wrong: object) -> None:
    good = [json.dumps(chat()), json.dumps(echoed(GOOD, GOOD)), '{"choices": [{"text": "A", "finish_reason": "stop"}]}']
    for text in good:
        for read in (read_chat, read_completion, lambda b: read_echoed(b, PROMPTS), lambda b: read_letters(b, [5])):
            for changed in replaced(json.loads(text), wrong):
                with suppress(ModelError):
                    read(changed)


def replaced(body: Any, wrong: object) -> list[Any]:
    """The body with each of its values, one at a time, replaced."""
    found = [wrong]
    if isinstance(body, dict):
        found += [{**body, name: inner} for name in body for inner in replaced(body[name], wrong)]
    if isinstance(body, list):
        found += [
            [*body[:at], inner, *body[at + 1 :]] for at, value in enumerate(body) for inner in replaced(value, wrong)
        ]
    return [inner for inner in found if not isinstance(body, dict) or isinstance(inner, dict)]
