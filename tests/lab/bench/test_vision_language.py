"""Questions to a video language model of random weights: what a GPU will be asked, at small size on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from lab.bench import vision_language
from lab.bench.result import Comparison, NotMeasuredError, comparison_tables
from lab.bench.suite import Asked
from lab.bench.vision_language import (
    ANSWER_TOKENS,
    APART,
    BY_HAND,
    LETTERS,
    OPTIONS,
    OURS,
    SHAPES,
    Built,
    VisionWork,
    build,
    chats,
    compare_vision_language,
    generate_by_hand,
)
from tasks.errors import ModelError

pytest.importorskip("torchvision")
CPU = torch.device("cpu")
WORK = VisionWork(("tiny",), (4,), CPU, 1, height=64, width=96)
WITH_WEIGHTS = {"2b": 2.13e9, "4b": 4.44e9, "8b": 8.77e9}
"""Parameters of the published Qwen3-VL models."""


@pytest.fixture(scope="module")
def built() -> Built:
    return build("tiny", CPU)


@pytest.fixture(scope="module")
def compared() -> Sequence[Comparison]:
    return tuple(compare_vision_language(WORK, lambda note: None))


def test_each_route_is_asked_with_its_rates(compared: Sequence[Comparison]) -> None:
    assert [one.work.split(":")[0] for one in compared] == [
        "options-loglik",
        "letter-logprob",
        f"generate+parse, {ANSWER_TOKENS} tokens",
        "guided",
    ]
    for row in (row for one in compared for row in one.rows):
        assert row.missing is None
        assert row.facts["frames_per_second"] == pytest.approx(8 / row.seconds[-1], rel=0.1)
        assert row.facts["questions_per_second"] == pytest.approx(8 / row.seconds[-1], rel=0.1)
        assert row.facts["prompt_tokens_per_second"] > 0
    assert "frames_per_second" in comparison_tables(compared)


def test_a_guided_reply_is_one_token_a_question(compared: Sequence[Comparison]) -> None:
    row = compared[-1].row(OURS)
    written = float(row.facts["answer_tokens_per_second"]) * row.seconds[-1]  # type: ignore[arg-type]
    assert written == pytest.approx(WORK.questions, rel=0.1)


def test_both_ways_of_a_route_give_the_same_answers(built: Built) -> None:
    asked = [replace(chat, reply_start="Answer:") for chat in chats(4, WORK)]
    for texts in (OPTIONS, LETTERS):
        ours, apart = (ask(asked, [texts] * len(asked)) for ask in (built.llm.score, built.llm.score_from_scratch))
        assert np.allclose([one.logprobs for one in ours], [one.logprobs for one in apart], atol=1e-3)
    plain = chats(4, WORK)[:2]
    ours, by_hand = built.llm.generate(plain, ANSWER_TOKENS), generate_by_hand(built, plain)
    assert [one.text for one in ours] == [one.text for one in by_hand]
    assert [one.usage for one in ours] == [one.usage for one in by_hand]


def test_every_pair_of_frames_costs_the_tokens_of_its_picture(built: Built) -> None:
    notes = built.llm.generate(chats(4, WORK)[:1], 1)[0].notes
    assert notes["vision_tokens"] == 2 * (64 // 32) * (96 // 32)


@pytest.mark.parametrize("size", WITH_WEIGHTS)
def test_a_size_has_the_parameters_of_the_published_model(size: str) -> None:
    from transformers import AutoModelForImageTextToText, Qwen3VLConfig

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(Qwen3VLConfig(**SHAPES[size]))
    assert model.num_parameters() == pytest.approx(WITH_WEIGHTS[size], rel=0.005)


def test_a_machine_without_the_libraries_says_so_and_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.bench.peers.find_spec", lambda name: None)
    said: list[str] = []
    (left_out,) = compare_vision_language(WORK, said.append)
    assert left_out.row(OURS).missing == "transformers is not installed"
    assert said == ["questions to Qwen3-VL-tiny of random weights: left out, transformers is not installed"]


def test_one_that_does_not_fit_is_named_and_the_next_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(size: str, device: torch.device) -> Built:
        if size == "8b":
            raise torch.OutOfMemoryError
        raise NotMeasuredError("not tried")

    monkeypatch.setattr(vision_language, "build", full)
    both = compare_vision_language(replace(WORK, sizes=("8b", "tiny")), lambda note: None)
    assert [one.rows[0].missing for one in both] == ["out of memory", "not tried"]


def test_an_unknown_size_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(ModelError, match="no video language model '3b' to measure: known are tiny, 2b, 4b, 8b"):
        _ = Asked("cpu", vlm=("3b",)).filled().vision_work


def test_the_other_way_is_named(compared: Sequence[Comparison]) -> None:
    assert [[row.name for row in one.rows][1:] for one in compared] == [[APART], [APART], [BY_HAND], []]
