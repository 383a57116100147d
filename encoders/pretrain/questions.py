"""Statements as questions: which of these texts is true of this video?

A true statement with its false ones is a question to the video that brought it, and as well to every
other video that knows the answer: for which exactly one of the texts is true and others are false.
Putting it to the neighbours too gives many more questions for the same texts (ours).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from encoders.pretrain.samples import TextView

Truth = Mapping[str, bool]
Balance = Literal["statements", "kinds"]


@dataclass(frozen=True, slots=True)
class Question:
    """Video `row` of the batch is to tell `right` from `wrong`, which counts `weight`."""

    row: int
    right: str
    wrong: tuple[str, ...]
    weight: float
    kind: str = ""


def truth_of(views: Sequence[TextView]) -> Truth:
    """What is known of a video: each statement's text is true, its false ones are not."""
    return {text: text is view.text for view in views for text in (view.text, *view.false)}


def ask(
    drawn: Sequence[Sequence[TextView]], known: Sequence[Truth], circle: int, balance: Balance = "statements"
) -> list[Question]:
    """The questions of a batch: `drawn` statements of each video, put to the videos of its circle.

    Circles are `circle` neighbouring rows. A statement that several videos brought with the same false
    ones is asked once. Balanced by statements, the questions of each weigh 1 together; by kinds, those of each kind
    do, and a kind of which few statements differ counts no less than one of which hundreds do (ours).
    """
    found: list[Question] = []
    for start in range(0, len(drawn), circle):
        rows = range(start, min(start + circle, len(drawn)))
        options = {frozenset((view.text, *view.false)): view for row in rows for view in drawn[row]}
        for view in options.values():
            answers = list(_answers(view, rows, known))
            found += [Question(row, right, wrong, 1 / len(answers), view.kind) for row, right, wrong in answers]
    if balance == "statements":
        return found
    asked = Counter(question.kind for question in found)
    return [replace(question, weight=1 / asked[question.kind]) for question in found]


def _answers(view: TextView, rows: range, known: Sequence[Truth]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    texts = (view.text, *view.false)
    for row in rows:
        truth = known[row]
        if truth.keys().isdisjoint(texts):
            continue
        right = [text for text in texts if truth.get(text) is True]
        wrong = tuple(text for text in texts if truth.get(text) is False)
        if len(right) == 1 and wrong:
            yield row, right[0], wrong
