"""Intervals: coverage on a known distribution, and what happens at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.intervals import bootstrap_weights, fraction_metric, percentile_interval, wilson_interval


def simulated_benchmark(rng: np.random.Generator, truth: float) -> tuple[list[float], list[str]]:
    """120 clusters of one to four 0/1 items; a cluster's own difficulty is Beta-distributed around the truth."""
    sizes = rng.integers(1, 5, size=120)
    difficulty = rng.beta(truth * 3, (1 - truth) * 3, size=120)
    values = [float(v) for size, p in zip(sizes, difficulty, strict=True) for v in rng.random(size) < p]
    clusters = [f"video{i}" for i, size in enumerate(sizes) for _ in range(size)]
    return values, clusters


def test_the_95_percent_interval_covers_the_truth_95_percent_of_the_time() -> None:
    rng = np.random.default_rng(20231)
    truth, trials, covered = 0.4, 2000, 0
    for _ in range(trials):
        values, clusters = simulated_benchmark(rng, truth)
        interval = fraction_metric("accuracy", values, clusters, rng, resamples=800).interval
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert covered / trials == pytest.approx(0.95, abs=0.015)


def test_ignoring_clusters_would_be_too_narrow() -> None:
    rng = np.random.default_rng(7)
    values = [float(i % 2) for i in range(50) for _ in range(10)]
    clustered = fraction_metric("a", values, [f"v{i // 10}" for i in range(500)], rng).interval
    single = fraction_metric("a", values, [f"v{i}" for i in range(500)], rng).interval
    assert clustered is not None
    assert single is not None
    assert (clustered[1] - clustered[0]) / (single[1] - single[0]) == pytest.approx(np.sqrt(10), rel=0.1)


def test_the_same_seed_gives_the_same_interval() -> None:
    values, clusters = simulated_benchmark(np.random.default_rng(1), 0.5)
    first, second = (fraction_metric("a", values, clusters, np.random.default_rng(3)) for _ in range(2))
    assert first == second


def test_the_value_is_the_plain_mean_over_items() -> None:
    metric = fraction_metric("a", [1, 1, 1, 0], ["x", "x", "x", "y"], np.random.default_rng(0))
    assert (metric.value, metric.n, metric.clusters) == (0.75, 4, 2)


def test_all_items_right_still_leaves_room_for_doubt() -> None:
    metric = fraction_metric("a", [1.0] * 20, [f"v{i}" for i in range(20)], np.random.default_rng(0))
    assert metric.interval is not None
    assert metric.interval[1] == 1.0
    assert metric.interval[0] == pytest.approx(0.839, abs=0.001)
    assert "wilson" in metric.method


def test_one_cluster_has_no_interval() -> None:
    metric = fraction_metric("a", [1.0, 0.0], ["v", "v"], np.random.default_rng(0))
    assert metric.interval is None
    assert "one cluster" in metric.method


def test_no_items_have_no_value() -> None:
    metric = fraction_metric("a", [], [], np.random.default_rng(0))
    assert (metric.value, metric.interval, metric.n) == (None, None, 0)


def test_resamples_draw_as_many_clusters_as_there_are() -> None:
    weights = bootstrap_weights(30, 100, np.random.default_rng(0))
    assert weights.shape == (100, 30)
    assert (weights.sum(axis=1) == 30).all()


def test_a_statistic_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        percentile_interval(np.array([0.1, np.nan]))


@given(st.integers(1, 500), st.floats(0, 1))
def test_wilson_holds_the_share_and_stays_between_0_and_1(n: int, share: float) -> None:
    successes = round(share * n)
    low, high = wilson_interval(successes, n)
    assert 0.0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1.0


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=60))
def test_the_interval_holds_the_value(values: list[float]) -> None:
    clusters = [f"v{i // 2}" for i in range(len(values))]
    metric = fraction_metric("a", values, clusters, np.random.default_rng(0), resamples=300)
    if metric.interval is not None and metric.value is not None:
        assert metric.interval[0] <= metric.value <= metric.interval[1]
