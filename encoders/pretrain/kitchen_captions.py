"""What is told of a stretch of a kitchen video, and tellings that are false in one thing (ours).

Captions of other videos in a batch differ in so much that a pot's colour tells them apart. So each
comes with false ones of its own: another thing in one step's place, which needs recognition, or two
steps exchanged, which needs time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from types import MappingProxyType

from tasks.kitchen.plan import Plan
from tasks.kitchen.texts import sentence
from tasks.kitchen.timeline import Event
from tasks.kitchen.world import ACCENTS, BASES, FINISHES, INGREDIENTS, LIQUIDS, OUTCOMES, SIGNALS, SILENT_KINDS, Kind

THINGS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "ingredient": INGREDIENTS,
        "base": BASES,
        "liquid": LIQUIDS,
        "accent": tuple(ACCENTS),
        "signal": tuple(SIGNALS),
        "outcome": OUTCOMES,
        "finish": tuple(FINISHES),
    }
)
LEAST_SHOWN = 1.0
"""Seconds of a step that a stretch must show before it is told."""


def events_shown(plan: Plan, start: float, end: float) -> list[Event]:
    """The events, distractors left out, that are seen for long enough between two moments (seconds)."""
    return [
        event
        for event in plan.events
        if event.kind not in SILENT_KINDS and min(event.end, end) - max(event.start, start) >= LEAST_SHOWN
    ]


def telling(events: Sequence[Event], plan: Plan, between: str = " ") -> str:
    """The sentences of some events."""
    return between.join(sentence(event, plan) for event in events)


def false_tellings(events: Sequence[Event], plan: Plan, rng: Random, count: int, between: str = " ") -> tuple[str, ...]:
    """At most `count` different false ones: in turn one thing is another, or two steps are exchanged."""
    true = telling(events, plan, between)
    found: dict[str, None] = {}
    for turn in range(4 * count):
        changed = with_another_thing(events, rng) if turn % 2 == 0 else with_two_exchanged(events, rng)
        text = telling(changed, plan, between)
        if text != true:
            found[text] = None
        if len(found) == count:
            break
    return tuple(found)


def with_another_thing(events: Sequence[Event], rng: Random) -> list[Event]:
    """The same events, one of them with another thing of its kind."""
    at = rng.randrange(len(events))
    event = events[at]
    others = [name for name in THINGS[event.kind] if name != event.what]
    return [*events[:at], replace(event, what=rng.choice(others)), *events[at + 1 :]]


def with_two_exchanged(events: Sequence[Event], rng: Random) -> list[Event]:
    """The same events, two of them in each other's place; one alone stays."""
    changed = list(events)
    if len(events) > 1:
        one, other = rng.sample(range(len(events)), 2)
        changed[one], changed[other] = changed[other], changed[one]
    return changed
