"""What never looking, or looking once, can get out of the questions: chance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import binomtest, chi2_contingency, chisquare, ks_2samp
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from tasks.kitchen.plan import make_plan
from tasks.kitchen.render import render
from tasks.kitchen.texts import OPTIONS, questions, texts

CHANCE = 1 / OPTIONS
WORD = r"\w+"


@dataclass(frozen=True)
class Asked:
    """A row per option: its text after the question's, whether it is right, and the video's middle frame."""

    question_and_option: list[str]
    options: list[str]
    right: NDArray[np.bool_]
    middle: NDArray[np.float64]

    def of(self, *, right: bool) -> list[str]:
        return [text for text, is_right in zip(self.options, self.right, strict=True) if is_right == right]


def ask(split: str, videos: int) -> Asked:
    both, options, right, middle = [], [], [], []
    for plan in (make_plan(split, index) for index in range(videos)):
        frame = render(plan, [plan.duration / 2], 16)[0].ravel() / 255
        for question in questions(plan):
            for number, text in enumerate(texts(question.options)):
                both.append(f"{question.text} {text}")
                options.append(text)
                right.append(number == question.answer)
                middle.append(frame)
    return Asked(both, options, np.array(right), np.array(middle))


@pytest.fixture(scope="module")
def train() -> Asked:
    return ask("train", 400)


@pytest.fixture(scope="module")
def test() -> Asked:
    return ask("test", 100)


def assert_chance(probability_of_right: NDArray[np.float64], asked: Asked) -> None:
    """The probe's accuracy lies in the 95 % interval of chance; ours: exact binomial."""
    chosen = probability_of_right.reshape(-1, OPTIONS).argmax(axis=1)
    hits = int((chosen == asked.right.reshape(-1, OPTIONS).argmax(axis=1)).sum())
    low, high = binomtest(hits, len(chosen), CHANCE).proportion_ci(0.95, method="wilson")
    assert low <= CHANCE <= high, f"{hits} of {len(chosen)} right"


def test_every_constant_answer_scores_chance(test: Asked) -> None:
    assert (test.right.reshape(-1, OPTIONS).mean(axis=0) == CHANCE).all()


def test_right_options_stand_anywhere_in_the_alphabet(train: Asked, test: Asked) -> None:
    for asked in (train, test):
        rows = np.array(asked.options).reshape(-1, OPTIONS)
        truth = rows[asked.right.reshape(-1, OPTIONS)]
        places = Counter((rows < truth[:, None]).sum(axis=1).tolist())
        assert chisquare([places[place] for place in range(OPTIONS)]).pvalue > 0.01


def test_right_and_wrong_options_use_the_same_words_equally_often(train: Asked) -> None:
    counts = [Counter(" ".join(train.of(right=right)).split()) for right in (True, False)]
    words = sorted(counts[0] | counts[1])
    assert chi2_contingency([[count[word] for word in words] for count in counts]).pvalue > 0.01


def test_right_and_wrong_options_are_equally_long(train: Asked) -> None:
    right, wrong = ([len(text) for text in train.of(right=which)] for which in (True, False))
    assert ks_2samp(right, wrong).pvalue > 0.01
    assert np.mean(right) == pytest.approx(np.mean(wrong), rel=0.01)


@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_words_and_their_neighbours_give_nothing_away(train: Asked, test: Asked, strength: float) -> None:
    vectorizer = CountVectorizer(ngram_range=(1, 3), token_pattern=WORD)
    probe = LogisticRegression(C=strength, max_iter=300)
    probe.fit(vectorizer.fit_transform(train.question_and_option), train.right)
    assert_chance(probe.decision_function(vectorizer.transform(test.question_and_option)), test)


@pytest.fixture(scope="module")
def joint(train: Asked, test: Asked) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Words, the middle frame's main components, and every word times every component, of train and test."""
    vectorizer = CountVectorizer(min_df=20, token_pattern=WORD).fit(train.question_and_option)
    components = PCA(4, random_state=0).fit(train.middle)

    def features(asked: Asked) -> sparse.csr_matrix:
        words = vectorizer.transform(asked.question_and_option)
        pixels = components.transform(asked.middle)
        crossed = [words.multiply(pixels[:, [number]]) for number in range(pixels.shape[1])]
        return sparse.hstack([words, sparse.csr_matrix(pixels), *crossed]).tocsr()

    return features(train), features(test)


def test_the_middle_frame_gives_nothing_away_to_a_linear_probe(
    train: Asked, test: Asked, joint: tuple[sparse.csr_matrix, sparse.csr_matrix]
) -> None:
    probe = LogisticRegression(max_iter=200).fit(joint[0], train.right)
    assert_chance(probe.decision_function(joint[1]), test)


def test_the_middle_frame_gives_nothing_away_to_a_random_forest(
    train: Asked, test: Asked, joint: tuple[sparse.csr_matrix, sparse.csr_matrix]
) -> None:
    forest = RandomForestClassifier(15, max_depth=12, random_state=0).fit(joint[0], train.right)
    assert_chance(forest.predict_proba(joint[1])[:, 1], test)


def test_the_probes_find_a_shortcut_where_there_is_one(train: Asked, test: Asked) -> None:
    """Control: a word that only right options have is found at once."""
    vectorizer = CountVectorizer(token_pattern=WORD)

    def marked(asked: Asked) -> list[str]:
        return [f"{text} indeed" if right else text for text, right in zip(asked.options, asked.right, strict=True)]

    probe = LogisticRegression(max_iter=200).fit(vectorizer.fit_transform(marked(train)), train.right)
    with pytest.raises(AssertionError, match="500 of 500 right"):
        assert_chance(probe.decision_function(vectorizer.transform(marked(test))), test)
