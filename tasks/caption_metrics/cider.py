"""CIDEr-D as coco-caption computes it: n = 1 to 4, clipping, sigma 6, times ten."""

from __future__ import annotations

import numpy as np

from tasks.caption_metrics.corpus import HIGHEST_ORDER, Floats, Grams, Ints, NgramTable, match

_SIGMA = 6.0


def cider_d(table: NgramTable, groups: Ints | None = None) -> Floats:
    """CIDEr-D of each item, float64 [N].

    An n-gram's idf counts the items that have it in a reference, within the item's own group
    (`groups` int64 [N]; one group of all items if None). A group of one item scores 0: every idf is 0.
    The value belongs to this set of items: another set has other idf.
    """
    items = len(table.hypothesis_length)
    groups = np.zeros(items, dtype=np.int64) if groups is None else groups
    log_size = np.log(np.maximum(np.bincount(groups), 1).astype(np.float64))
    similarity = np.zeros(len(table.owner))
    for hypothesis, reference in zip(table.hypothesis, table.reference, strict=True):
        similarity += _cosines(hypothesis, reference, table.owner, groups, log_size)
    # coco-caption takes the number of bigrams for a text's length
    bigrams = np.maximum(table.hypothesis_length[table.owner] - 1, 0)
    gap = bigrams - np.maximum(table.reference_length - 1, 0)
    similarity *= np.exp(-(gap**2) / (2 * _SIGMA**2)) / HIGHEST_ORDER
    total = np.bincount(table.owner, weights=similarity, minlength=items)
    return np.asarray(10.0 * total / np.bincount(table.owner, minlength=items), dtype=np.float64)


def _cosines(hypothesis: Grams, reference: Grams, owner: Ints, groups: Ints, log_size: Floats) -> Floats:
    """Clipped tf-idf similarity [references] of each reference with its hypothesis, for one order."""
    kinds = max(reference.kinds, 1)
    grouped = groups[owner[reference.text]] * kinds + reference.gram
    known, frequency = _document_frequency(owner[reference.text] * kinds + reference.gram, groups, kinds)

    def idf(keys: Ints) -> Floats:
        if not len(known):
            return np.zeros(len(keys))
        place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        count = np.where(known[place] == keys, frequency[place], 1)
        return np.asarray(log_size[keys // kinds] - np.log(count), dtype=np.float64)

    weight = idf(groups[hypothesis.text] * kinds + hypothesis.gram) * hypothesis.count
    reference_weight = idf(grouped) * reference.count
    norm = np.sqrt(np.bincount(hypothesis.text, weights=weight**2, minlength=len(groups)))
    reference_norm = np.sqrt(np.bincount(reference.text, weights=reference_weight**2, minlength=len(owner)))
    pairs = match(hypothesis, reference, owner)
    ours, theirs = weight[pairs.hypothesis_row], reference_weight[pairs.reference_row]
    product = np.minimum(ours, theirs) * theirs
    dot = np.bincount(reference.text[pairs.reference_row], weights=product, minlength=len(owner))
    scale = norm[owner] * reference_norm
    return np.asarray(np.divide(dot, scale, out=np.zeros(len(owner)), where=scale > 0), dtype=np.float64)


def _document_frequency(item_grams: Ints, groups: Ints, kinds: int) -> tuple[Ints, Ints]:
    """The (group, gram) keys that references have, sorted, and in how many items of the group."""
    distinct = np.unique(item_grams)
    keys = groups[distinct // kinds] * kinds + distinct % kinds
    known, frequency = np.unique(keys, return_counts=True)
    return known, frequency.astype(np.int64)
