"""95 % intervals by cluster bootstrap: items of one source video are resampled together."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from tasks.task import Metric

LEVEL = 0.95
RESAMPLES = 5_000
# Ours: no benchmark here has more clusters than the first; the second bounds memory, 16 MB at a time.
MANY_CLUSTERS, AT_ONCE = 8_192, 256
_NORMAL_QUANTILE = 1.959963984540054  # two-sided 95 %


def cluster_codes(clusters: Sequence[str]) -> tuple[NDArray[np.intp], int]:
    """Number the clusters: a code per item, in [0, K), and K."""
    names, codes = np.unique(np.asarray(clusters, dtype=np.str_), return_inverse=True)
    return codes.astype(np.intp).reshape(-1), len(names)


def bootstrap_weights(clusters: int, resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How often each cluster is drawn in each resample: counts [resamples, clusters], rows sum to `clusters`.

    Weights rather than indices, so that any statistic built from sums over clusters is one matrix product.
    """
    draws = rng.multinomial(clusters, np.full(clusters, 1.0 / clusters), size=resamples)
    return draws.astype(np.float64)


def resampled_means(
    sums: NDArray[np.float64], sizes: NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Means over items of resampled clusters, from each cluster's sum and size, in memory that stays small.

    Many clusters are drawn one by one: counting how often each of them is drawn takes ten times as long.
    """
    clusters = len(sums)
    means = np.empty(resamples)
    if clusters > MANY_CLUSTERS:
        for number in range(resamples):
            drawn = rng.integers(clusters, size=clusters)
            means[number] = sums[drawn].sum() / sizes[drawn].sum()
        return means
    for start in range(0, resamples, AT_ONCE):
        weights = bootstrap_weights(clusters, min(AT_ONCE, resamples - start), rng)
        means[start : start + AT_ONCE] = (weights @ sums) / (weights @ sizes)
    return means


def percentile_interval(values: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """Central interval of bootstrap values; refuses NaN rather than narrowing the interval silently."""
    if not np.isfinite(values).all():
        msg = "a bootstrap statistic is not finite"
        raise ValueError(msg)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return float(low), float(high)


def wilson_interval(successes: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion."""
    z2 = _NORMAL_QUANTILE**2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _NORMAL_QUANTILE / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def fraction_metric(
    name: str,
    values: Sequence[float],
    clusters: Sequence[str],
    rng: np.random.Generator,
    *,
    primary: bool = False,
    higher_is_better: bool = True,
    resamples: int = RESAMPLES,
) -> Metric:
    """The mean of 0–1 values with its interval over clusters.

    Where all items agree a bootstrap has no width, so Wilson's interval on the number of clusters stands in;
    one cluster alone gives none. The method is named in the result.
    """
    scores = np.asarray(values, dtype=np.float64)
    codes, k = cluster_codes(clusters) if len(scores) else (np.zeros(0, dtype=np.intp), 0)
    value = float(scores.mean()) if len(scores) else None
    interval: tuple[float, float] | None = None
    if value is None:
        method = "none (no items)"
    elif k < 2:
        method = "none (one cluster)"
    elif np.all(scores == scores[0]) and scores[0] in (0.0, 1.0):
        method = "wilson on clusters (all items equal)"
        interval = wilson_interval(scores[0] * k, k)
    else:
        method = f"cluster bootstrap, percentile, {resamples} resamples"
        sums = np.bincount(codes, weights=scores, minlength=k).astype(np.float64)
        sizes = np.bincount(codes, minlength=k).astype(np.float64)
        interval = percentile_interval(resampled_means(sums, sizes, resamples, rng))
    return Metric(
        name=name,
        value=value,
        interval=interval,
        level=LEVEL,
        method=method,
        n=len(scores),
        clusters=k,
        primary=primary,
        higher_is_better=higher_is_better,
    )
