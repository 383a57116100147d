"""Intervals: coverage on a known distribution, and what happens at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.statistics import (
    bootstrap_weights,
    bounded_interval,
    degrees_of_freedom,
    difference_interval,
    fraction_metric,
    jackknife_errors,
    median_interval,
    ratio_error,
    t_quantile,
    wilson_interval,
)
from tasks.task import FEW_CLUSTERS, few_clusters, superseded

SIZES = {"equal": lambda rng, k: np.full(k, 20), "unequal": lambda rng, k: rng.integers(1, 21, size=k)}


def simulated_benchmark(
    rng: np.random.Generator, truth: float, clusters: int = 120, sizes: str = "unequal"
) -> tuple[list[float], list[str]]:
    """Clusters of 0/1 items; a cluster's own difficulty is Beta-distributed around the truth, correlation 0.1."""
    counts = SIZES[sizes](rng, clusters)
    difficulty = rng.beta(truth * 9, (1 - truth) * 9, size=clusters)
    values = [float(v) for size, p in zip(counts, difficulty, strict=True) for v in rng.random(size) < p]
    return values, [f"video{i}" for i, size in enumerate(counts) for _ in range(size)]


def coverage(truth: float, clusters: int, sizes: str, trials: int) -> float:
    rng = np.random.default_rng(20231)
    covered = 0
    for _ in range(trials):
        low, high = fraction_metric("accuracy", *simulated_benchmark(rng, truth, clusters, sizes)).interval or (1, 0)
        covered += low <= truth <= high
    return covered / trials


@pytest.mark.parametrize(("clusters", "trials"), [(10, 1_200), (25, 1_200)])
def test_the_95_percent_interval_covers_the_truth_95_percent_of_the_time(clusters: int, trials: int) -> None:
    assert coverage(0.4, clusters, "unequal", trials) == pytest.approx(0.95, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("clusters", [10, 20, 25, 50, 350])
def test_coverage_holds_from_ten_to_350_clusters(clusters: int, sizes: str) -> None:
    assert coverage(0.4, clusters, sizes, 6_000) == pytest.approx(0.95, abs=0.015)


def test_a_rare_success_is_covered_with_few_clusters_too() -> None:
    assert coverage(0.1, 20, "unequal", 1_000) > 0.93


def test_the_median_is_covered_with_25_clusters() -> None:
    rng, covered = np.random.default_rng(3), 0
    for _ in range(800):
        codes = np.repeat(np.arange(25), rng.integers(1, 9, size=25))
        values = rng.normal(size=25)[codes] + rng.normal(size=len(codes))
        low, high = median_interval(values, codes)
        covered += low <= 0 <= high
    assert covered / 800 == pytest.approx(0.955, abs=0.025)


def test_degrees_of_freedom_are_those_of_equal_clusters_and_fall_with_unequal_ones() -> None:
    assert degrees_of_freedom(np.full(25, 7.0)) == pytest.approx(24)
    assert degrees_of_freedom(np.array([50.0, *[1.0] * 24])) < 10


@given(st.lists(st.integers(1, 9), min_size=2, max_size=12))
def test_the_closed_form_of_the_degrees_of_freedom_is_that_of_the_matrix(sizes: list[int]) -> None:
    n = np.array(sizes, dtype=float)
    shares = n / n.sum()
    centred = np.eye(len(n)) - np.outer(shares, np.ones(len(n)))
    scale = np.diag(1 / (1 - shares))
    matrix = scale @ centred @ np.diag(n) @ centred.T @ scale
    expected = np.trace(matrix) ** 2 / np.trace(matrix @ matrix)
    assert degrees_of_freedom(n) == pytest.approx(max(1.0, expected))


def test_the_jackknife_of_a_mean_is_its_closed_form_and_equal_sizes_give_the_textbook_error() -> None:
    rng = np.random.default_rng(5)
    sums, sizes = rng.integers(0, 5, size=30).astype(float), np.full(30, 5.0)
    errors, freedom = jackknife_errors(lambda weights: {"mean": weights @ sums / (weights @ sizes)}, sizes)
    assert errors["mean"] == pytest.approx(ratio_error(sums, sizes))
    assert errors["mean"] == pytest.approx(np.std(sums / sizes, ddof=1) / np.sqrt(30))
    assert freedom == pytest.approx(29)


def test_many_clusters_are_left_out_in_groups_with_the_same_error() -> None:
    rng = np.random.default_rng(6)
    sums, sizes = rng.random(5_000), np.ones(5_000)
    errors, freedom = jackknife_errors(lambda weights: {"mean": weights @ sums / (weights @ sizes)}, sizes)
    assert errors["mean"] == pytest.approx(ratio_error(sums, sizes), rel=0.08)
    assert freedom == pytest.approx(999)


@given(st.floats(0, 10), st.floats(0, 5), st.integers(2, 40))
def test_an_interval_holds_its_value_and_keeps_to_the_possible_range(value: float, error: float, k: int) -> None:
    (low, high), _ = bounded_interval(value, error, k - 1, k, (0.0, 10.0))
    assert 0.0 <= low <= value <= high <= 10.0
    assert low < high


def test_a_difference_keeps_to_the_possible_range_and_needs_variation() -> None:
    assert difference_interval(0.9, 0.2, 5) == (pytest.approx(0.9 - 0.2 * t_quantile(5)), 1.0)
    assert difference_interval(0.9, 0.0, 5) is None


def test_few_clusters_are_said_to_be_too_few() -> None:
    assert "only 9 clusters (recipe)" in few_clusters(FEW_CLUSTERS - 1, "recipe")
    assert few_clusters(FEW_CLUSTERS) == ""


def test_methods_of_earlier_records_are_known_from_todays() -> None:
    metric = fraction_metric("a", [1.0, 0.0], ["x", "y"])
    assert not superseded(metric.method)
    assert superseded("cluster bootstrap, percentile, 5000 resamples")
    assert superseded("wilson on clusters (all items equal)")


def test_ignoring_clusters_would_be_too_narrow() -> None:
    values = [float(i % 2) for i in range(50) for _ in range(10)]
    clustered = fraction_metric("a", values, [f"v{i // 10}" for i in range(500)]).interval
    single = fraction_metric("a", values, [f"v{i}" for i in range(500)]).interval
    assert clustered is not None
    assert single is not None
    assert (clustered[1] - clustered[0]) / (single[1] - single[0]) == pytest.approx(np.sqrt(10), rel=0.15)


def test_the_value_is_the_plain_mean_over_items() -> None:
    metric = fraction_metric("a", [1, 1, 1, 0], ["x", "x", "x", "y"])
    assert (metric.value, metric.n, metric.clusters) == (0.75, 4, 2)


def test_all_items_right_still_leaves_room_for_doubt() -> None:
    metric = fraction_metric("a", [1.0] * 20, [f"v{i}" for i in range(20)])
    assert metric.interval is not None
    assert metric.interval[1] == 1.0
    assert metric.interval[0] == pytest.approx(0.820, abs=0.001)
    assert "no cluster differs" in metric.method


def test_one_cluster_has_no_interval() -> None:
    metric = fraction_metric("a", [1.0, 0.0], ["v", "v"])
    assert metric.interval is None
    assert "one cluster" in metric.method


def test_no_items_have_no_value() -> None:
    metric = fraction_metric("a", [], [])
    assert (metric.value, metric.interval, metric.n) == (None, None, 0)


def test_resamples_draw_as_many_clusters_as_there_are() -> None:
    weights = bootstrap_weights(30, 100, np.random.default_rng(0))
    assert weights.shape == (100, 30)
    assert (weights.sum(axis=1) == 30).all()


def test_a_statistic_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        jackknife_errors(lambda weights: {"a": np.full(len(weights), np.nan)}, np.ones(3))


@given(st.integers(1, 500), st.floats(0, 1))
def test_wilson_holds_the_share_and_stays_between_0_and_1(n: int, share: float) -> None:
    successes = round(share * n)
    low, high = wilson_interval(successes, n)
    assert 0.0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1.0


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=60))
def test_the_interval_holds_the_value(values: list[float]) -> None:
    clusters = [f"v{i // 2}" for i in range(len(values))]
    metric = fraction_metric("a", values, clusters)
    if metric.interval is not None and metric.value is not None:
        assert metric.interval[0] <= metric.value <= metric.interval[1]
