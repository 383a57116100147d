"""What can be said of a video: the sentences of its steps, their paragraph, and facts with false twins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from tasks.kitchen.claims import Before, Cause, Claim, Count, Dish, Missing, Order, next_ingredient, texts, wrong
from tasks.kitchen.plan import Plan
from tasks.kitchen.timeline import Event
from tasks.kitchen.world import ACCENTS, FINISHES, OUTCOMES, SIGNALS, SILENT_KINDS

FactKind = Literal["before", "order", "count", "cause", "missing", "dish"]


@dataclass(frozen=True, slots=True)
class Step:
    """A sentence and where in the video it is shown (seconds)."""

    start: float
    end: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A true statement about a whole video, and false ones made of the same words."""

    kind: FactKind
    text: str
    negatives: tuple[str, ...]


def steps(plan: Plan) -> list[Step]:
    """A sentence for each event but the distractors, in order of time."""
    return [Step(e.start, e.end, sentence(e, plan)) for e in plan.events if e.kind not in SILENT_KINDS]


def paragraph(plan: Plan) -> str:
    """All sentences in order, joined by spaces."""
    return " ".join(step.sentence for step in steps(plan))


def sentence(event: Event, plan: Plan) -> str:
    """What is done, in the imperative. Raises KeyError for a distractor."""
    vessel = f"the {plan.recipe.colour} {plan.recipe.container}"
    if event.kind == "ingredient":
        return f"{event.how} the {event.what} into {vessel}"
    if event.kind == "accent":
        return ACCENTS[event.what].sentence
    return {
        "base": f"pour the {event.what} into {vessel}",
        "liquid": f"add the {event.what} to {vessel}",
        "signal": SIGNALS.get(event.what, ""),
        "outcome": f"{vessel} {'smokes' if event.what == 'smoke' else 'foams over'}",
        "finish": FINISHES[event.what][1] if event.kind == "finish" else "",
    }[event.kind]


def facts(plan: Plan) -> list[Fact]:
    """Everything of the questions' kinds that is true of a video, with all its false twins."""
    return [Fact(kind, claim.text, texts(wrong(claim))) for kind, claim in true_claims(plan)]


def true_claims(plan: Plan) -> Iterator[tuple[FactKind, Claim]]:
    """The true claims behind `facts`, by kind."""
    ingredients = [event.what for event in plan.of_kind("ingredient")]
    once = once_in_order(plan)
    for names in (ingredients, once):
        yield from (("before", Before(a, b)) for a, b in combinations(names, 2))
        yield from (("order", Order((a, b, c))) for a, b, c in combinations(names, 3))
    yield "count", Count(plan.recipe.counted, times_counted(plan))
    culprit = culprit_of(plan, plan.outcome)
    for others in combinations(sorted(set(ingredients) - {culprit}), 2):
        first, second, third = sorted((culprit, *others))
        yield "cause", Cause(plan.outcome, culprit, (first, second, third))
    early, late = around_the_bell(plan)
    yield from (("missing", Missing((a,), pair)) for a in late for pair in combinations(sorted(early), 2))
    yield from (("missing", Missing(pair, (a,))) for a in early for pair in combinations(sorted(late), 2))
    yield "dish", Dish(plan.recipe.base, plan.recipe.liquid, plan.recipe.finish)


def once_in_order(plan: Plan) -> list[str]:
    """The accents that happen once, in order of time."""
    return [event.what for event in plan.of_kind("accent") if event.what in plan.recipe.once]


def times_counted(plan: Plan) -> int:
    """How often the counted accent happens."""
    return sum(event.what == plan.recipe.counted for event in plan.of_kind("accent"))


def culprit_of(plan: Plan, outcome: str) -> str:
    """The ingredient next after the cause of `outcome`, whether or not it came to that. Raises ValueError if none."""
    found = next_ingredient(outcome, [(event.kind, event.what) for event in plan.events])
    if found is None:
        msg = f"{plan.id}: no ingredient follows the cause of '{outcome}'; outcomes are {', '.join(OUTCOMES)}"
        raise ValueError(msg)
    return found


def around_the_bell(plan: Plan) -> tuple[list[str], list[str]]:
    """The ingredients before the bell and those after it, in order of time."""
    bell = next(event.start for event in plan.of_kind("signal") if event.what == "bell")
    steps = plan.of_kind("ingredient")
    return [e.what for e in steps if e.start < bell], [e.what for e in steps if e.start > bell]
