"""Tokenised captions beside their references, and the n-gram tables every metric reads."""

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
    """The text split at every white space, as coco-caption's n-gram metrics (not its ROUGE-L) split it.

    It matters for the one kind of token with a space inside, `1 1/2` around a no-break space.
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
    """Where an n-gram of a reference also stands in its item's hypothesis: parallel arrays [M].

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
