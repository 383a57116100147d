"""Paired statistics on simulated pairs whose truth is known, and against scipy where it has the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, binomtest

from tasks.statistics import (
    Figures,
    bootstrap_errors,
    difference_errors,
    difference_interval,
    differences,
    holm,
    items_needed,
    mcnemar_p,
    minimum_detectable_effect,
    randomisation_p,
    signs,
    without_ends,
)

CLUSTERS = 150
TRIALS = 2_000


class Pairs:
    """Right and wrong answers of two systems on items of one to four per video.

    Videos differ in difficulty, and each system has its own luck with each video: items are not independent.
    """

    def __init__(self, rng: np.random.Generator, first: float, second: float, clusters: int = CLUSTERS) -> None:
        self.sizes = rng.integers(1, 5, size=clusters)
        shared = rng.normal(0, 0.12, size=clusters)
        rates = [np.clip(rate + shared + rng.normal(0, 0.12, clusters), 0, 1) for rate in (first, second)]
        self.first, self.second = (rng.binomial(self.sizes, rate) for rate in rates)

    def figures(self, weights: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        return accuracies([self], weights)


def accuracies(trials: Sequence[Pairs], weights: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    """Each trial's accuracy under its own name: all trials in one matrix product."""
    right = weights @ np.stack([np.concatenate([pairs.first, pairs.second]) for pairs in trials], axis=1)
    items = weights @ np.stack([np.concatenate([pairs.sizes, pairs.sizes]) for pairs in trials], axis=1)
    return dict(zip(map(str, range(len(trials))), (right / items).T, strict=True))


def test_the_95_percent_interval_of_the_difference_covers_the_truth_95_percent_of_the_time() -> None:
    rng = np.random.default_rng(5)
    trials = [Pairs(rng, 0.42, 0.50) for _ in range(TRIALS)]
    assert covered_share(trials, CLUSTERS, 0.08) == pytest.approx(0.95, abs=0.015)


def covered_share(trials: Sequence[Pairs], clusters: int, truth: float) -> float:
    covered = 0
    for pairs in trials:
        errors, freedom = difference_errors(pairs.figures, pairs.sizes.astype(float))
        seen = differences(pairs.figures, np.ones((1, clusters)))["0"][0]
        low, high = difference_interval(seen, errors["0"], freedom) or (1.0, 0.0)
        covered += low <= truth <= high
    return covered / len(trials)


@pytest.mark.parametrize(
    "clusters",
    [
        10,
        pytest.param(20, marks=pytest.mark.slow),
        25,
        pytest.param(50, marks=pytest.mark.slow),
        pytest.param(350, marks=pytest.mark.slow),
    ],
)
def test_the_interval_of_the_difference_holds_with_few_clusters(clusters: int) -> None:
    rng = np.random.default_rng(clusters)
    trials = [Pairs(rng, 0.42, 0.50, clusters) for _ in range(TRIALS)]
    assert covered_share(trials, clusters, 0.08) == pytest.approx(0.95, abs=0.015)


def test_the_bootstrap_error_of_a_mean_is_that_of_the_jackknife() -> None:
    pairs = Pairs(np.random.default_rng(1), 0.4, 0.5)
    errors, _ = difference_errors(pairs.figures, pairs.sizes.astype(float))
    drawn = bootstrap_errors(pairs.figures, CLUSTERS, np.random.default_rng(2), 2_000)
    assert drawn["0"] == pytest.approx(errors["0"], rel=0.06)


def test_mcnemar_finds_a_difference_where_there_is_none_5_percent_of_the_time() -> None:
    rng = np.random.default_rng(6)
    trials = 4 * TRIALS
    alarms = 0
    for _ in range(trials):
        pairs = Pairs(rng, 0.5, 0.5)
        alarms += mcnemar_p(pairs.second - pairs.first) < 0.05
    assert alarms / trials == pytest.approx(0.05, abs=0.01)


def test_mcnemar_over_many_videos_leaves_out_chances_that_are_zero_and_nothing_else() -> None:
    # A normal distribution's tail, of so many signs; untrimmed, there are 80,001 chances.
    assert len(without_ends(signs(1, 40_000))) < 20_000
    assert without_ends(signs(1, 40_000)).sum() == pytest.approx(1, rel=1e-9)
    assert without_ends(signs(2, 6)).tolist() == signs(2, 6).tolist()
    wins = 20_000 + 150
    found = mcnemar_p([1] * wins + [-1] * (40_000 - wins) + [2, -2] * 3_000)
    assert found == pytest.approx(2 * NormalDist(0, sqrt(40_000 + 4 * 6_000)).cdf(-300), rel=1e-3)
    assert mcnemar_p([1] * 40_000) == 0


def test_mcnemar_on_items_as_if_they_were_videos_would_cry_wolf() -> None:
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(500):
        right = np.repeat(rng.integers(0, 2, size=(2, 40)), 8, axis=1)
        alarms += mcnemar_p(right[1] - right[0]) < 0.05
    assert alarms / 500 > 0.3


def test_a_difference_of_the_minimum_detectable_size_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(8)
    trials = [Pairs(rng, 0.5, 0.5) for _ in range(40)]
    errors = [difference_errors(pairs.figures, pairs.sizes.astype(float))[0]["0"] for pairs in trials]
    effect = minimum_detectable_effect(float(np.mean(errors)))
    found = 0
    for _ in range(TRIALS):
        pairs = Pairs(rng, 0.5 - effect / 2, 0.5 + effect / 2)
        found += mcnemar_p(pairs.second - pairs.first) < 0.05
    assert found / TRIALS == pytest.approx(0.8, abs=0.04)


def test_randomisation_finds_a_difference_where_there_is_none_5_percent_of_the_time() -> None:
    rng = np.random.default_rng(9)
    alarms = sum(randomisation_p(Pairs(rng, 0.5, 0.5).figures, "0", CLUSTERS, rng, 199) <= 0.05 for _ in range(TRIALS))
    assert alarms / TRIALS == pytest.approx(0.05, abs=0.015)


@given(st.integers(0, 60), st.integers(0, 60))
def test_with_one_item_a_video_it_is_the_binomial_test_of_mcnemar(wins: int, losses: int) -> None:
    pairs = wins + losses
    # The exact test counts the observed outcome whole, the mid-p half; an even outcome is on neither side.
    observed = 2 * binom.pmf(wins, pairs, 0.5) if wins != losses else 0.0
    exact = binomtest(wins, pairs).pvalue if pairs else 1.0
    assert mcnemar_p([1] * wins + [-1] * losses + [0] * 5) == pytest.approx(exact - observed / 2, rel=1e-9)


@given(st.lists(st.integers(-6, 6), max_size=12))
def test_the_distribution_over_signs_is_exact(differences: list[int]) -> None:
    sums = np.zeros(1, dtype=np.int64)
    for value in differences:
        sums = np.concatenate([sums + value, sums - value])
    reached = abs(sum(differences))
    expected = (np.abs(sums) > reached).mean() + (np.abs(sums) == reached).mean() / (2 if reached else 1)
    assert mcnemar_p(differences) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.integers(-6, 6), max_size=30))
def test_which_system_comes_first_does_not_matter(differences: list[int]) -> None:
    assert mcnemar_p(differences) == mcnemar_p([-value for value in differences])


def test_many_pairs_are_no_hurdle() -> None:
    assert mcnemar_p([1] * 3_000 + [-1] * 2_000) < 1e-40
    assert mcnemar_p([1] * 2_500 + [-1] * 2_500) == 1.0


def test_both_systems_are_measured_on_the_same_clusters() -> None:
    values = np.arange(20.0)

    def shifted(weights: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        return {"mean": weights @ np.concatenate([values, values + 3]) / weights.sum(axis=1)}

    figures: Figures = shifted
    assert difference_errors(figures, np.ones(20))[0]["mean"] == pytest.approx(0.0)
    assert bootstrap_errors(figures, 20, np.random.default_rng(0), 300)["mean"] == pytest.approx(0.0)


def test_few_clusters_ask_for_a_larger_difference() -> None:
    assert minimum_detectable_effect(0.02, freedom=9) > 1.1 * minimum_detectable_effect(0.02)


def test_work_in_blocks_gives_the_same_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = Pairs(np.random.default_rng(1), 0.4, 0.5)
    sizes = pairs.sizes.astype(float)
    whole = (
        difference_errors(pairs.figures, sizes)[0]["0"],
        bootstrap_errors(pairs.figures, CLUSTERS, np.random.default_rng(2), 500)["0"],
    )
    monkeypatch.setattr("tasks.statistics._BLOCK_ELEMENTS", 7 * 2 * CLUSTERS)
    parts = (
        difference_errors(pairs.figures, sizes)[0]["0"],
        bootstrap_errors(pairs.figures, CLUSTERS, np.random.default_rng(2), 500)["0"],
    )
    assert parts == pytest.approx(whole)


def test_a_randomisation_p_is_never_zero_and_of_equal_systems_one() -> None:
    pairs = Pairs(np.random.default_rng(1), 0.1, 0.9)
    assert randomisation_p(pairs.figures, "0", CLUSTERS, np.random.default_rng(0), 99) == 0.01
    pairs.second = pairs.first
    assert randomisation_p(pairs.figures, "0", CLUSTERS, np.random.default_rng(0), 99) == 1.0


def test_holm_is_as_published() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert sorted(adjusted) == [adjusted[i] for i in order]


def test_four_times_the_items_halve_what_can_be_detected() -> None:
    effect = minimum_detectable_effect(0.02)
    assert items_needed(effect, 0.02, 500) == 500
    assert items_needed(effect / 2, 0.02, 500) == 2000
    assert minimum_detectable_effect(0.02, comparisons=5) > effect
