from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from baselines.llm.bench_scoring import compare_scoring
from baselines.llm.protocol import Chat, ContinuationScores
from tasks.task import TokenUsage
from tests.baselines.llm.conftest import CHATS, OPTIONS, tiny_llm
from tests.baselines.llm.test_scoring import llama


class Disagreeing:
    def score(self, chats, continuations):
        return [ContinuationScores((-1.0, -4.0), (1, 2), TokenUsage(prompt=7))]

    def score_from_scratch(self, chats, continuations):
        return [ContinuationScores((-3.0, -4.0), (1, 2), TokenUsage(prompt=14))]


def test_both_ways_of_a_real_model_agree_and_take_time() -> None:
    measured = compare_scoring(tiny_llm(llama()), CHATS, OPTIONS)
    assert measured.chats == measured.same_choices == 3
    assert measured.largest_difference < 1e-4
    assert measured.speedup == measured.scratch_seconds / measured.cached_seconds > 0


def test_a_disagreement_is_counted_and_measured() -> None:
    measured = compare_scoring(Disagreeing(), [Chat("a"), Chat("b")], [["x", "y"]] * 2)
    assert (measured.same_choices, measured.largest_difference, measured.prompt_tokens) == (0, 2.0, 14)


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="no chats"):
        compare_scoring(Disagreeing(), [], [])
