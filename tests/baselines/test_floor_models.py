"""Chance, constant answers, and answers by length."""

from __future__ import annotations

from collections import Counter

import pytest

from baselines.floors import ChanceModel, ConstantModel, LengthModel
from tasks.errors import ModelError
from tasks.model import Chooser, OptionRequest
from tasks.registry import build_model
from tasks.task import Clip


def requests(count: int, options: int = 5) -> list[OptionRequest]:
    texts = tuple(f"option {i}" for i in range(options))
    return [OptionRequest(f"q{i}", Clip(f"q{i}", 0, 1), "?", "", texts) for i in range(count)]


def test_a_constant_model_never_changes_its_mind() -> None:
    assert set(ConstantModel(4).choose(requests(100))) == {4}


@pytest.mark.parametrize("choice", [-1, 5])
def test_a_constant_outside_the_options_is_refused_with_the_item_named(choice: int) -> None:
    with pytest.raises(ModelError, match="q0"):
        ConstantModel(choice).choose(requests(1))


def test_chance_spreads_evenly_over_the_options() -> None:
    counts = Counter(ChanceModel(0).choose(requests(10_000)))
    assert set(counts) == {0, 1, 2, 3, 4}
    assert all(abs(count - 2000) < 5 * 40 for count in counts.values())


def test_an_items_draw_does_not_depend_on_its_neighbours() -> None:
    everything = ChanceModel(3).choose(requests(50))
    assert ChanceModel(3).choose(requests(50)[::-1]) == everything[::-1]


def test_another_seed_draws_differently() -> None:
    assert ChanceModel(0).choose(requests(100)) != ChanceModel(1).choose(requests(100))


@pytest.mark.parametrize(
    ("options", "longest", "shortest"),
    [
        (("aa", "bbbb", "c"), 1, 2),
        (("two words", "onelongword", "x y z"), 1, 2),  # characters count, not words
        (("same", "size", "here"), 0, 0),  # of equally long ones the first
        (("", "a"), 1, 0),
    ],
)
def test_an_options_length_is_its_characters(options: tuple[str, ...], longest: int, shortest: int) -> None:
    request = OptionRequest("q", Clip("q", 0, 1), "?", "", options)
    for name, expected in (("longest-option", longest), ("shortest-option", shortest)):
        model = build_model(name, {})
        assert isinstance(model, LengthModel)
        assert (model.info.name, model.choose([request])) == (name, [expected])


def test_length_can_be_counted_in_words() -> None:
    request = OptionRequest("q", Clip("q", 0, 1), "?", "", ("onelongword", "x y z", "a b"))
    chosen = [build_model(name, {"unit": "words"}) for name in ("longest-option", "shortest-option")]
    assert [model.choose([request]) for model in chosen if isinstance(model, Chooser)] == [[1], [0]]


def test_all_are_choosers() -> None:
    assert isinstance(ConstantModel(0), Chooser)
    assert isinstance(ChanceModel(0), Chooser)
    assert isinstance(LengthModel("longest-option", max), Chooser)
