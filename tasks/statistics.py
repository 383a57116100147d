"""Intervals of one system and differences of two, clustered by source video; and the power of comparisons.

Items of one source video are correlated, so everything here leaves out, draws or swaps whole clusters. A figure is a
function of weights: [R, K], how often each of the K clusters counts, or for two systems [R, 2K], the first system's
answers and then the second's. This covers means and corpus figures (BLEU, METEOR, median rank) alike.

The standard error is the jackknife's: the figure is computed again without each cluster in turn, with no random draws.
It is used with Student's t, with fewer degrees of freedom where clusters differ in size, and in Wilson's form, which
keeps to the range that a figure can have and stays honest near its ends. In simulations with 10 to 350 unequal clusters
the truth is inside 95 ± 1.5 % of the time; the coverage of a percentile bootstrap falls to 90 % at ten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil, lgamma, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tasks.task import Metric

Floats = NDArray[np.float64]
# Figures by name, each [R], of weights [R, K]: how often each cluster counts.
ClusterFigures = Callable[[Floats], Mapping[str, Floats]]

LEVEL = 0.95
# Names and version of the method, as stored in results.
METHOD = "t over clusters, jackknife standard error, version 2"
NO_VARIATION = "Wilson over clusters with t, version 2 (no cluster differs)"
_NORMAL_QUANTILE = 1.959963984540054  # two-sided 95 %
# Standard errors below this are rounding.
_NOTHING = 1e-8
# More clusters than this are grouped, and groups are left out in turn: 999 degrees of freedom are enough.
_MOST_GROUPS = 1_000
# Weights held at once: 64 MiB.
_BLOCK_ELEMENTS = 1 << 23


def cluster_codes(clusters: Sequence[str]) -> tuple[NDArray[np.intp], int]:
    """Number the clusters: a code per item, in [0, K), and K."""
    # In the order of `np.unique`, which takes ten times as long over texts.
    places = {name: place for place, name in enumerate(sorted(set(clusters)))}
    return np.array([places[name] for name in clusters], dtype=np.intp), len(places)


def blocks(rows: int, columns: int) -> Iterator[int]:
    """Yield block sizes in rows of weights that fit into memory, adding up to `rows`."""
    most = max(1, _BLOCK_ELEMENTS // max(columns, 1))
    for start in range(0, rows, most):
        yield min(most, rows - start)


def bootstrap_weights(clusters: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Draw how often each cluster is in each resample: counts [resamples, clusters], rows sum to `clusters`.

    Weights rather than indices, so that any statistic built from sums over clusters is one matrix product.
    """
    draws = rng.multinomial(clusters, np.full(clusters, 1.0 / clusters), size=resamples)
    return draws.astype(np.float64)


def percentile_interval(values: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Return the central interval of simulated values."""
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return float(low), float(high)


def jackknife_errors(figures: ClusterFigures, sizes: Floats) -> tuple[dict[str, float], float]:
    """Return the standard error of every figure over clusters of `sizes` [K] items, and Student's degrees of freedom.

    Not for medians, which hardly change when one cluster is left out. Raises ValueError if a figure is not finite.
    """
    clusters = len(sizes)
    groups = np.arange(clusters) % min(clusters, _MOST_GROUPS)
    count = int(groups.max()) + 1
    whole = figures(np.ones((1, clusters)))
    squares = dict.fromkeys(whole, 0.0)
    first = 0
    for rows in blocks(count, clusters):
        left_out = np.arange(first, first + rows)[:, None] != groups
        for name, values in figures(left_out.astype(np.float64)).items():
            squares[name] += float(((values - whole[name]) ** 2).sum())
        first += rows
    if not np.isfinite(list(squares.values())).all():
        raise ValueError("a figure without one of its clusters is not finite")
    errors = {name: sqrt((count - 1) / count * total) for name, total in squares.items()}
    return errors, degrees_of_freedom(np.bincount(groups, weights=sizes).astype(np.float64))


def degrees_of_freedom(sizes: Floats) -> float:
    """Return Satterthwaite's degrees of freedom of the jackknife variance of a mean over clusters of `sizes` [K] items.

    K - 1 for equal sizes, fewer if some are larger, as in Bell and McCaffrey (2002) for regression.
    The matrix of the variance as a quadratic form is a diagonal plus two dyads, so that its traces are sums.
    """
    shares = sizes / sizes.sum()
    if len(sizes) < 2 or shares.max() >= 1:
        return 1.0
    scale = 1 / (1 - shares)
    diagonal, left, right = scale**2 * sizes, scale * shares, scale * sizes
    total = sizes.sum()
    ll, lr, rr = left @ left, left @ right, right @ right
    trace = diagonal.sum() - 2 * lr + total * ll
    squared = (diagonal**2).sum() + 2 * ll * rr + 2 * lr**2 + (total * ll) ** 2 - 4 * total * lr * ll
    squared += 2 * total * (diagonal * left**2).sum() - 4 * (diagonal * left * right).sum()
    return max(1.0, float(trace**2 / squared))


def t_quantile(freedom: float, probability: float = (1 + LEVEL) / 2) -> float:
    """Return Student's quantile; by default that of a two-sided interval."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def bounded_interval(
    value: float, error: float, freedom: float, clusters: int, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[tuple[float, float], str]:
    """Return the interval of a figure within `bounds`, and its method.

    Wilson's form, for the number of independent trials with the same standard error. If no cluster differs from
    another there is no standard error: each cluster then counts as one trial.
    """
    low, high = bounds
    share, deviation = (value - low) / (high - low), error / (high - low)
    share = min(max(share, 0.0), 1.0)
    quantile = t_quantile(freedom)
    varies = deviation > _NOTHING and _NOTHING < share < 1 - _NOTHING
    trials = share * (1 - share) / deviation**2 if varies else float(clusters)
    ends = wilson_interval(share * trials, trials, quantile)
    found = min(value, low + ends[0] * (high - low)), max(value, low + ends[1] * (high - low))
    return (float(found[0]), float(found[1])), METHOD if varies else NO_VARIATION


def difference_interval(
    difference: float, error: float, freedom: float, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float] | None:
    """Return the interval of a difference between two figures within `bounds`; None if nothing varies."""
    most, half = bounds[1] - bounds[0], t_quantile(freedom) * error
    if error <= _NOTHING * most:
        return None
    return max(-most, difference - half), min(most, difference + half)


def median_interval(values: ArrayLike, codes: NDArray[np.intp]) -> tuple[float, float]:
    """Return the interval of a median of `values` [N] in clusters `codes` [N] (Woodruff 1952).

    The share of values up to the median has an interval like any mean; the values at its ends are the median's
    interval.
    """
    found = np.asarray(values, dtype=np.float64)
    sizes = np.bincount(codes).astype(np.float64)
    below = np.bincount(codes, weights=found <= np.median(found)).astype(np.float64)
    half = t_quantile(degrees_of_freedom(sizes)) * (ratio_error(below, sizes) or 0.5 / sqrt(len(sizes)))
    ends = max(0.0, 0.5 - half), min(1.0, 0.5 + half)
    return float(np.quantile(found, ends[0], method="lower")), float(np.quantile(found, ends[1], method="higher"))


def ratio_error(sums: Floats, sizes: Floats) -> float:
    """Return the jackknife standard error of a mean over items, from sums [K] over clusters of `sizes` [K] items."""
    clusters, total, items = len(sizes), sums.sum(), sizes.sum()
    left_out = (total - sums) / (items - sizes)
    return sqrt((clusters - 1) / clusters * float(((left_out - total / items) ** 2).sum()))


def wilson_interval(successes: float, n: float, quantile: float = _NORMAL_QUANTILE) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a proportion."""
    z2 = quantile**2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = quantile / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def group_means(weights: Floats, sums: Floats, sizes: Floats) -> Floats:
    """Return the mean over groups of their means [R]: `sums` and `sizes` are [G, K] by cluster, `weights` is [R, K].

    Groups without items are left out.
    """
    counts = weights @ sizes.T
    means = np.divide(weights @ sums.T, counts, out=np.zeros_like(counts), where=counts > 0)
    there = (counts > 0).sum(axis=1)
    return np.asarray(np.divide(means.sum(axis=1), there, out=np.zeros(len(there)), where=there > 0))


def by_group(
    values: Floats, codes: NDArray[np.intp], clusters: int, groups: Sequence[str]
) -> tuple[Floats, Floats, list[str]]:
    """Return sums and counts [G, K] of item values [N] by group and cluster, and the groups' names."""
    group_codes, count = cluster_codes(groups)
    places = group_codes * clusters + codes
    cells = count * clusters
    sums = np.bincount(places, weights=values, minlength=cells).astype(np.float64).reshape(count, clusters)
    sizes = np.bincount(places, minlength=cells).astype(np.float64).reshape(count, clusters)
    return sums, sizes, [str(name) for name in np.unique(np.asarray(groups, dtype=np.str_))]


def grouped_metric(
    name: str, values: Sequence[float], clusters: Sequence[str], groups: Sequence[str], *, primary: bool = False
) -> Metric:
    """Return the mean over groups of their means of 0–1 values, with its interval over clusters.

    No interval if a group is in one cluster: how its figure varies between clusters is unknown.
    """
    whole = fraction_metric(name, values, clusters, primary=primary)
    if whole.value is None:
        return whole
    codes, k = cluster_codes(clusters)
    sums, sizes, names = by_group(np.asarray(values, dtype=np.float64), codes, k, groups)
    value = float(group_means(np.ones((1, k)), sums, sizes)[0])
    interval, method = None, whole.method
    alone = next((names[group] for group, row in enumerate(sizes) if (row > 0).sum() < 2), None)
    if k > 1 and alone is not None:
        method = f"none (all items of '{alone}' are of one cluster)"
    elif k > 1:
        # Items of small groups have more weight: a cluster's weight is its share of every group.
        shares = (sizes / sizes.sum(axis=1, keepdims=True)).sum(axis=0)
        errors, freedom = jackknife_errors(lambda weights: {name: group_means(weights, sums, sizes)}, shares)
        interval, method = bounded_interval(value, errors[name], freedom, k)
    return replace(whole, value=value, interval=interval, method=method)


def fraction_metric(
    name: str,
    values: Sequence[float],
    clusters: Sequence[str],
    *,
    primary: bool = False,
    higher_is_better: bool = True,
) -> Metric:
    """Return the mean of 0–1 values with its interval over clusters; a single cluster has none."""
    scores = np.asarray(values, dtype=np.float64)
    codes, k = cluster_codes(clusters) if len(scores) else (np.zeros(0, dtype=np.intp), 0)
    value = float(scores.mean()) if len(scores) else None
    interval: tuple[float, float] | None = None
    if value is None:
        method = "none (no items)"
    elif k < 2:
        method = "none (one cluster)"
    else:
        sums = np.bincount(codes, weights=scores, minlength=k).astype(np.float64)
        sizes = np.bincount(codes, minlength=k).astype(np.float64)
        interval, method = bounded_interval(value, ratio_error(sums, sizes), degrees_of_freedom(sizes), k)
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


def kappa_metric(name: str, pairs: Sequence[tuple[bool, bool]], clusters: Sequence[str]) -> Metric:
    """Cohen's kappa of two raters' yes or no on the same items, with its interval over clusters.

    None where both say the same of every item, or one rater leaves no chance to agree by: kappa is not defined there.
    """
    codes, k = cluster_codes(clusters) if pairs else (np.zeros(0, dtype=np.intp), 0)
    votes = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    columns = np.stack([votes[:, 0] * votes[:, 1], votes[:, 0], votes[:, 1], np.ones(len(votes))])
    sums = np.stack([np.bincount(codes, weights=column, minlength=k) for column in columns])

    def kappa(weights: Floats) -> dict[str, Floats]:
        both, first, second, count = (weights @ column for column in sums)
        count = np.maximum(count, 1.0)
        seen = (count - first - second + 2 * both) / count
        chance = (first * second + (count - first) * (count - second)) / count**2
        return {name: np.divide(seen - chance, 1 - chance, out=np.full_like(seen, np.nan), where=chance < 1)}

    value = float(kappa(np.ones((1, k)))[name][0]) if len(pairs) else np.nan
    interval, method = None, "none (no items)" if not len(pairs) else "none (one cluster)"
    if not np.isfinite(value):
        method = method if not len(pairs) else "none (a rater says the same of every item)"
    elif k > 1:
        try:
            errors, freedom = jackknife_errors(kappa, sums[3])
            interval, method = bounded_interval(value, errors[name], freedom, k, (-1.0, 1.0))
        except ValueError:
            method = "none (without one cluster a rater says the same of every item)"
    found = value if np.isfinite(value) else None
    return Metric(name, found, interval, LEVEL, method, len(pairs), k, primary=False, higher_is_better=True)


Figures = Callable[[Floats], Mapping[str, Floats]]

POWER = 0.8


def differences(figures: Figures, weights: Floats) -> dict[str, Floats]:
    """Return second minus first [R] for every figure, both systems on the same clusters with `weights` [R, K]."""
    none = np.zeros_like(weights)
    first, second = figures(np.hstack([weights, none])), figures(np.hstack([none, weights]))
    return {name: second[name] - values for name, values in first.items()}


def difference_errors(figures: Figures, sizes: Floats) -> tuple[dict[str, float], float]:
    """Return the jackknife standard error of every difference, and its degrees of freedom (see `jackknife_errors`)."""
    return jackknife_errors(lambda weights: differences(figures, weights), sizes)


def bootstrap_errors(figures: Figures, clusters: int, rng: np.random.Generator, resamples: int) -> dict[str, float]:
    """Return the bootstrap standard error of every difference: for medians, where the jackknife is invalid."""
    found: dict[str, list[Floats]] = {}
    for count in blocks(resamples, 2 * clusters):
        for name, values in differences(figures, bootstrap_weights(clusters, count, rng)).items():
            found.setdefault(name, []).append(values)
    return {name: float(np.concatenate(parts).std(ddof=1)) for name, parts in found.items()}


def randomisation_p(figures: Figures, name: str, clusters: int, rng: np.random.Generator, resamples: int) -> float:
    """Return the two-sided p-value of one figure by approximate randomisation: randomly swap each cluster's answers.

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
    """Return the second system's figure minus the first's [R], for `weights` [R, 2K] and with their halves swapped."""
    half = weights.shape[1] // 2
    swapped = np.hstack([weights[:, half:], weights[:, :half]])
    return np.asarray(figures(swapped)[name] - figures(weights)[name], dtype=np.float64)


def mcnemar_p(differences: Sequence[int]) -> float:
    """Return McNemar's test over clusters: the two-sided mid-p of `differences`, wins minus losses in each cluster.

    If the systems are equally good, a cluster's difference is as likely to have either sign; the sum's distribution
    over all signs is computed exactly. With one item per cluster this is the exact binomial test of McNemar; the mid-p
    (half of the observed outcome's probability) keeps its false-positive rate near the nominal one (Fagerland et al.
    2013). Swapping whole clusters, rather than items, is our choice.
    """
    sizes, counts = np.unique(np.abs(np.asarray(differences, dtype=np.int64)), return_counts=True)
    chances = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        if size:
            chances = without_ends(np.convolve(chances, without_ends(signs(size, count))))
    reached = len(chances) // 2 + abs(int(np.sum(differences)))
    return float(min(1.0, 2 * chances[reached + 1 :].sum() + chances[reached : reached + 1].sum()))


def without_ends(chances: Floats) -> Floats:
    """Return a symmetric distribution without the chances at its ends that are zero, being too small for a float.

    With thousands of clusters most are; what is left grows as the root of their number.
    """
    first = int(np.flatnonzero(chances)[0])
    return chances[first : len(chances) - first]


def signs(size: int, count: int) -> Floats:
    """Return the distribution of the sum of `count` terms of ±`size`, from -size·count to size·count."""
    chances = np.zeros(2 * size * count + 1)
    whole = lgamma(count + 1) - count * log(2)
    chances[:: 2 * size] = np.exp([whole - lgamma(k + 1) - lgamma(count - k + 1) for k in range(count + 1)])
    return chances


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm 1979), in the given order."""
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def reach(comparisons: int = 1, level: float = LEVEL, power: float = POWER, freedom: float | None = None) -> float:
    """Return how many standard errors a difference must have to be found with the given power at the given level.

    With several comparisons the level of each is the strictest of Holm's. `freedom` is the number of degrees of freedom
    of a standard error that was estimated from few clusters; None means infinitely many.
    """
    shares = 1 - (1 - level) / (2 * comparisons), power
    if freedom is not None:
        return sum(t_quantile(freedom, share) for share in shares)
    return sum(map(NormalDist().inv_cdf, shares))


def minimum_detectable_effect(standard_error: float, comparisons: int = 1, freedom: float | None = None) -> float:
    """Return the true difference that such a comparison finds in `POWER` of the cases; `freedom` as in `reach`."""
    return reach(comparisons, freedom=freedom) * standard_error


def items_needed(effect: float, standard_error: float, items: int) -> int:
    """Return how many items like these would find a true difference of `effect`, given its error on `items`."""
    return ceil(items * (reach() * standard_error / effect) ** 2)
