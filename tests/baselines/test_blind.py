"""The blind model sees the words of the question and nothing else."""

from __future__ import annotations

import pytest

from baselines.prompted import NO_VECTORS, Ask, PromptedModel, compose_blind, info_with_prompts
from tasks.errors import ModelError
from tasks.model import Captioner, ModelInfo, TextRequest, VideoTextEncoder, require
from tasks.prompt import load_prompt
from tasks.routes import Route
from tasks.task import Clip
from tests.baselines.conftest import CountingModel


def test_the_clip_changes_nothing() -> None:
    compose = compose_blind(load_prompt("baselines", "blind.v1"))
    assert compose([Ask(Clip("v", 0, 180), "Why?", "Answer:", 5)]) == compose(
        [Ask(Clip("w", 5, 9), "Why?", "Answer:", 5)]
    )


def test_the_question_is_all_there_is() -> None:
    compose = compose_blind(load_prompt("baselines", "blind.v1"))
    chat = compose([Ask(Clip("v", 0, 180), "Why?", "Answer:", 5)])[0].chat
    assert chat.user == "Why?"
    assert chat.reply_start == "Answer:"


def test_the_record_names_the_language_model_and_the_prompts_digest(counting_model: CountingModel) -> None:
    prompt = load_prompt("baselines", "blind.v1")
    info = info_with_prompts("blind", counting_model, [prompt], extra="x")
    assert info.name == "blind"
    assert info.prompts == {"blind.v1": prompt.sha256}
    assert info.details["llm"] == "counting"
    assert info.details["extra"] == "x"


def test_a_text_is_asked_for_in_other_words_than_a_question(counting_model: CountingModel) -> None:
    question, text = (compose_blind(load_prompt("baselines", name)) for name in ("blind.v1", "blind-text.v1"))
    model = PromptedModel(counting_model, question, ModelInfo("blind"), Route.GENERATE, compose_text=text)
    assert isinstance(model, Captioner)
    request = TextRequest("v", Clip("v", 0, 180), "Write down the recipe.", 16)
    model.generate([request])
    model.caption([request])
    asked, told = (chat.system for chat in counting_model.chats)
    assert "Choose" in asked
    assert "Write" in told


def test_retrieval_is_refused_with_the_floors_that_serve_instead(counting_model: CountingModel) -> None:
    compose = compose_blind(load_prompt("baselines", "blind.v1"))
    model = PromptedModel(counting_model, compose, ModelInfo("blind"), Route.GENERATE, missing_capabilities=NO_VECTORS)
    with pytest.raises(ModelError, match=r"model 'blind' does not offer it: .*random-vectors"):
        require(model, VideoTextEncoder, "youcook2-video-retrieval@457", "to compare videos with texts")
