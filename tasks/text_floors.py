"""Texts written without looking: what a figure on video summaries is worth is told by them.

Each function goes from training paragraphs to texts. The definitions are
ours; protocols name the ROUGE-L that each reaches on YouCook2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.caption_metrics.corpus import Floats, Tokens
from tasks.caption_metrics.rouge import common_lengths, f_measure
from tasks.errors import DataError

WORD_SALAD = "add the and in a pan"


def rouge_similarities(texts: Sequence[Tokens]) -> Floats:
    """ROUGE-L float64 [N, N] of every text (row) with every other for its reference (column)."""
    if not texts or not all(texts):
        msg = "similarities need at least one text, and tokens in each"
        raise DataError(msg)
    lengths = np.array([len(text) for text in texts], dtype=np.float64)
    common = common_lengths(texts)
    return f_measure(common / lengths[:, None], common / lengths[None, :])


def medoid(similarities: Floats, members: Sequence[int] | None = None) -> int:
    """The text most similar on average to the texts of `members` (all if None), one of them.

    The first of equals; a text's likeness to itself counts, which changes no order.
    """
    rows = np.arange(len(similarities)) if members is None else np.asarray(members)
    return int(rows[np.argmax(similarities[np.ix_(rows, rows)].mean(axis=1))])


def constant_paragraph(training: Sequence[str], similarities: Floats) -> str:
    """The medoid of all training paragraphs: one text for every video."""
    return training[medoid(similarities)]


def typical_paragraphs(training: Sequence[str], types: Sequence[str], similarities: Floats) -> dict[str, str]:
    """The medoid of each recipe type's training paragraphs, by type.

    Whoever answers with them uses the label of the video at hand: no blind floor, a labelled one.
    """
    members: dict[str, list[int]] = {}
    for i, name in enumerate(types):
        members.setdefault(name, []).append(i)
    return {name: training[medoid(similarities, rows)] for name, rows in members.items()}


def random_paragraphs(training: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """A training paragraph drawn with replacement for each of `count` videos."""
    return [training[i] for i in rng.integers(0, len(training), count)]


def word_salad(words: int = 40) -> str:
    """The words of `WORD_SALAD` over and over, `words` in all."""
    salad = WORD_SALAD.split()
    return " ".join(salad[i % len(salad)] for i in range(words))
