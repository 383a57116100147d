"""What floors are made of: likeness of all pairs at once, the middle one, words that say nothing."""

import numpy as np
import pytest

from baselines.floors import medoid, rouge_similarities, word_salad
from tasks.caption_metrics.ngrams import Corpus, common_length, common_lengths, rouge_l
from tasks.errors import DataError


def test_the_salad_has_as_many_words_as_asked_for():
    assert word_salad(8) == "add the and in a pan add the"
    assert len(word_salad().split()) == 40


def _slow_common_length(first, second):
    table = np.zeros((len(first) + 1, len(second) + 1), dtype=int)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
    return table[-1, -1]


def test_all_pairs_at_once_have_the_common_lengths_of_each_pair():
    rng = np.random.default_rng(1)
    texts = [tuple(rng.choice(list("abcd"), rng.integers(1, 80))) for _ in range(25)]
    together = common_lengths(texts)
    for i, first in enumerate(texts):
        for j, second in enumerate(texts):
            assert together[i, j] == common_length(first, second) == _slow_common_length(first, second)


TEXTS = [("x", "y"), ("x", "y", "z"), ("x", "q", "z")]


def test_a_similarity_is_the_rouge_l_of_the_row_against_the_column():
    found = rouge_similarities(TEXTS)
    for i, text in enumerate(TEXTS):
        expected = rouge_l(Corpus((text,) * len(TEXTS), tuple((other,) for other in TEXTS)))
        assert found[i] == pytest.approx(expected)


def test_the_medoid_is_the_text_most_like_the_others():
    assert medoid(TEXTS) == 1


def test_a_text_without_tokens_has_no_likeness():
    with pytest.raises(DataError, match="tokens in each"):
        medoid([("x",), ()])
