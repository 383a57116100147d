"""Captions to summary to answer: two exchanges, both counted, the summary readable in the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from baselines.aggregator import SegmentRule, TwoStepComposer, load_prompts, segment_rule
from baselines.captions import load_captions
from baselines.llm.protocol import Chat, Reply
from baselines.material import Thin
from baselines.models import AggregatorOptions
from baselines.prompted import PromptedModel
from tasks.errors import ModelError
from tasks.model import ModelInfo, OptionRequest, TextRequest
from tasks.routes import Route
from tasks.task import Clip
from tests.baselines.conftest import CountingModel

CLIP = Clip("v", 0.0, 48.0)
OPTIONS = AggregatorOptions(captions=Path("c.json"), two_step=True)


class Scripted(CountingModel):
    """Summarises with fixed words and answers with others."""

    def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
        replies = super().generate(chats, max_tokens)
        return [
            Reply("C peels  garlic.\nThen C fries it." if "Write a summary" in chat.user else "B", True, reply.usage)
            for chat, reply in zip(chats, replies, strict=True)
        ]


def model(llm: CountingModel, folder: Path, **rules: SegmentRule) -> PromptedModel:
    path = folder / "captions.json"
    path.write_text(json.dumps({"v": ["#C C peels garlic", "#C C fries it", "#C C eats"]}))
    prompts = load_prompts(OPTIONS)
    composer = TwoStepComposer(
        llm, load_captions(path), prompts["summary"], prompts["answer"], SegmentRule(), Thin(llm), words=50
    )
    return PromptedModel(llm, composer, ModelInfo("aggregator"), Route.GENERATE)


def ask(question: str = "What for?") -> TextRequest:
    return TextRequest("q", CLIP, f"Filmed by C. {question}\nA. one\nB. two", 16, question=question)


def test_the_first_exchange_sees_captions_and_the_bare_question_the_second_the_summary_only(tmp_path: Path) -> None:
    llm = Scripted()
    (reply,) = model(llm, tmp_path).generate([ask()])
    first, second = llm.chats
    assert "[0:00-0:16] C peels garlic" in first.user
    assert "What for?" in first.user
    assert "A. one" not in first.user
    assert "C peels garlic. Then C fries it." in second.user
    assert "C eats" not in second.user
    assert second.user.endswith("B. two")
    assert reply.text == "B"


def test_both_exchanges_are_paid_for_and_the_texts_between_are_readable(tmp_path: Path) -> None:
    llm = Scripted()
    (reply,) = model(llm, tmp_path).generate([ask()])
    assert reply.trace.usage.prompt == sum(llm.count_tokens(chat) for chat in llm.chats)
    assert reply.trace.usage.completion == 100 + 16
    assert reply.trace.notes["summary"] == "C peels garlic. Then C fries it."
    assert "C eats" in str(reply.trace.notes["captions_text"])
    assert {"compose", "summarise", "llm"} <= set(reply.trace.seconds)


def test_a_batch_is_summarised_in_one_call_and_answers_keep_their_order(tmp_path: Path) -> None:
    calls: list[int] = []

    class Counted(Scripted):
        def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
            calls.append(len(chats))
            return super().generate(chats, max_tokens)

    llm = Counted()
    model(llm, tmp_path).generate([ask("One?"), ask("Two?"), ask("Three?")])
    assert calls == [3, 3]
    assert ["One?" in llm.chats[0].user, "Two?" in llm.chats[1].user, "Three?" in llm.chats[5].user] == [True] * 3


def test_options_are_weighed_behind_the_summary(tmp_path: Path) -> None:
    llm = Scripted()
    request = OptionRequest("q", CLIP, "Why?", "Answer:", (" eats", " fries it"), "Why?")
    (scored,) = model(llm, tmp_path).score_options([request])
    assert scored.scores == (0.0, 1.0)


def test_an_empty_summary_is_an_error_that_names_the_video(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'v': the summary for the question is empty"):
        model(CountingModel(reply=" \n"), tmp_path).generate([ask()])


def test_prompts_put_to_use_are_all_named() -> None:
    def names(**changes: object) -> set[str]:
        options = AggregatorOptions(captions=Path("c.json"), **changes)  # type: ignore[arg-type]
        return {prompt.name for prompt in load_prompts(options).values()}

    assert names() == {"aggregator.v1", "aggregator-text.v1"}
    assert names(two_step=True) == {"aggregator-answer.v1", "aggregator-text.v1", "aggregator-summary.v1"}
    assert names(overflow="map-reduce") == {"aggregator.v1", "aggregator-text.v1", "aggregator-part.v1"}
    assert names(examples=Path("e.jsonl"), prompt="transcript.v1") == {"transcript.v1", "examples.v1"}


def test_a_captioners_own_segments_stand_however_short() -> None:
    assert segment_rule(AggregatorOptions(captioner="coca", cut="shots")).grouping == "captions"
    assert segment_rule(AggregatorOptions(captions=Path("c.jsonl"))).grouping == "auto"
