"""What a user's model returns is taken as it is, or refused with the reason."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.adapt import adapted
from tasks.errors import DataError, ModelError, ReplyTypeError
from tasks.model import Embeddings, OptionRequest, OptionScores, TextReply, TextRequest
from tasks.multiple_choice import best_option, by_similarity
from tasks.prompt import load_prompt
from tasks.task import Clip, Trace
from tests.evals.conftest import toy_task

CLIP = Clip("v", 0, 1)


class Returns:
    """A model whose methods return what it was given."""

    def __init__(self, found: object) -> None:
        self.found = found

    def generate(self, requests: object) -> object:
        return [self.found]

    def score_options(self, requests: object) -> object:
        return [self.found]


def scored(found: object) -> tuple[float, ...]:
    return adapted(Returns(found)).score_options([OptionRequest("q", CLIP, "?", "", ("a", "b"))])[0].scores


@pytest.mark.parametrize(
    "found",
    [[True, False], np.array([True, False]), ["1", "2"], [1j, 2j], [None, 0.5], [1.0], [[1.0, 2.0]], {"a": 1.0}],
)
def test_scores_that_are_no_numbers_for_each_option_are_refused(found: object) -> None:
    with pytest.raises(ReplyTypeError, match="give 2 numbers, one for each option"):
        scored(found)


@pytest.mark.parametrize("scores", [(-1.0,), (-1.0, -2.0, -3.0), (None, -1.0)])
def test_option_scores_are_as_many_numbers_as_options(scores: tuple[float, ...]) -> None:
    with pytest.raises(ReplyTypeError, match="give 2 numbers"):
        scored(OptionScores(scores))


@pytest.mark.parametrize("found", [[1, -2], (1.0, -2.0), np.array([1, -2], dtype=np.float16), [np.float32(1), -2]])
def test_scores_of_any_kind_of_number_are_taken(found: object) -> None:
    assert scored(found) == (1.0, -2.0)


@pytest.mark.parametrize("scores", [[float("nan"), 0.0], [float("-inf")] * 2, [float("inf"), 0.0]])
def test_scores_that_are_not_finite_choose_nothing(scores: list[float]) -> None:
    with pytest.raises(DataError, match=r"item q: an option's score is not a finite number: (nan|-inf|inf), "):
        best_option("q", scores)


@pytest.mark.parametrize("reply", ["A \ud800", TextReply("A \ud800", finished=True)])
def test_half_a_surrogate_pair_in_a_reply_is_replaced(reply: object) -> None:
    found = adapted(Returns(reply)).generate([TextRequest("q", CLIP, "?", 8)])
    assert found[0].text == "A \ufffd"


def test_a_reply_without_a_text_is_refused() -> None:
    with pytest.raises(ReplyTypeError, match="returned a NoneType as the text for item q"):
        adapted(Returns(TextReply(None, finished=True))).generate([TextRequest("q", CLIP, "?", 8)])  # type: ignore[arg-type]  # wrong on purpose


class Apart:
    """An encoder whose videos have four dimensions and whose texts have five."""

    def embed_video(self, clips: list[Clip]) -> Embeddings:
        return Embeddings(np.ones((len(clips), 4), np.float32), (Trace(),) * len(clips))

    def embed_text(self, texts: list[str]) -> Embeddings:
        return Embeddings(np.ones((len(texts), 5), np.float32), (Trace(),) * len(texts))


def test_vectors_of_two_lengths_are_said_to_be_that() -> None:
    item = toy_task().items()[0]
    with pytest.raises(ModelError, match=r"item q00: the video's vector has 4 dimensions, that of a text 5"):
        by_similarity(Apart(), [item], load_prompt("tasks", "egoschema-similarity.v1"))
