"""Ranks and recall of retrieval, in blocks, with a stated tie rule.

Tie rule (ours): pessimistic. A right answer's rank is one plus the number of wrong answers that are
at least as similar, so a model that gives everything the same vector ranks last. With several right answers the best of
them counts, and the others are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Matrix = NDArray[np.floating]
Truth = Sequence[Sequence[int]]

# float32 elements per block of similarities: 128 MiB
_BLOCK_ELEMENTS = 1 << 25
# Products of vectors below 2**32 stay far below float32's largest number, 2**128, and above its smallest.
_MOST_EXPONENT = 32

DUPLICATE_AWARE = "_duplicate_aware"
MEDIANS = ("median_rank", "median_rank_percentile")


def ranks_from_vectors(queries: Matrix, gallery: Matrix, truth: Truth) -> Ints:
    """Return ranks int64 [Q], from 1, of right answers by dot product of vectors [Q, D] and [G, D], in float32.

    `truth[q]` lists the right gallery rows. Equal gallery rows are multiplied once, so that they tie
    exactly. Vectors of any magnitude are ranked: see `moderate`. Peak memory is that of the vectors, one copy of the
    gallery and one block. Raises DataError on NaN or infinity, on shapes that don't fit and on queries without a right
    answer.
    """
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        msg = f"queries {queries.shape} and gallery {gallery.shape} must be [Q, D] and [G, D]"
        raise DataError(msg)
    _refuse_not_finite(queries, "query vectors")
    _refuse_not_finite(gallery, "gallery vectors")
    right = _checked(truth, len(queries), len(gallery))
    distinct, place, copies = _distinct_rows(moderate(gallery))
    transposed = distinct.T
    ranks = np.zeros(len(queries), dtype=np.int64)
    step = max(1, _BLOCK_ELEMENTS // max(len(distinct), 1))
    for start in range(0, len(queries), step):
        block = moderate(queries[start : start + step]) @ transposed
        columns = [place[answers] for answers in right[start : start + step]]
        ranks[start : start + step] = _block_ranks(block, columns, copies)
    return ranks


def ranks_from_similarities(similarities: Matrix, truth: Truth) -> Ints:
    """Return ranks int64 [Q], from 1, of right answers in a matrix [Q, G]; raises as `ranks_from_vectors`."""
    if similarities.ndim != 2:
        msg = f"similarities have shape {similarities.shape}: they must be [queries, gallery]"
        raise DataError(msg)
    _refuse_not_finite(similarities, "similarities")
    right = _checked(truth, *similarities.shape)
    ranks = np.zeros(len(similarities), dtype=np.int64)
    step = max(1, _BLOCK_ELEMENTS // max(similarities.shape[1], 1))
    for start in range(0, len(similarities), step):
        ranks[start : start + step] = _block_ranks(similarities[start : start + step], right[start : start + step])
    return ranks


def moderate(rows: Matrix) -> NDArray[np.float32]:
    """Return rows [N, D] as float32, scaled by one power of two if they are so large or small that products leave it.

    Products that overflow tie as infinity or are NaN, which no comparison counts as ahead; those that underflow tie at
    zero. A power of two changes no order.
    """
    largest = max(float(rows.max(initial=0)), -float(rows.min(initial=0)))
    exponent = math.frexp(largest)[1]
    if abs(exponent) > _MOST_EXPONENT:
        rows = np.ldexp(rows.astype(np.float64), -exponent)
    return np.asarray(rows, dtype=np.float32)


def _block_ranks(block: Matrix, columns: Sequence[Ints], copies: Ints | None = None) -> Ints:
    """Return ranks in one block [q, G]; `copies` [G] is the number of equal gallery rows of each column."""
    lengths = [len(answers) for answers in columns]
    row = np.repeat(np.arange(len(columns)), lengths)
    values = block[row, np.concatenate(columns)]
    best = np.maximum.reduceat(values, np.concatenate([[0], np.cumsum(lengths)[:-1]]))
    ahead = block >= best[:, None]
    count = np.count_nonzero(ahead, axis=1)
    if copies is not None:
        repeated = np.flatnonzero(copies > 1)
        count = count + ahead[:, repeated] @ (copies[repeated] - 1)
    ties_among_right = np.bincount(row, weights=values >= best[row], minlength=len(columns))
    return np.asarray(1 + count - ties_among_right, dtype=np.int64)


def _distinct_rows(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], Ints, Ints]:
    """Return distinct rows, each row's index among them, and the number of copies of each."""
    seen: dict[bytes, int] = {}
    place = np.fromiter((seen.setdefault(row.tobytes(), len(seen)) for row in rows + np.float32(0)), dtype=np.int64)
    if len(seen) == len(rows):
        return rows, place, np.ones(len(rows), dtype=np.int64)
    first = np.unique(place, return_index=True)[1]
    return rows[first], place, np.bincount(place).astype(np.int64)


def _checked(truth: Truth, queries: int, gallery: int) -> list[Ints]:
    if len(truth) != queries or not queries:
        msg = f"right answers are given for {len(truth)} of {queries} queries: each needs at least one"
        raise DataError(msg)
    right = [np.unique(np.asarray(answers, dtype=np.int64)) for answers in truth]
    bad = [q for q, answers in enumerate(right) if not len(answers) or answers[0] < 0 or answers[-1] >= gallery]
    if bad:
        msg = f"queries {_listed(bad)} have no right answer among the gallery's {gallery} rows"
        raise DataError(msg)
    return right


def _refuse_not_finite(values: Matrix, what: str) -> None:
    step = max(1, _BLOCK_ELEMENTS // max(values.shape[1], 1))
    bad: list[int] = []
    for start in range(0, len(values), step):
        finite = np.isfinite(values[start : start + step]).all(axis=1)
        bad.extend((start + np.flatnonzero(~finite)).tolist())
    if bad:
        msg = f"{what} hold NaN or infinity in rows {_listed(bad)}: such a model's figures would mean nothing"
        raise DataError(msg)


def _listed(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:10])) + (f" and {len(rows) - 10} more" if len(rows) > 10 else "")


def one_to_one(count: int) -> list[list[int]]:
    """Return ground truth in which row i answers query i."""
    return [[i] for i in range(count)]


def swapped(truth: Truth, gallery: int) -> list[list[int]]:
    """Return ground truth of the other direction; a gallery row that answers nothing has an empty list."""
    other: list[list[int]] = [[] for _ in range(gallery)]
    for query, answers in enumerate(truth):
        for answer in answers:
            other[answer].append(query)
    return other


def duplicate_aware(truth: Truth, gallery_keys: Sequence[Hashable]) -> list[list[int]]:
    """Return ground truth in which a gallery row equal (by key) to a right answer is right as well.

    Keys are the captions, one per gallery row, in both directions: a clip's key is its own caption.
    """
    rows: dict[Hashable, list[int]] = {}
    for row, key in enumerate(gallery_keys):
        rows.setdefault(key, []).append(row)
    return [sorted({row for answer in answers for row in rows[gallery_keys[answer]]}) for answers in truth]


def dual_softmax(similarities: Matrix, temperature: float) -> Floats:
    """Multiply similarities [Q, G] by their softmax over the *queries* (Cheng et al. 2021, "CAMoE").

    It uses all test queries at once, which no single search can do: figures made with it must
    never be compared with others without saying so.
    """
    _refuse_not_finite(similarities, "similarities")
    if not 0 < temperature < math.inf:
        msg = f"dual softmax needs a temperature above 0, not {temperature}"
        raise DataError(msg)
    wide = similarities.astype(np.float64)
    with np.errstate(over="ignore"):
        below = (wide - wide.max(axis=0, keepdims=True)) / temperature
    shares = np.exp(below)
    return np.asarray(wide * (shares / shares.sum(axis=0, keepdims=True)))


def rank_figures(ranks: Ints, gallery: int, weights: Matrix | None = None) -> dict[str, Floats]:
    """Return figures float64 [R] by name for query weights [R, Q]; of the full set, [1], if None.

    `median_rank_percentile` is the share (0 to 1, lower is better, chance about 0.5) of the gallery
    of size `gallery` that the median rank spans: comparable across pools.
    """
    shares = np.ones((1, len(ranks))) if weights is None else np.asarray(weights, dtype=np.float64)
    total = shares.sum(axis=1)
    figures = {f"recall_at_{k}": shares @ (ranks <= k) / total for k in (1, 5, 10)}
    median = _weighted_median(ranks, shares)
    figures |= {
        "median_rank": median,
        "mean_rank": shares @ ranks / total,
        "median_rank_percentile": median / gallery,
    }
    return figures


def _weighted_median(values: Ints, weights: Floats) -> Floats:
    """Return the median of each resample [R]: the mean of the two middle values if their number is even."""
    order = np.argsort(values)
    sums = np.cumsum(weights[:, order], axis=1)
    half = sums[:, -1:] / 2
    last = len(values) - 1
    low = np.minimum((sums < half).sum(axis=1), last)
    high = np.minimum((sums <= half).sum(axis=1), last)
    return np.asarray((values[order][low] + values[order][high]) / 2, dtype=np.float64)
