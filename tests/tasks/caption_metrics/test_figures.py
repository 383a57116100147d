"""Intervals of corpus figures: coverage where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.caption_metrics.conventions import ClusterSums
from tasks.statistics import bounded_interval, jackknife_errors


def simulated_videos(rng: np.random.Generator, count: int) -> ClusterSums:
    """Videos of one to eight captions of about ten words; how many n-grams match varies from video to video."""
    captions = rng.integers(1, 9, size=count)
    words = rng.poisson(10 * captions) + 4 * captions
    grams = np.stack([words - order * captions for order in range(4)], axis=1)
    share = rng.beta(4, 6, size=count)
    matches = np.stack([rng.binomial(grams[:, order], share ** (1 + order / 2)) for order in range(4)], axis=1)
    lengths = np.stack([words, rng.poisson(10 * captions) + 4 * captions], axis=1)
    return ClusterSums(captions.astype(float), {}, np.concatenate([lengths, matches, grams], axis=1).astype(float))


TRUTH = float(simulated_videos(np.random.default_rng(0), 400_000).figures()["bleu_4"][0])


def covered(clusters: int, trials: int) -> float:
    rng = np.random.default_rng(clusters)
    found = 0
    for _ in range(trials):
        sums = simulated_videos(rng, clusters)
        errors, freedom = jackknife_errors(sums.figures, sums.counted)
        value = float(sums.figures()["bleu_4"][0])
        (low, high), _ = bounded_interval(value, errors["bleu_4"], freedom, clusters)
        found += low <= TRUTH <= high
    return found / trials


@pytest.mark.parametrize("clusters", [10, 25])
def test_the_interval_of_bleu_covers_the_truth_95_percent_of_the_time(clusters: int) -> None:
    assert covered(clusters, 1_000) == pytest.approx(0.95, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [10, 20, 25, 50, 350])
def test_the_interval_of_bleu_holds_from_ten_to_350_videos(clusters: int) -> None:
    assert covered(clusters, 4_000) == pytest.approx(0.95, abs=0.015)
