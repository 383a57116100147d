"""Batches and lanes hand every item over exactly once, and their seconds add up to the time that passed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.record import Results
from evals.runner import TooManyFailuresError, run_batches
from evals.schema_files import without_wall_clock
from evals.store import read_samples
from tasks.model import BatchHint, OptionRequest
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.conftest import ToyModel, run_toy


@given(items=st.lists(st.integers(), max_size=30), batch=st.integers(1, 7), lanes=st.integers(1, 4))
def test_every_item_is_handed_over_once_in_batches_of_the_size_asked_for(
    items: list[int], batch: int, lanes: int
) -> None:
    seen = [tuple(answered) for answered, _ in run_batches(list, items, batch=batch, lanes=lanes)]
    assert sorted(item for group in seen for item in group) == sorted(items)
    assert sorted(map(len, seen)) == sorted(len(items[i : i + batch]) for i in range(0, len(items), batch))


@pytest.mark.parametrize("lanes", [1, 4])
def test_the_seconds_add_up_to_the_time_that_passed_not_to_each_lanes_own(lanes: int) -> None:
    def answer(batch: Sequence[int]) -> None:
        time.sleep(0.05)

    started = time.perf_counter()
    seconds = [waited for _, waited in run_batches(answer, range(8), batch=1, lanes=lanes)]
    passed = time.perf_counter() - started
    assert 0.8 * 8 * 0.05 / lanes < sum(seconds) <= passed


def test_what_is_finished_is_passed_on_while_a_slow_neighbour_works() -> None:
    held = threading.Event()

    def answer(batch: Sequence[int]) -> int:
        if batch[0] == 0:
            held.wait(10)
        return batch[0]

    passed_on = []
    for number, _ in run_batches(answer, range(6), batch=1, lanes=2):
        passed_on.append(number)
        if len(passed_on) == 5:
            held.set()
    assert passed_on[-1] == 0


@dataclass
class HungryModel(ToyModel):
    """A toy with an batch_hint."""

    batch_hint: BatchHint = field(default_factory=BatchHint)

    def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
        time.sleep(0.01)
        return super().choose(requests)


APPETITES = [BatchHint(batch=5), BatchHint(lanes=3), BatchHint(batch=2, lanes=2)]


@pytest.mark.parametrize("batch_hint", APPETITES)
def test_results_do_not_depend_on_the_appetite(task: MultipleChoiceTask, tmp_path: Path, batch_hint: BatchHint) -> None:
    def go(model: ToyModel, name: str) -> Results:
        return run_toy(task, model, tmp_path / name)

    bad = frozenset({"q03", "q08"})
    hungry = go(HungryModel(bad=bad, batch_hint=batch_hint), "hungry")
    assert without_wall_clock(hungry) == without_wall_clock(go(ToyModel(bad=bad), "plain"))
    assert len(read_samples(tmp_path / "hungry")) == 12


def test_a_model_gets_the_batches_it_wants_unless_told_otherwise(task: MultipleChoiceTask, tmp_path: Path) -> None:
    model = HungryModel(batch_hint=BatchHint(batch=5))
    run_toy(task, model, tmp_path / "liked")
    run_toy(task, model, tmp_path / "told", batch_size=4)
    assert [len(batch) for batch in model.asked] == [5, 5, 2, 4, 4, 4]


@pytest.mark.parametrize("batch_hint", APPETITES)
def test_too_many_failures_stop_every_lane(task: MultipleChoiceTask, tmp_path: Path, batch_hint: BatchHint) -> None:
    bad = frozenset(f"q{i:02d}" for i in range(12))
    with pytest.raises(TooManyFailuresError):
        run_toy(task, HungryModel(bad=bad, batch_hint=batch_hint), tmp_path / "run", max_failures=1)
    resumed = run_toy(task, HungryModel(batch_hint=batch_hint), tmp_path / "run")
    assert resumed.status == "complete"
