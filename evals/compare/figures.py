"""Figures of two runs on any resample of source videos, as `tasks.paired` asks for them: means, ranks, texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tasks.caption_metrics.figures import ClusterSums, figure_bounds
from tasks.intervals import group_means
from tasks.paired import Figures, Floats
from tasks.ranks import DUPLICATE_AWARE, rank_figures
from tasks.retrieval import LOWER_IS_BETTER, rank_bounds

UNPARSED = "unparsed_rate"


@dataclass(frozen=True, slots=True)
class Common:
    """The items that all runs answered, in order, with their source videos numbered from 0 to `count`."""

    ids: tuple[str, ...]
    codes: NDArray[np.intp]
    count: int

    def sums(self, values: Floats) -> Floats:
        """Sums of item values [N] by source video [K]."""
        return np.bincount(self.codes, weights=values, minlength=self.count).astype(np.float64)


class Measured(Protocol):
    """What a family offers: `values` [N] of the primary figure by item, 0 or 1 where `binary`."""

    @property
    def values(self) -> Floats: ...
    @property
    def binary(self) -> bool: ...
    @property
    def resamples(self) -> int: ...
    def bounds(self, name: str) -> tuple[float, float]:
        """The range that a figure of this family lies in."""
        ...

    def paired(self, other: Self) -> Figures:
        """Figures of weights [R, 2K] over this run's source videos, then the other's."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """Figures that are means over items: `sums` [K] by name, of `sizes` [K] items.

    `grouped` are those that are the mean over groups of items: sums and sizes [G, K] of each.
    """

    values: Floats
    sums: Mapping[str, Floats]
    sizes: Floats
    binary: bool
    resamples: int = 5_000
    grouped: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)

    def bounds(self, name: str) -> tuple[float, float]:  # noqa: ARG002 - all are shares
        return (0.0, 1.0)

    def paired(self, other: Means) -> Figures:
        def figures(weights: Floats) -> Mapping[str, Floats]:
            items = weights @ np.concatenate([self.sizes, other.sizes])
            found = {
                name: weights @ np.concatenate([sums, other.sums[name]]) / items for name, sums in self.sums.items()
            }
            for name, (sums, sizes) in self.grouped.items():
                both = (
                    np.hstack([mine, theirs]) for mine, theirs in zip((sums, sizes), other.grouped[name], strict=True)
                )
                found[name] = group_means(weights, *both)
            return found

        return figures


@dataclass(frozen=True, slots=True)
class Ranked:
    """Retrieval: ranks [N] by direction and way of counting, among the common items; the gallery is held."""

    values: Floats
    ranks: Mapping[tuple[str, str], NDArray[np.int64]]
    common: Common
    binary: bool = True
    resamples: int = 1_000

    def bounds(self, name: str) -> tuple[float, float]:
        return rank_bounds(name, len(self.common.ids))

    def paired(self, other: Ranked) -> Figures:
        codes = np.concatenate([self.common.codes, self.common.codes + self.common.count])

        def figures(weights: Floats) -> Mapping[str, Floats]:
            found = {}
            for (direction, counting), ranks in self.ranks.items():
                both = np.concatenate([ranks, other.ranks[direction, counting]])
                named = rank_figures(both, len(self.common.ids), weights[:, codes])
                found.update({f"{direction}_{name}{counting}": values for name, values in named.items()})
            return found

        return figures


@dataclass(frozen=True, slots=True)
class Captioned:
    """Texts: the summed statistics of each convention, with CIDEr-D's idf from the common items."""

    values: Floats
    sums: Mapping[str, ClusterSums]
    binary: bool = False
    resamples: int = 5_000

    def bounds(self, name: str) -> tuple[float, float]:
        return figure_bounds(name)

    def paired(self, other: Captioned) -> Figures:
        both = {prefix: joined(sums, other.sums[prefix]) for prefix, sums in self.sums.items()}

        def figures(weights: Floats) -> Mapping[str, Floats]:
            return {
                f"{prefix}_{name}": values
                for prefix, sums in both.items()
                for name, values in sums.figures(weights).items()
            }

        return figures


def joined(first: ClusterSums, other: ClusterSums) -> ClusterSums:
    """Two runs' sums as those of one set of 2K clusters."""
    counts = None if first.bleu is None or other.bleu is None else np.concatenate([first.bleu, other.bleu])
    means = {name: np.concatenate([sums, other.means[name]]) for name, sums in first.means.items()}
    return ClusterSums(np.concatenate([first.counted, other.counted]), means, counts)


def lower_is_better(name: str) -> bool:
    """Whether a figure is a rank or a rate of failures."""
    return name == UNPARSED or any(name.removesuffix(DUPLICATE_AWARE).endswith(f"_{rank}") for rank in LOWER_IS_BETTER)
