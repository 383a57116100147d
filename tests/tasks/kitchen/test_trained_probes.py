"""Blind probes trained on thousands of training questions and asked thousands of others: still chance.

So many questions tell chance from a shortcut of two points, which the benchmark's 500 can't.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tasks.kitchen.plan import make_plan
from tasks.kitchen.texts import KINDS, OPTIONS, questions, texts
from tasks.statistics import fraction_metric

WORD = r"\w+"
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Blind:
    """A question without its video."""

    family: str
    kind: str
    text: str
    options: tuple[str, ...]
    answer: int


def ask(split: str, videos: int) -> list[Blind]:
    plans = (make_plan(split, index) for index in range(videos))
    return [
        Blind(plan.family, question.kind, question.text, texts(question.options), question.answer)
        for plan in plans
        for question in questions(plan)
    ]


@pytest.fixture(scope="module")
def train() -> list[Blind]:
    return ask("train", 1600)


@pytest.fixture(scope="module")
def others() -> list[Blind]:
    return ask("val", 1000)


@pytest.fixture(scope="module")
def test() -> list[Blind]:
    return ask("test", 100)


def is_right(asked: list[Blind]) -> NDArray[np.bool_]:
    return np.array([number == question.answer for question in asked for number in range(OPTIONS)])


def interval(scores: NDArray[np.float64], asked: list[Blind]) -> tuple[float, float]:
    """Of the accuracy of whoever takes the option with the highest score, over recipes."""
    chosen = scores.reshape(-1, OPTIONS).argmax(axis=1)
    hits = [float(choice == question.answer) for choice, question in zip(chosen, asked, strict=True)]
    found = fraction_metric("accuracy", hits, [question.family for question in asked])
    assert found.interval is not None
    return found.interval


def assert_chance(scores: NDArray[np.float64], asked: list[Blind], most: float) -> None:
    low, high = interval(scores, asked)
    assert low <= 1 / OPTIONS <= high, (low, high)
    assert high - low < most


def against_rivals(vectorizer: TfidfVectorizer, asked: list[Blind]) -> sparse.csr_matrix:
    """Words and phrases of each option, less the mean of the question's five."""
    found = vectorizer.transform([option for question in asked for option in question.options])
    means = sparse.kron(sparse.eye(len(asked)), np.full((OPTIONS, OPTIONS), 1 / OPTIONS)).tocsr()
    return (found - means @ found).tocsr()


@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_phrases_weighed_against_those_of_the_rivals_give_nothing_away(
    train: list[Blind], others: list[Blind], test: list[Blind], strength: float
) -> None:
    vectorizer = TfidfVectorizer(ngram_range=(1, 3), token_pattern=WORD, sublinear_tf=True, min_df=3)
    vectorizer.fit([option for question in train for option in question.options])
    probe = LogisticRegression(C=strength, max_iter=300).fit(against_rivals(vectorizer, train), is_right(train))
    assert_chance(probe.decision_function(against_rivals(vectorizer, others)), others, most=0.03)
    assert_chance(probe.decision_function(against_rivals(vectorizer, test)), test, most=0.1)


def statistics(asked: list[Blind]) -> NDArray[np.float64]:
    """Place, length, digits, alphabet, likeness to the rivals, and where the question names what an option names."""
    rows = []
    for question in asked:
        words = [option.split() for option in question.options]
        pairs = [set(pairwise(each)) for each in words]
        length = [len(option) for option in question.options]
        named = question.text.lower().replace(",", "").replace("?", "").split()
        for at, option in enumerate(question.options):
            likeness = [_jaccard(pairs[at], pairs[other]) for other in range(OPTIONS) if other != at]
            rivals = [each for other, each in enumerate(words) if other != at]
            same = sum(one == two for rival in rivals for one, two in zip(words[at], rival, strict=False))
            order = [named.index(word) for word in words[at] if word in named and len(word) > 3][:4]
            rows.append(
                [
                    at,
                    length[at],
                    sorted(length).index(length[at]),
                    length[at] - np.mean(length),
                    len(words[at]),
                    sum(letter.isdigit() for letter in option),
                    sorted(question.options).index(option),
                    np.mean(likeness),
                    max(likeness),
                    same,
                    *order,
                    *[-1] * (4 - len(order)),
                    tuple(KINDS).index(question.kind),
                ]
            )
    return np.array(rows, dtype=np.float64)


def _jaccard(one: set[tuple[str, str]], other: set[tuple[str, str]]) -> float:
    return len(one & other) / len(one | other)


def boosted(rows: NDArray[np.float64], asked: list[Blind]) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_depth=6, max_iter=100, random_state=0).fit(rows, is_right(asked))


def test_statistics_of_the_texts_give_nothing_away_to_boosted_trees(
    train: list[Blind], others: list[Blind], test: list[Blind]
) -> None:
    probe = boosted(statistics(train), train)
    assert_chance(probe.predict_proba(statistics(others))[:, 1], others, most=0.03)
    assert_chance(probe.predict_proba(statistics(test))[:, 1], test, most=0.1)


def test_words_and_statistics_together_give_nothing_away_to_boosted_trees(
    train: list[Blind], others: list[Blind]
) -> None:
    vectorizer = CountVectorizer(ngram_range=(1, 2), token_pattern=WORD, binary=True, max_features=200)
    vectorizer.fit([f"{question.text} {option}" for question in train for option in question.options])

    def rows(asked: list[Blind]) -> NDArray[np.float64]:
        told = [f"{question.text} {option}" for question in asked for option in question.options]
        return np.hstack([statistics(asked), vectorizer.transform(told).toarray()])

    assert_chance(boosted(rows(train), train).predict_proba(rows(others))[:, 1], others, most=0.03)


def test_boosted_trees_find_a_shortcut_where_there_is_one(train: list[Blind], others: list[Blind]) -> None:
    """Control: every fifth right option is the one least like its rivals."""

    def marked(asked: list[Blind]) -> NDArray[np.float64]:
        rows = statistics(asked)
        place = np.flatnonzero(is_right(asked))[::5]
        rows[place, 7] = 0.0
        return rows

    low, _ = interval(boosted(marked(train), train).predict_proba(marked(others))[:, 1], others)
    assert low > 0.3
