"""Chance and constant answers."""

from __future__ import annotations

from collections import Counter

import pytest

from baselines.floors import ChanceModel, ConstantModel
from tasks.errors import ModelError
from tasks.model import Chooser, OptionRequest
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


def test_both_are_choosers() -> None:
    assert isinstance(ConstantModel(0), Chooser)
    assert isinstance(ChanceModel(0), Chooser)
