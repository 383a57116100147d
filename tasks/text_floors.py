"""What texts written without looking are made of: the text most like all others, and a salad of words (ours)."""

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


def medoid(texts: Sequence[Tokens]) -> int:
    """The text most similar on average to all of `texts`: the first of equals.

    A text's likeness to itself counts, which changes no order.
    """
    return int(np.argmax(rouge_similarities(texts).mean(axis=1)))


def word_salad(words: int = 40) -> str:
    """The words of `WORD_SALAD` over and over, `words` in all."""
    salad = WORD_SALAD.split()
    return " ".join(salad[i % len(salad)] for i in range(words))
