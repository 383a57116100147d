"""BLEU-1 to BLEU-4 of a corpus, as coco-caption computes it, from per-item counts."""

from __future__ import annotations

import numpy as np

from tasks.caption_metrics.corpus import HIGHEST_ORDER, Floats, Ints, NgramTable, match

# coco-caption's two constants: they keep an empty or matchless corpus at (almost) 0 instead of undefined
_SMALL = 1e-9
_TINY = 1e-15


def bleu_counts(table: NgramTable) -> Ints:
    """Sufficient statistics int64 [N, 10]: hypothesis length, closest reference length, matches and n-grams.

    Matches of orders 1 to 4 (clipped by the largest count in any one reference) come before the
    n-grams of orders 1 to 4. Of two reference lengths equally close, the shorter counts.
    """
    items = len(table.hypothesis_length)
    columns = [table.hypothesis_length, _closest_length(table)]
    for hypothesis, reference in zip(table.hypothesis, table.reference, strict=True):
        pairs = match(hypothesis, reference, table.owner)
        allowed = np.zeros(len(hypothesis.count), dtype=np.int64)
        np.maximum.at(allowed, pairs.hypothesis_row, reference.count[pairs.reference_row])
        clipped = np.minimum(allowed, hypothesis.count)
        columns.append(np.bincount(hypothesis.text, weights=clipped, minlength=items).astype(np.int64))
    columns.extend(np.maximum(table.hypothesis_length - order, 0) for order in range(HIGHEST_ORDER))
    return np.stack(columns, axis=1)


def _closest_length(table: NgramTable) -> Ints:
    distance = np.abs(table.reference_length - table.hypothesis_length[table.owner])
    order = np.lexsort((table.reference_length, distance, table.owner))
    firsts = np.searchsorted(table.owner[order], np.arange(len(table.hypothesis_length)))
    return table.reference_length[order][firsts]


def bleu(sums: Floats | Ints) -> Floats:
    """BLEU-1 to BLEU-4, float64 [..., 4], of summed statistics [..., 10] (see `bleu_counts`)."""
    length, reference_length = sums[..., 0], sums[..., 1]
    matches, grams = sums[..., 2:6], sums[..., 6:10]
    precision = np.cumprod((matches + _TINY) / (grams + _SMALL), axis=-1)
    mean = precision ** (1.0 / np.arange(1, HIGHEST_ORDER + 1))
    ratio = (length + _TINY) / (reference_length + _SMALL)
    with np.errstate(over="ignore"):
        penalty = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    return np.asarray(mean * penalty[..., None], dtype=np.float64)
