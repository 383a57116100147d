"""The numbers of one pair of runs, before they are corrected for how many pairs there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evals.compare.rows import Difference
from tasks.family import Common, Family, Measured
from tasks.intervals import LEVEL, METHOD, difference_interval
from tasks.paired import Figures, bootstrap_errors, difference_errors, mcnemar_p, randomisation_p
from tasks.ranks import DUPLICATE_AWARE, MEDIANS

MCNEMAR = "McNemar over source videos, exact, two-sided mid-p"
MEDIAN_METHOD = "t over clusters, bootstrap standard error ({} resamples), version 2"
RANDOMISATION = "approximate randomisation over source videos, two-sided, {} draws"


@dataclass(frozen=True, slots=True)
class Contrast:
    """Differences of all figures; the primary one's p-value with its method, and its standard error if any.

    `freedom` are the degrees of freedom of the standard errors.
    """

    differences: tuple[Difference, ...]
    p: float
    method: str
    standard_error: float | None
    freedom: float

    @property
    def primary(self) -> Difference:
        """The difference that counts."""
        return next(row for row in self.differences if row.primary)


def contrast(first: Measured, other: Measured, common: Common, primary: str, family: Family, seed: int) -> Contrast:
    """Compare two runs on the common items; the same seed draws the same resamples for every pair."""
    rng = np.random.default_rng(seed)
    figures = first.paired(other)
    errors: dict[str, float] = {}
    freedom = 1.0
    if common.count > 1:
        errors, freedom = difference_errors(figures, common.sums(np.ones(len(common.ids))))
        if any(is_median(name) for name in errors):
            drawn = bootstrap_errors(figures, common.count, rng, first.resamples)
            errors |= {name: error for name, error in drawn.items() if is_median(name)}
    rows = [
        difference_row(
            name, *pair, errors.get(name), freedom, first, primary=name == primary, lower=family.is_lower_better(name)
        )
        for name, pair in both_values(figures, common.count).items()
    ]
    if first.binary and other.binary:
        p, method = mcnemar_p(np.rint(common.sums(other.values - first.values)).astype(int).tolist()), MCNEMAR
    else:
        p = randomisation_p(figures, primary, common.count, rng, first.resamples)
        method = RANDOMISATION.format(first.resamples)
    ordered = tuple(sorted(rows, key=lambda row: not row.primary))
    return Contrast(ordered, p, method, errors.get(primary) or None, freedom)


def is_median(name: str) -> bool:
    """Whether a figure is a median, for which the jackknife does not serve."""
    return name.removesuffix(DUPLICATE_AWARE).endswith(MEDIANS)


def both_values(figures: Figures, clusters: int) -> dict[str, tuple[float, float]]:
    """Every figure of the first run and of the other on all common items."""
    whole, none = np.ones((1, clusters)), np.zeros((1, clusters))
    first, other = figures(np.hstack([whole, none])), figures(np.hstack([none, whole]))
    return {name: (float(values[0]), float(other[name][0])) for name, values in first.items()}


def difference_row(
    name: str,
    first: float,
    other: float,
    error: float | None,
    freedom: float,
    measured: Measured,
    *,
    primary: bool,
    lower: bool,
) -> Difference:
    """One figure's difference; without an interval where no source video differs from another."""
    interval = None if error is None else difference_interval(other - first, error, freedom, measured.bounds(name))
    method = MEDIAN_METHOD.format(measured.resamples) if is_median(name) else f"{METHOD}, paired"
    return Difference(
        name=name,
        first=first,
        other=other,
        difference=other - first,
        interval=interval,
        level=LEVEL,
        method="none (no variation)" if interval is None else method,
        primary=primary,
        higher_is_better=not lower,
    )
