"""The numbers of one pair of runs, before they are corrected for how many pairs there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evals.compare.figures import Common, Measured, lower_is_better
from evals.compare.rows import Difference
from tasks.intervals import LEVEL, percentile_interval
from tasks.paired import Figures, Floats, bootstrap_differences, mcnemar_p, randomisation_p

MCNEMAR = "McNemar over source videos, exact, two-sided mid-p"
RANDOMISATION = "approximate randomisation over source videos, two-sided, {} draws"


@dataclass(frozen=True, slots=True)
class Contrast:
    """Differences of all figures; the primary one's p-value with its method, and its standard error if any."""

    differences: tuple[Difference, ...]
    p: float
    method: str
    standard_error: float | None

    @property
    def primary(self) -> Difference:
        """The difference that counts."""
        return next(row for row in self.differences if row.primary)


def contrast(first: Measured, other: Measured, common: Common, primary: str, seed: int) -> Contrast:
    """Compare two runs on the common items; the same seed draws the same resamples for every pair."""
    rng = np.random.default_rng(seed)
    figures = first.paired(other)
    spread: dict[str, Floats] = {}
    if common.count > 1:
        spread = bootstrap_differences(figures, common.count, rng, first.resamples)
    values = both_values(figures, common.count)
    rows = [
        difference_row(name, *pair, spread.get(name), first.resamples, primary=name == primary)
        for name, pair in values.items()
    ]
    if first.binary and other.binary:
        p, method = mcnemar_p(np.rint(common.sums(other.values - first.values)).astype(int).tolist()), MCNEMAR
    else:
        p = randomisation_p(figures, primary, common.count, rng, first.resamples)
        method = RANDOMISATION.format(first.resamples)
    error = float(np.std(spread[primary], ddof=1)) if primary in spread else 0.0
    return Contrast(tuple(sorted(rows, key=lambda row: not row.primary)), p, method, error or None)


def both_values(figures: Figures, clusters: int) -> dict[str, tuple[float, float]]:
    """Every figure of the first run and of the other on all common items."""
    whole, none = np.ones((1, clusters)), np.zeros((1, clusters))
    first, other = figures(np.hstack([whole, none])), figures(np.hstack([none, whole]))
    return {name: (float(values[0]), float(other[name][0])) for name, values in first.items()}


def difference_row(
    name: str, first: float, other: float, spread: Floats | None, resamples: int, *, primary: bool
) -> Difference:
    """One figure's difference; without an interval where resampling changes nothing."""
    varies = spread is not None and float(np.ptp(spread)) > 0
    return Difference(
        name=name,
        first=first,
        other=other,
        difference=other - first,
        interval=percentile_interval(spread) if spread is not None and varies else None,
        level=LEVEL,
        method=f"paired cluster bootstrap, percentile, {resamples} resamples" if varies else "none (no variation)",
        primary=primary,
        higher_is_better=not lower_is_better(name),
    )
