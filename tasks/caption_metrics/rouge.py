"""ROUGE-L as coco-caption computes it, and longest common subsequences of many texts at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.caption_metrics.corpus import Corpus, Floats, Ints, Tokens

_BETA_SQUARED = 1.2**2


def rouge_l(corpus: Corpus) -> Floats:
    """ROUGE-L of each item, float64 [N]: beta 1.2, largest precision and largest recall over references.

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
    """ROUGE-L of precision and recall (any shape): (1 + b²)·P·R / (R + b²·P), 0 where either is 0."""
    below = recall + _BETA_SQUARED * precision
    product = (1 + _BETA_SQUARED) * precision * recall
    return np.divide(product, below, out=np.zeros_like(product), where=product > 0)


def common_length(first: Tokens, second: Tokens) -> int:
    """Length of the longest common subsequence of two texts.

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
    """Longest common subsequences of all pairs of texts, int64 [N, N].

    All texts stand side by side in one long integer, each followed by a spare bit that catches its
    carry, so that one pass over a text's tokens compares it with every text.
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
    """For each token, an integer with its bit set wherever it stands in the row of all texts."""
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
