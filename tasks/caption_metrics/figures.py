"""Corpus figures, and figures of any weighting of clusters, from summed per-item statistics.

A row of weights says how often each cluster (source video) counts, 0 where it is left out. BLEU and
METEOR are computed anew from the weighted sums of their counts; ROUGE-L and CIDEr-D are weighted
means of per-item values. CIDEr-D's idf is held at that of the full set: an interval speaks of other
captions under the same idf, not of another metric (another idf would be one).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.caption_metrics.bleu import bleu, bleu_counts
from tasks.caption_metrics.cider import cider_d
from tasks.caption_metrics.corpus import Corpus, Floats, Ints, ngram_table
from tasks.caption_metrics.meteor import meteor_score
from tasks.caption_metrics.rouge import rouge_l

BLEU_NAMES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")
METRIC_NAMES = (*BLEU_NAMES, "rouge_l", "cider_d", "meteor")
HIGHEST_CIDER_D = 10.0
# As results carry it. 2: METEOR adds no chunk for captions that are matched whole.
METRICS_VERSION = "2"


@dataclass(frozen=True, slots=True)
class ItemStatistics:
    """Sufficient statistics of N items: BLEU counts [N, 10], ROUGE-L [N], CIDEr-D [N], METEOR [N, 23].

    `meteor` is None when the jar was not run.
    """

    bleu: Ints
    rouge_l: Floats
    cider_d: Floats
    meteor: Floats | None


@dataclass(frozen=True, slots=True)
class ClusterSums:
    """What figures need of each of K clusters: `counted` items [K], `means` sums [K] by metric.

    `bleu` [K, 10] and `meteor` [K, 23] are None where the metric is itself a mean or was not run.
    """

    counted: Floats
    means: Mapping[str, Floats]
    bleu: Floats | None = None
    meteor: Floats | None = None

    def figures(self, weights: NDArray[np.floating] | None = None) -> dict[str, Floats]:
        """Figures float64 [R] by metric name for cluster weights [R, K]; of the full set, [1], if None."""
        shares = np.ones((1, len(self.counted))) if weights is None else np.asarray(weights, dtype=np.float64)
        values: dict[str, Floats] = {}
        if self.bleu is not None:
            values.update(zip(BLEU_NAMES, bleu(shares @ self.bleu).T, strict=True))
        counted = shares @ self.counted
        values.update({name: shares @ sums / counted for name, sums in self.means.items()})
        if self.meteor is not None:
            values["meteor"] = meteor_score(shares @ self.meteor)
        return {name: values[name] for name in METRIC_NAMES if name in values}


def figure_bounds(name: str) -> tuple[float, float]:
    """The range that a caption figure lies in, by its name with or without its convention."""
    return (0.0, HIGHEST_CIDER_D) if name.endswith("cider_d") else (0.0, 1.0)


def item_statistics(corpus: Corpus, meteor: Floats | None = None, groups: Ints | None = None) -> ItemStatistics:
    """Statistics of every item; `meteor` [N, 23] are the jar's, `groups` int64 [N] bounds who shares CIDEr-D's idf."""
    table = ngram_table(corpus)
    return ItemStatistics(
        bleu=bleu_counts(table),
        rouge_l=rouge_l(corpus),
        cider_d=cider_d(table, groups),
        meteor=meteor,
    )


def summed(statistics: ItemStatistics, clusters: Ints) -> ClusterSums:
    """Sum statistics by cluster (int64 [N], numbered from 0): all items are one corpus."""
    return ClusterSums(
        counted=np.bincount(clusters).astype(np.float64),
        means={
            "rouge_l": _sum_rows(statistics.rouge_l[:, None], clusters)[:, 0],
            "cider_d": _sum_rows(statistics.cider_d[:, None], clusters)[:, 0],
        },
        bleu=_sum_rows(statistics.bleu, clusters),
        meteor=None if statistics.meteor is None else _sum_rows(statistics.meteor, clusters),
    )


def averaged(statistics: ItemStatistics, clusters: Ints) -> ClusterSums:
    """Make each cluster a corpus of its own, to be averaged: every metric becomes a mean over clusters.

    The statistics' CIDEr-D must have been computed with `clusters` as its groups.
    """
    by_cluster = summed(statistics, clusters)
    one_each = by_cluster.figures(np.eye(len(by_cluster.counted)))
    return ClusterSums(counted=np.ones(len(by_cluster.counted)), means=one_each)


def _sum_rows(rows: Ints | Floats, clusters: Ints) -> Floats:
    sums = np.zeros((int(clusters.max(initial=-1)) + 1, rows.shape[1]))
    np.add.at(sums, clusters, rows)
    return sums
