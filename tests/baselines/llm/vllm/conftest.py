"""Real questions with LaViLa captions, asked of one small model by transformers, by vLLM and through its server."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from baselines.aggregator import aggregator_on
from baselines.captions import load_captions
from baselines.llm.load import load_language_model
from baselines.llm.options import Serving
from baselines.llm.protocol import LanguageModel
from baselines.models import AggregatorOptions
from tasks.egoschema import load_egoschema
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask
from tasks.routes import Route
from tasks.task import Prediction

QUESTIONS = int(os.environ.get("LONGVID_VLLM_QUESTIONS", "100"))
CONTEXT = 640  # captions are thinned to it: a small machine prefills some hundred tokens a second
DTYPE = "float32"
ENGINE = '{"enforce_eager": true, "max_num_seqs": 64}'


@dataclass(frozen=True)
class Asking:
    """The questions, and the aggregator that a language model becomes for them."""

    task: MultipleChoiceTask
    items: Sequence[ChoiceItem]
    captions: Path

    def aggregator(self, llm: LanguageModel, route: Route, **more: Any) -> Any:
        options = AggregatorOptions(captions=self.captions, route=route, max_tokens=16, **more)
        return aggregator_on(llm, load_captions(self.captions), options)

    def ask(self, llm: LanguageModel, route: Route, **more: Any) -> list[Prediction]:
        return self.task.predict(self.aggregator(llm, route, **more), self.items)


@pytest.fixture(scope="session")
def asking(shared_data: Path) -> Asking:
    task = load_egoschema(shared_data / "egoschema", "500")
    items = list(task.items())
    spread = items[:: len(items) // QUESTIONS][:QUESTIONS]
    return Asking(task, spread, shared_data / "captions" / "egoschema_lavila_1s_t0.json")


@pytest.fixture(scope="session")
def in_process() -> LanguageModel:
    pytest.importorskip("vllm")
    return load_language_model("vllm:smollm2", context=CONTEXT, dtype=DTYPE, serving=Serving(engine=ENGINE))


@pytest.fixture(scope="session")
def by_transformers(asking: Asking) -> Callable[[Route], list[Prediction]]:
    """The reference, asked once for each route."""
    llm = load_language_model("smollm2", context=CONTEXT, dtype=DTYPE)
    known: dict[Route, list[Prediction]] = {}

    def ask(route: Route) -> list[Prediction]:
        if route not in known:
            known[route] = asking.ask(llm, route)
        return known[route]

    return ask


def agreement(ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> float:
    """Share of questions with the same choice."""
    pairs = list(zip(ours, theirs, strict=True))
    assert all(a.item_id == b.item_id for a, b in pairs)
    return sum(a.answer == b.answer for a, b in pairs) / len(pairs)


def largest_difference(ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> float:
    """Between mean log-likelihoods, in nats."""
    return max(
        abs(x - y)
        for a, b in zip(ours, theirs, strict=True)
        for x, y in zip(a.option_scores, b.option_scores, strict=True)
    )
