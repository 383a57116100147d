"""The floors of full-video summary on YouCook2, as `protocols` states them."""

import json

import numpy as np
import pytest

from tasks.caption_metrics.conventions import CaptionedItem, score_captions
from tasks.caption_metrics.meteor import NotRun
from tasks.caption_metrics.rouge import common_length, common_lengths
from tasks.ptb_tokenizer import ptb_tokens
from tasks.text_floors import (
    constant_paragraph,
    medoid,
    random_paragraphs,
    rouge_similarities,
    typical_paragraphs,
    word_salad,
)


@pytest.fixture(scope="module")
def paragraphs(shared_data):
    content = json.loads((shared_data / "youcook2" / "youcookii_annotations_trainval.json").read_text())["database"]
    found = {"training": [], "validation": []}
    for name, video in content.items():
        text = " ".join(part["sentence"] for part in video["annotations"])
        found[video["subset"]].append((name, video["recipe_type"], text))
    return found


@pytest.fixture(scope="module")
def similarities(paragraphs):
    return rouge_similarities([ptb_tokens(text) for _, _, text in paragraphs["training"]])


def _rouge(texts, paragraphs):
    rows = zip(paragraphs["validation"], texts, strict=True)
    items = [CaptionedItem(name, name, text, (reference,)) for (name, _, reference), text in rows]
    return 100 * score_captions(items, "micro", ptb_tokens, NotRun("not wanted")).values["rouge_l"]


def test_forty_words_of_salad_reach_27(paragraphs):
    assert len(word_salad().split()) == 40
    assert _rouge([word_salad()] * 457, paragraphs) == pytest.approx(27.1, abs=0.3)


def test_a_random_training_paragraph_reaches_19_and_a_half(paragraphs):
    training = [text for _, _, text in paragraphs["training"]]
    rng = np.random.default_rng(0)
    values = [_rouge(random_paragraphs(training, 457, rng), paragraphs) for _ in range(4)]
    assert np.mean(values) == pytest.approx(19.5, abs=0.3)


@pytest.mark.slow
def test_the_medoid_of_training_reaches_25_and_a_half(paragraphs, similarities):
    text = constant_paragraph([text for _, _, text in paragraphs["training"]], similarities)
    assert _rouge([text] * 457, paragraphs) == pytest.approx(25.5, abs=0.3)


@pytest.mark.slow
def test_the_medoid_of_the_recipe_type_reaches_31(paragraphs, similarities):
    training = paragraphs["training"]
    typical = typical_paragraphs([text for *_, text in training], [kind for _, kind, _ in training], similarities)
    texts = [typical[kind] for _, kind, _ in paragraphs["validation"]]
    assert _rouge(texts, paragraphs) == pytest.approx(31.1, abs=0.3)


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


def test_the_medoid_of_a_group_is_one_of_it():
    texts = [("a", "b"), ("a", "b", "c"), ("x", "y"), ("x", "y", "z"), ("x", "q", "z")]
    assert medoid(rouge_similarities(texts), [2, 3, 4]) == 3
