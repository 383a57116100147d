"""Small facts of a kitchen video: one thing and one moment each (ours).

The statements of `kitchen-qa` are composed of such parts: who learns when each thing happened soon
tells which of two was earlier. Trained on the composed statements alone, a tiny encoder learns them
far later, because every pair of things is then a lesson of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from encoders.pretrain.samples import TextView
from tasks.kitchen.plan import Plan
from tasks.kitchen.texts import around_the_bell, culprit_of, facts
from tasks.kitchen.timeline import Event
from tasks.kitchen.world import ACCENTS, INGREDIENTS, OUTCOMES

QUARTERS = ("in the first quarter", "in the second quarter", "in the third quarter", "in the last quarter")
TURNED = {"smoke": "the flame was turned up", "foam": "the lid was put on"}
ENDED = {"smoke": "in the end it smoked", "foam": "in the end it foamed over"}


def statements(plan: Plan) -> tuple[TextView, ...]:
    """The facts that the world offers, and the small ones they are made of."""
    composed = (TextView(fact.text, fact.negatives, fact.kind) for fact in facts(plan))
    return (*composed, *small_facts(plan))


def small_facts(plan: Plan) -> Iterator[TextView]:
    """When each thing happened, on which side of the bell, what followed a signal, and how it ended."""
    once = [event for event in plan.of_kind("accent") if event.what in plan.recipe.once]
    for event in (*plan.of_kind("ingredient"), *once):
        yield _chosen([f"{_told(event)} {quarter}" for quarter in QUARTERS], _quarter(event, plan), "when")
    for side, names in zip(("before", "after"), around_the_bell(plan), strict=True):
        for name in names:
            both = [f"the {name} went in {other} the bell" for other in ("before", "after")]
            yield _chosen(both, ("before", "after").index(side), "bell")
    for outcome in OUTCOMES:
        culprit = culprit_of(plan, outcome)
        texts = [f"{TURNED[outcome]} just before the {name} went in" for name in INGREDIENTS]
        yield _chosen(texts, INGREDIENTS.index(culprit), "next")
    yield _chosen([ENDED[outcome] for outcome in OUTCOMES], OUTCOMES.index(plan.outcome), "outcome")


def _chosen(texts: Sequence[str], true: int, kind: str) -> TextView:
    return TextView(texts[true], tuple(text for at, text in enumerate(texts) if at != true), kind)


def _told(event: Event) -> str:
    return f"{ACCENTS[event.what].noun} came" if event.kind == "accent" else f"the {event.what} went in"


def _quarter(event: Event, plan: Plan) -> int:
    middle = (event.start + event.end) / 2
    return min(int(middle / plan.duration * len(QUARTERS)), len(QUARTERS) - 1)
