"""Statements about a kitchen video or a stretch of it, the small ones beside the world's own (ours).

The statements of `kitchen-qa` are composed: an order of three things, what followed a signal and how
it ended. Small ones tell one thing and one moment each; who learns when each thing happened soon
tells which of two was earlier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from encoders.pretrain.samples import TextView
from tasks.kitchen.claims import Before, Claim, Count, wrong
from tasks.kitchen.claims import texts as texts_of
from tasks.kitchen.plan import Plan
from tasks.kitchen.questions import KINDS, question
from tasks.kitchen.texts import facts
from tasks.kitchen.timeline import Event
from tasks.kitchen.world import ACCENTS, CAUSE_OF, COUNTS, INGREDIENTS, OUTCOMES

QUARTERS = (
    "during the first quarter",
    "during the second quarter",
    "during the third quarter",
    "during the last quarter",
)
SIDES = ("before", "after")
ACCENT_NOUNS = tuple(f"{accent.noun} came" for accent in ACCENTS.values())
TURNED = {"flame": "the flame was turned up", "lid": "the lid was put on"}
ENDED = {"smoke": "in the end it smoked", "foam": "in the end it foamed over"}


def whole_statements(plan: Plan, events: Sequence[Event], *, brief_apart: bool = False) -> tuple[TextView, ...]:
    """Of a whole video: what the world states, and the small statements."""
    composed = (TextView(fact.text, fact.negatives, fact.kind) for fact in facts(plan))
    views = (*composed, *small_statements(plan, events, 0.0, plan.duration))
    return told_apart(views) if brief_apart else views


def clip_statements(
    plan: Plan, events: Sequence[Event], start: float, end: float, *, brief_apart: bool = False
) -> tuple[TextView, ...]:
    """Of the events seen between two moments (seconds): the small statements, pairs in order, and the count."""
    views = (
        *small_statements(plan, events, start, end),
        *(
            _claimed(Before(a.what, b.what), "before")
            for kind in ONCE
            for a, b in combinations(_once(plan, events, kind), 2)
        ),
        *_counted(plan, events),
    )
    return told_apart(views) if brief_apart else views


def benchmark_questions(plan: Plan) -> tuple[TextView, ...]:
    """All kinds of kitchen-qa's questions about a video, with that benchmark's options: for measuring, not training."""
    asked = {kind: texts_of(question(plan, kind, 0).options) for kind in KINDS}
    return tuple(TextView(right, tuple(wrong), kind) for kind, (right, *wrong) in asked.items())


def told_apart(views: Sequence[TextView]) -> tuple[TextView, ...]:
    """The same statements, those of brief events under kinds of their own (ours).

    Under one kind with the ingredients' they are one in ten: balanced together, an encoder hardly learns them.
    """
    return tuple(
        replace(view, kind=BRIEF_KINDS[view.kind]) if view.kind in BRIEF_KINDS and _of_accents(view) else view
        for view in views
    )


def small_statements(plan: Plan, events: Sequence[Event], start: float, end: float) -> Iterator[TextView]:
    """When each thing happened, on which side of the bell, what followed a signal, and how it ended."""
    for kind in ONCE:
        for event in _once(plan, events, kind):
            share = (min(event.end, end) + max(event.start, start) - 2 * start) / (2 * (end - start))
            quarter = min(int(share * len(QUARTERS)), len(QUARTERS) - 1)
            yield _chosen([f"{_told(event)} {name}" for name in QUARTERS], quarter, "when")
    ingredients = [event for event in events if event.kind == "ingredient"]
    for bell in (event for event in events if event.what == "bell"):
        for event in ingredients:
            both = [f"the {event.what} went in {side} the bell" for side in SIDES]
            yield _chosen(both, int(event.start > bell.start), "bell")
    for signal in (event for event in events if event.what in CAUSE_OF.values()):
        following = next((event.what for event in ingredients if event.start > signal.start), None)
        if following is not None:
            texts = [f"{TURNED[signal.what]} just before the {name} went in" for name in INGREDIENTS]
            yield _chosen(texts, INGREDIENTS.index(following), "next")
    if any(event.kind == "outcome" for event in events):
        yield _chosen([ENDED[outcome] for outcome in OUTCOMES], OUTCOMES.index(plan.outcome), "outcome")


BRIEF_KINDS = {"order": "accents", "before": "accents-before", "when": "accents-when"}
"""What a kind of statement is called where brief events stand in it and not ingredients."""
ONCE = ("ingredient", "accent")
"""Kinds of which a video shows many things once; the accent that is counted is left out."""


def _once(plan: Plan, events: Sequence[Event], kind: str) -> list[Event]:
    return [event for event in events if event.kind == kind and event.what != plan.recipe.counted]


def _of_accents(view: TextView) -> bool:
    return view.text.startswith(ACCENT_NOUNS)


def _counted(plan: Plan, events: Sequence[Event]) -> Iterator[TextView]:
    times = sum(event.what == plan.recipe.counted for event in events)
    if times in COUNTS:
        yield _claimed(Count(plan.recipe.counted, times), "count")


def _claimed(claim: Claim, kind: str) -> TextView:
    return TextView(claim.text, tuple(rival.text for rival in wrong(claim)), kind)


def _chosen(texts: Sequence[str], true: int, kind: str) -> TextView:
    return TextView(texts[true], tuple(text for at, text in enumerate(texts) if at != true), kind)


def _told(event: Event) -> str:
    return f"{ACCENTS[event.what].noun} came" if event.kind == "accent" else f"the {event.what} went in"
