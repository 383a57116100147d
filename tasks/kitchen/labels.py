"""What kitchen's breakdowns group by: kind of question, dish, and where in the video the evidence lies."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.kitchen.claims import Before, Cause, Claim, Count, Dish, Missing, Order
from tasks.kitchen.plan import Plan
from tasks.kitchen.questions import Question
from tasks.kitchen.timeline import Event
from tasks.kitchen.world import CAUSE_OF, FINISHES
from tasks.labels import length_label, position_label, span_label

Thing = tuple[str, str]


def dish(plan: Plan) -> str:
    """The published category of a video: how it is finished, and its base."""
    return f"{FINISHES[plan.recipe.finish][0]} {plan.recipe.base}"


def video_labels(plan: Plan) -> dict[str, str]:
    """The dish, under the name that YouCook2's recipe type has."""
    return {"recipe type": dish(plan)}


def step_labels(plan: Plan, start: float, end: float) -> dict[str, str]:
    """A step's labels: the video's, where in it the step lies and how long the whole is."""
    position = position_label(start, end, plan.duration)
    return video_labels(plan) | {"position in the video": position, "whole video": length_label(plan.duration)}


def question_labels(plan: Plan, question: Question) -> dict[str, str]:
    """A question's labels: its kind, and the stretch from the first event that it needs to the last one."""
    events = evidence(plan, question.options[question.answer])
    start, end = events[0].start, events[-1].end
    return video_labels(plan) | {
        "question type": question.kind,
        "position of the evidence": position_label(start, end, plan.duration),
        "span of the evidence": span_label(start, end, plan.duration),
    }


def evidence(plan: Plan, truth: Claim) -> list[Event]:
    """The events that a true claim speaks of, in order of time."""
    wanted = things_of(truth)
    return [event for event in plan.events if (event.kind, event.what) in wanted]


def things_of(claim: Claim) -> set[Thing]:
    """The events of a claim, as (kind, thing)."""
    match claim:
        case Before(first, second):
            return named((first, second))
        case Order(names):
            return named(names)
        case Count(accent):
            return {("accent", accent)}
        case Cause(outcome, ingredient):
            return {("outcome", outcome), ("signal", CAUSE_OF[outcome]), ("ingredient", ingredient)}
        case Missing(after, before):
            return {("signal", "bell"), *(("ingredient", name) for name in (*after, *before))}
        case Dish(base, liquid, finish):
            return {("base", base), ("liquid", liquid), ("finish", finish)}


def named(names: Sequence[str]) -> set[Thing]:
    """Things that went in or brief events, by name: no name is both."""
    return {(kind, name) for kind in ("ingredient", "accent") for name in names}
