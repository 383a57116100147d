"""The blind model sees the words of the question and nothing else."""

from __future__ import annotations

from baselines.blind import compose_blind, info_with_prompt
from tasks.prompt import load_prompt
from tasks.task import Clip
from tests.baselines.conftest import CountingModel


def test_the_clip_changes_nothing() -> None:
    compose = compose_blind(load_prompt("baselines", "blind.v1"))
    assert compose(Clip("v", 0, 180), "Why?", "Answer:", 5) == compose(Clip("w", 5, 9), "Why?", "Answer:", 5)


def test_the_question_is_all_there_is() -> None:
    chat = compose_blind(load_prompt("baselines", "blind.v1"))(Clip("v", 0, 180), "Why?", "Answer:", 5).chat
    assert chat.user == "Why?"
    assert chat.reply_start == "Answer:"


def test_the_record_names_the_language_model_and_the_prompts_digest(counting_model: CountingModel) -> None:
    prompt = load_prompt("baselines", "blind.v1")
    info = info_with_prompt("blind", counting_model, prompt, extra="x")
    assert info.name == "blind"
    assert info.prompts == {"blind.v1": prompt.sha256}
    assert info.details["llm"] == "counting"
    assert info.details["extra"] == "x"
