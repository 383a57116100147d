"""The questions that an aggregator trains on and is measured on: kitchen's six kinds about videos of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

from baselines.captions import CaptionFile
from tasks.errors import DataError
from tasks.kitchen.claims import texts
from tasks.kitchen.plan import Plan, make_plan
from tasks.kitchen.questions import KINDS, question
from tasks.multiple_choice import ChoiceItem
from tasks.task import Clip


@dataclass(frozen=True, slots=True)
class VideoQuestions:
    """A video's questions, one of each kind; the right option of each stands at its `answer`."""

    video: str
    kinds: tuple[str, ...]
    items: tuple[ChoiceItem, ...]


def video_questions(plan: Plan) -> VideoQuestions:
    """All questions about a video. Where the right option stands tells nothing: each is weighed by itself."""
    whole = Clip(plan.id, 0.0, plan.duration)
    asked = [question(plan, kind, 0) for kind in KINDS]
    items = tuple(ChoiceItem(q.id, plan.family, whole, q.text, texts(q.options), q.answer) for q in asked)
    return VideoQuestions(plan.id, tuple(KINDS), items)


def captioned_plans(split: str, captions: CaptionFile, videos: int) -> list[Plan]:
    """The first `videos` videos of a split. Raises DataError, naming the file, for one without captions."""
    plans = list(islice(plans_of(split), videos))
    bare = [plan.id for plan in plans if captions.find(plan.id) is None]
    if bare:
        msg = f"{captions.path} has no captions for {len(bare)} of the first {videos} {split} videos ({bare[0]} …)"
        raise DataError(msg)
    return plans


def plans_of(split: str) -> Iterator[Plan]:
    """The videos of a split, without end."""
    return (make_plan(split, index) for index in count())


def right_options(items: Sequence[ChoiceItem]) -> tuple[int, ...]:
    """The indices of the right options. Raises DataError for a question whose answer is not known."""
    for item in items:
        if item.answer is None:
            raise DataError(f"question {item.id} has no answer to train on")
    return tuple(item.answer for item in items if item.answer is not None)
