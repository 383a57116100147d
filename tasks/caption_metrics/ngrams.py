"""BLEU, ROUGE-L and CIDEr-D over a tokenised corpus, each as coco-caption computes it and as sums over clusters.

CIDEr-D: n = 1 to 4, clipping, sigma 6, times ten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from tasks.errors import DataError

Tokens = tuple[str, ...]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

HIGHEST_ORDER = 4


@dataclass(frozen=True, slots=True)
class Corpus:
    """One hypothesis and one or more references per item, as tokens; items keep their order."""

    hypotheses: tuple[Tokens, ...]
    references: tuple[tuple[Tokens, ...], ...]

    def __post_init__(self) -> None:
        if len(self.hypotheses) != len(self.references):
            msg = f"{len(self.hypotheses)} hypotheses for {len(self.references)} items: each needs one"
            raise DataError(msg)
        bare = [str(i) for i, texts in enumerate(self.references) if not texts]
        if bare:
            raise DataError(f"items {', '.join(bare[:5])} have no reference: each needs at least one text")

    def __len__(self) -> int:
        return len(self.hypotheses)


@dataclass(frozen=True, slots=True)
class Grams:
    """The distinct n-grams of one order in each text, with counts: parallel arrays [M].

    Rows are sorted by text, then gram. Gram ids (below `kinds`) are shared by all texts.
    """

    text: Ints
    gram: Ints
    count: Ints
    kinds: int


@dataclass(frozen=True, slots=True)
class NgramTable:
    """N-grams of orders 1 to 4 in hypotheses (text = item) and in references (text = reference).

    `owner` maps each reference to its item; `hypothesis_length` and `reference_length` count tokens.
    """

    hypothesis: tuple[Grams, ...]
    reference: tuple[Grams, ...]
    owner: Ints
    hypothesis_length: Ints
    reference_length: Ints


def _lengths(texts: Iterable[Sized]) -> Ints:
    return np.fromiter((len(text) for text in texts), dtype=np.int64)


def _pieces(text: Tokens) -> Tokens:
    """Split a text at all white space, as coco-caption's n-gram metrics (not its ROUGE-L) do.

    This matters for the one kind of token with a space inside, `1 1/2` with a no-break space.
    """
    return tuple(" ".join(text).split())


def _token_ids(texts: Sequence[Tokens]) -> tuple[Ints, int]:
    vocabulary: dict[str, int] = {}
    words = list(chain.from_iterable(texts))
    for word in words:
        vocabulary.setdefault(word, len(vocabulary))
    return np.fromiter(map(vocabulary.__getitem__, words), dtype=np.int64, count=len(words)), len(vocabulary)


def _counted(text: Ints, gram: Ints, kinds: int) -> Grams:
    keys, count = np.unique(text * max(kinds, 1) + gram, return_counts=True)
    return Grams(keys // max(kinds, 1), keys % max(kinds, 1), count.astype(np.int64), kinds)


def _split(grams: Grams, first_reference: int) -> tuple[Grams, Grams]:
    cut = int(np.searchsorted(grams.text, first_reference))
    head = Grams(grams.text[:cut], grams.gram[:cut], grams.count[:cut], grams.kinds)
    tail = Grams(grams.text[cut:] - first_reference, grams.gram[cut:], grams.count[cut:], grams.kinds)
    return head, tail


def ngram_table(corpus: Corpus) -> NgramTable:
    """Count the 1- to 4-grams of every text of `corpus`."""
    owner_counts = _lengths(corpus.references)
    texts = tuple(map(_pieces, chain(corpus.hypotheses, chain.from_iterable(corpus.references))))
    lengths = _lengths(texts)
    words, word_kinds = _token_ids(texts)
    text_of_word = np.repeat(np.arange(len(texts)), lengths)
    start, gram, kinds = np.arange(len(words)), words, word_kinds
    hypothesis, reference = [], []
    for order in range(1, HIGHEST_ORDER + 1):
        if order > 1:
            # an n-gram is the (n-1)-gram at the same start and the word after it, in the same text
            last = start + order - 1
            inside = last < len(words)
            inside[inside] = text_of_word[last[inside]] == text_of_word[start[inside]]
            start, last = start[inside], last[inside]
            seen, gram = np.unique(gram[inside] * max(word_kinds, 1) + words[last], return_inverse=True)
            kinds = len(seen)
        of_hypotheses, of_references = _split(_counted(text_of_word[start], gram, kinds), len(corpus))
        hypothesis.append(of_hypotheses)
        reference.append(of_references)
    return NgramTable(
        hypothesis=tuple(hypothesis),
        reference=tuple(reference),
        owner=np.repeat(np.arange(len(corpus)), owner_counts),
        hypothesis_length=lengths[: len(corpus)],
        reference_length=lengths[len(corpus) :],
    )


@dataclass(frozen=True, slots=True)
class Matches:
    """N-grams of references that are also in their item's hypothesis: parallel arrays [M].

    `hypothesis_row` and `reference_row` are rows of the two `Grams` tables.
    """

    hypothesis_row: Ints
    reference_row: Ints


def match(hypothesis: Grams, reference: Grams, owner: Ints) -> Matches:
    """Join the n-grams of references with those of the hypotheses they belong to."""
    kinds = max(hypothesis.kinds, 1)
    keys = hypothesis.text * kinds + hypothesis.gram
    wanted = owner[reference.text] * kinds + reference.gram
    place = np.searchsorted(keys, wanted)
    found = place < len(keys)
    found[found] = keys[place[found]] == wanted[found]
    return Matches(place[found], np.flatnonzero(found))


# coco-caption's two constants, which make an empty or matchless corpus score (almost) 0 instead of undefined.
_SMALL = 1e-9
_TINY = 1e-15


def bleu_counts(table: NgramTable) -> Ints:
    """Return sufficient statistics int64 [N, 10]: hypothesis length, closest reference length, matches and n-grams.

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
    """Return BLEU-1 to BLEU-4, float64 [..., 4], from summed statistics [..., 10] (see `bleu_counts`)."""
    length, reference_length = sums[..., 0], sums[..., 1]
    matches, grams = sums[..., 2:6], sums[..., 6:10]
    precision = np.cumprod((matches + _TINY) / (grams + _SMALL), axis=-1)
    mean = precision ** (1.0 / np.arange(1, HIGHEST_ORDER + 1))
    ratio = (length + _TINY) / (reference_length + _SMALL)
    with np.errstate(over="ignore"):
        penalty = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    return np.asarray(mean * penalty[..., None], dtype=np.float64)


_BETA_SQUARED = 1.2**2


def rouge_l(corpus: Corpus) -> Floats:
    """Return ROUGE-L of each item, float64 [N]: beta 1.2, largest precision and largest recall over references.

    A text without tokens counts as one empty token, as in coco-caption: it scores 0 against any other.
    """
    precision, recall = np.zeros(len(corpus)), np.zeros(len(corpus))
    for i, (tokens, references) in enumerate(zip(corpus.hypotheses, corpus.references, strict=True)):
        hypothesis = tokens or ("",)
        for reference_tokens in references:
            reference = reference_tokens or ("",)
            common = common_length(hypothesis, reference)
            precision[i] = max(precision[i], common / len(hypothesis))
            recall[i] = max(recall[i], common / len(reference))
    return f_measure(precision, recall)


def f_measure(precision: Floats, recall: Floats) -> Floats:
    """Return ROUGE-L from precision and recall (any shape): (1 + b²)·P·R / (R + b²·P), 0 if either is 0."""
    below = recall + _BETA_SQUARED * precision
    product = (1 + _BETA_SQUARED) * precision * recall
    return np.divide(product, below, out=np.zeros_like(product), where=product > 0)


def common_length(first: Tokens, second: Tokens) -> int:
    """Return the length of the longest common subsequence of two texts.

    Bit-parallel (Hyyrö 2004): bit i of `row` is 0 where the length grows at token i of `first`.
    """
    places: dict[str, int] = {}
    for i, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << i
    full = (1 << len(first)) - 1
    row = full
    for token in second:
        hit = row & places.get(token, 0)
        row = (row + hit | row - hit) & full
    return len(first) - row.bit_count()


def common_lengths(texts: Sequence[Tokens]) -> Ints:
    """Return lengths of the longest common subsequences of all pairs of texts, int64 [N, N].

    All texts are placed in one long integer, each followed by a spare bit that catches its carry, so that one pass over
    a text's tokens compares it with every text.
    """
    widths = [len(text) + 1 for text in texts]
    starts = np.concatenate([[0], np.cumsum(widths)])
    places = _places(texts, starts)
    spare = sum(1 << int(end) - 1 for end in starts[1:])
    full = ((1 << int(starts[-1])) - 1) ^ spare
    size = (int(starts[-1]) + 7) // 8
    lengths = np.zeros((len(texts), len(texts)), dtype=np.int64)
    for i, text in enumerate(texts):
        row = full
        for token in text:
            hit = row & places[token]
            row = (row + hit | row - hit) & full
        bits = np.unpackbits(np.frombuffer(row.to_bytes(size, "little"), dtype=np.uint8), bitorder="little")
        left = np.add.reduceat(bits[: starts[-1]], starts[:-1], dtype=np.int64)
        lengths[i] = np.array(widths) - 1 - left
    return lengths


def _places(texts: Sequence[Tokens], starts: Ints) -> dict[str, int]:
    """Return, for each token, an integer with a bit set at each of its positions in the row of all texts."""
    positions: dict[str, list[int]] = {}
    for text, start in zip(texts, starts, strict=False):
        for i, token in enumerate(text):
            positions.setdefault(token, []).append(int(start) + i)
    masks = {}
    for token, where in positions.items():
        bits = np.zeros(int(starts[-1]), dtype=np.uint8)
        bits[where] = 1
        masks[token] = int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")
    return masks


_SIGMA = 6.0


def cider_d(table: NgramTable, groups: Ints | None = None) -> Floats:
    """Return CIDEr-D of each item, float64 [N].

    An n-gram's idf counts the items that have it in a reference, within the item's own group
    (`groups` int64 [N]; one group of all items if None). A group of one item scores 0: every idf is 0.
    The value depends on the set of items, which determines the idf.
    """
    items = len(table.hypothesis_length)
    groups = np.zeros(items, dtype=np.int64) if groups is None else groups
    log_size = np.log(np.maximum(np.bincount(groups), 1).astype(np.float64))
    similarity = np.zeros(len(table.owner))
    for hypothesis, reference in zip(table.hypothesis, table.reference, strict=True):
        similarity += _cosines(hypothesis, reference, table.owner, groups, log_size)
    # coco-caption uses the number of bigrams as a text's length
    bigrams = np.maximum(table.hypothesis_length[table.owner] - 1, 0)
    gap = bigrams - np.maximum(table.reference_length - 1, 0)
    similarity *= np.exp(-(gap**2) / (2 * _SIGMA**2)) / HIGHEST_ORDER
    total = np.bincount(table.owner, weights=similarity, minlength=items)
    return np.asarray(10.0 * total / np.bincount(table.owner, minlength=items), dtype=np.float64)


def _cosines(hypothesis: Grams, reference: Grams, owner: Ints, groups: Ints, log_size: Floats) -> Floats:
    """Return the clipped tf-idf similarity [references] of each reference with its hypothesis, for one order."""
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
    """Return the sorted (group, gram) keys in references, and their numbers of items in the group."""
    distinct = np.unique(item_grams)
    keys = groups[distinct // kinds] * kinds + distinct % kinds
    known, frequency = np.unique(keys, return_counts=True)
    return known, frequency.astype(np.int64)
