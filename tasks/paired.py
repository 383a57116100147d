"""Two systems on the same items: the difference with its interval, tests of it, and what could have been seen.

Items of one source video stand or fall together, so everything here leaves out, draws or swaps whole clusters. A
figure is a function of weights [R, 2K]: how often each of the K clusters counts with the first system's answers (first
half) and with the second's (second half). That covers means and corpus figures (BLEU, median rank) alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, lgamma, log
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tasks.intervals import LEVEL, blocks, bootstrap_weights, jackknife_errors, t_quantile

Floats = NDArray[np.float64]
Figures = Callable[[Floats], Mapping[str, Floats]]

POWER = 0.8


def differences(figures: Figures, weights: Floats) -> dict[str, Floats]:
    """Second minus first [R] for every figure, both systems on the same clusters with `weights` [R, K]."""
    none = np.zeros_like(weights)
    first, second = figures(np.hstack([weights, none])), figures(np.hstack([none, weights]))
    return {name: second[name] - values for name, values in first.items()}


def difference_errors(figures: Figures, sizes: Floats) -> tuple[dict[str, float], float]:
    """The jackknife standard error of every difference, and its degrees of freedom (see `jackknife_errors`)."""
    return jackknife_errors(lambda weights: differences(figures, weights), sizes)


def bootstrap_errors(figures: Figures, clusters: int, rng: np.random.Generator, resamples: int) -> dict[str, float]:
    """The bootstrap standard error of every difference: for medians, which the jackknife does not serve."""
    found: dict[str, list[Floats]] = {}
    for count in blocks(resamples, 2 * clusters):
        for name, values in differences(figures, bootstrap_weights(clusters, count, rng)).items():
            found.setdefault(name, []).append(values)
    return {name: float(np.concatenate(parts).std(ddof=1)) for name, parts in found.items()}


def randomisation_p(figures: Figures, name: str, clusters: int, rng: np.random.Generator, resamples: int) -> float:
    """Two-sided p-value of one figure by approximate randomisation: each cluster's answers swapped by a coin.

    Noreen 1989; the observed arrangement counts as one of the draws, so p is never 0.
    """
    whole = np.ones((1, clusters))
    none = np.zeros((1, clusters))
    observed = abs(difference(figures, name, np.hstack([whole, none]))[0])
    beyond = 0
    for count in blocks(resamples, 2 * clusters):
        kept = rng.integers(0, 2, size=(count, clusters)).astype(np.float64)
        drawn = np.abs(difference(figures, name, np.hstack([kept, 1 - kept])))
        beyond += int((drawn >= observed - 1e-12).sum())
    return (1 + beyond) / (1 + resamples)


def difference(figures: Figures, name: str, weights: Floats) -> Floats:
    """The other arrangement's figure minus this one's [R]; `weights` [R, 2K], the other has the halves swapped."""
    half = weights.shape[1] // 2
    swapped = np.hstack([weights[:, half:], weights[:, :half]])
    return np.asarray(figures(swapped)[name] - figures(weights)[name], dtype=np.float64)


def mcnemar_p(differences: Sequence[int]) -> float:
    """McNemar's test over clusters: two-sided mid-p of `differences`, wins minus losses in each cluster.

    If the systems are equally good, a cluster's difference is as likely to have either sign; the sum's distribution
    over all signs is computed exactly. With one item a cluster this is the exact binomial test of McNemar; the mid-p
    (half of the observed outcome's probability) keeps its false-positive rate near the nominal one (Fagerland et al.
    2013). Swapping whole clusters, rather than items, is ours.
    """
    sizes, counts = np.unique(np.abs(np.asarray(differences, dtype=np.int64)), return_counts=True)
    chances = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        if size:
            chances = np.convolve(chances, signs(size, count))
    middle = len(chances) // 2
    reached = middle + abs(int(np.sum(differences)))
    return float(min(1.0, 2 * chances[reached + 1 :].sum() + chances[reached]))


def signs(size: int, count: int) -> Floats:
    """Chances of the sum of `count` terms of ±`size`, on the places from -size·count to size·count."""
    chances = np.zeros(2 * size * count + 1)
    whole = lgamma(count + 1) - count * log(2)
    chances[:: 2 * size] = np.exp([whole - lgamma(k + 1) - lgamma(count - k + 1) for k in range(count + 1)])
    return chances


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm 1979), in the given order."""
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def reach(comparisons: int = 1, level: float = LEVEL, power: float = POWER, freedom: float | None = None) -> float:
    """How many standard errors a difference must have to be found with the given power at the given level.

    With several comparisons the level of each is the strictest of Holm's. `freedom` are the degrees of freedom of a
    standard error that was estimated from few clusters; None stands for as many as one likes.
    """
    shares = 1 - (1 - level) / (2 * comparisons), power
    if freedom is not None:
        return sum(t_quantile(freedom, share) for share in shares)
    return sum(map(NormalDist().inv_cdf, shares))


def minimum_detectable_effect(standard_error: float, comparisons: int = 1, freedom: float | None = None) -> float:
    """The true difference that such a comparison finds in `POWER` of the cases; `freedom` as in `reach`."""
    return reach(comparisons, freedom=freedom) * standard_error


def items_needed(effect: float, standard_error: float, items: int) -> int:
    """How many items like these would find a true difference of `effect`, given its standard error on `items`."""
    return ceil(items * (reach() * standard_error / effect) ** 2)
