"""Intervals for a mean over a few seeds and many items, where both are samples (ours).

Rows of a matrix [seeds, videos] are one training each, its columns the same videos every time. The
variance of the mean is the sum of two: between families of videos, of the mean over seeds, as for a
cluster-robust mean; and between seeds. The noise of a family under a seed is in both, so intervals
err on the wide side. Student's t with Welch and Satterthwaite's degrees of freedom makes it hold for
as few as two seeds, for which a bootstrap over seeds would be far too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.intervals import LEVEL, cluster_codes, wilson_interval

Scores = NDArray[np.float64]
CROSSED = "t over seeds and families, both random"
ONE_SEED = "t over families, one seed: what another training would give is left out"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval, None where nothing varies."""

    value: float
    interval: tuple[float, float] | None
    method: str
    per_seed: tuple[float, ...]


def estimate(scores: Scores, families: tuple[str, ...], *, share: bool = True) -> Estimate:
    """The mean of `scores` [seeds, videos]. A `share` lies within 0 and 1, a difference need not.

    Where all of a share's items are 0, or all are 1, Wilson's interval on the number of families stands in.
    """
    codes, count = cluster_codes(families)
    per_seed = tuple(float(value) for value in scores.mean(axis=1))
    value = float(scores.mean())
    if share and value in (0.0, 1.0):
        return Estimate(value, wilson_interval(value * count, count), "wilson on families (all equal)", per_seed)
    parts = [part for part in (_between_families(scores, codes, count), _between_seeds(scores)) if part]
    if not parts:
        return Estimate(value, None, "none (one family, one seed)", per_seed)
    half = _half_width(parts)
    if half == 0:
        return Estimate(value, None, "none (no family and no seed differs)", per_seed)
    low, high = value - half, value + half
    interval = (max(0.0, low), min(1.0, high)) if share else (low, high)
    return Estimate(value, interval, CROSSED if len(scores) > 1 else ONE_SEED, per_seed)


def _between_families(scores: Scores, codes: NDArray[np.intp], count: int) -> tuple[float, int] | None:
    """Variance of the mean that comes of the families, and its degrees of freedom."""
    if count < 2:
        return None
    residuals = scores.mean(axis=0) - scores.mean()
    sums = np.bincount(codes, weights=residuals, minlength=count)
    return float(count / (count - 1) * (sums**2).sum() / scores.shape[1] ** 2), count - 1


def _between_seeds(scores: Scores) -> tuple[float, int] | None:
    """Variance of the mean that comes of the seeds, and its degrees of freedom."""
    seeds = len(scores)
    if seeds < 2:
        return None
    return float(scores.mean(axis=1).var(ddof=1) / seeds), seeds - 1


def _half_width(parts: list[tuple[float, int]]) -> float:
    from scipy.stats import t

    total = sum(variance for variance, _ in parts)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    return float(t.ppf((1 + LEVEL) / 2, freedom) * total**0.5)
