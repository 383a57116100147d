"""What a prompted model hands on to its language model."""

from __future__ import annotations

from baselines.llm.protocol import Chat
from baselines.prompted import PromptedModel, compose_blind
from tasks.model import BatchHint, ModelInfo, TextRequest, batch_hint_of
from tasks.prompt import load_prompt
from tasks.routes import Route
from tasks.task import Clip
from tests.baselines.conftest import CountingModel

REQUEST = TextRequest("q", Clip("v", 0.0, 10.0), "Which?", 8, choices=("A", "B"))


def asked(llm: CountingModel, *, guided: bool) -> Chat:
    composer = compose_blind(load_prompt("baselines", "blind.v1"))
    PromptedModel(llm, composer, ModelInfo("blind"), Route.GENERATE, guided=guided).generate([REQUEST])
    return llm.chats[-1]


def test_choices_reach_the_language_model_only_where_guided(counting_model: CountingModel) -> None:
    assert asked(counting_model, guided=True).choices == ("A", "B")
    assert asked(counting_model, guided=False).choices == ()


def test_a_prompted_model_is_as_hungry_as_its_language_model(counting_model: CountingModel) -> None:
    def hint() -> BatchHint:
        composer = compose_blind(load_prompt("baselines", "blind.v1"))
        return batch_hint_of(PromptedModel(counting_model, composer, ModelInfo("blind"), Route.GENERATE))

    assert hint() == BatchHint()
    counting_model.batch_hint = BatchHint(lanes=4)
    assert hint() == BatchHint(lanes=4)
