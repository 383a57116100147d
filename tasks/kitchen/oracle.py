"""The score of a perfect viewer, who recognises everything in the given frames and guesses the rest.

This measures the world, not a model (our choice): with all frames it must always be right, and the gap between few and
many frames is what questions gain from seeing the whole video.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

from tasks.kitchen.plan import Event, Plan
from tasks.kitchen.texts import Before, Cause, Claim, Count, Dish, Missing, Order, Question, next_ingredient

Seen = Sequence[Event]


def seen_at(plan: Plan, frames: int) -> list[Event]:
    """Return the events on screen at the mid-points of `frames` equal parts of the video, each once, in order."""
    stride = plan.duration / frames
    return [e for e in plan.events if int(e.end / stride + 0.5) > int(e.start / stride + 0.5)]


def expected_score(question: Question, seen: Seen, catch: float, *, ordered: bool = True) -> float:
    """Return the probability of a right answer: 1 over the number of options that agree with what was seen.

    `catch` is the share of brief events that the viewer's frames catch. Without `ordered` the viewer knows what was
    seen and how often, but not in which order. The likeliest of several counts is chosen.
    """
    open_options = [option for option in question.options if agrees(option, seen, ordered=ordered)]
    if isinstance(question.options[0], Count):
        open_options = likeliest(question.options, seen, catch)
    return float(question.options[question.answer] in open_options) / max(1, len(open_options))


def agrees(claim: Claim, seen: Seen, *, ordered: bool) -> bool:
    """Whether nothing seen contradicts a claim."""
    if isinstance(claim, Dish):
        shown = {str(event.kind): event.what for event in seen}
        said = {"base": claim.base, "liquid": claim.liquid, "finish": claim.finish}
        return all(shown.get(kind, what) == what for kind, what in said.items())
    if isinstance(claim, Cause):
        return cause_agrees(claim, seen, ordered=ordered)
    return not ordered or order_agrees(claim, seen)


def order_agrees(claim: Before | Order | Count | Missing, seen: Seen) -> bool:
    """Whether the things seen came in the claimed order; things not seen may have come at any time."""
    place = {event.what: number for number, event in enumerate(seen) if event.kind != "decoy"}
    if isinstance(claim, Missing):
        early = [place[name] for name in (*claim.before, "bell") if name in place]
        late = [place[name] for name in claim.after if name in place]
        bell = place.get("bell", max(early, default=-1))
        return max(early, default=-1) <= bell and all(bell < number for number in late)
    names = (
        claim.names if isinstance(claim, Order) else (claim.first, claim.second) if isinstance(claim, Before) else ()
    )
    places = [place[name] for name in names if name in place]
    return places == sorted(places)


def cause_agrees(claim: Cause, seen: Seen, *, ordered: bool) -> bool:
    """Whether the outcome and, if its cause was seen, the ingredient after it match the claim."""
    outcome = next((event.what for event in seen if event.kind == "outcome"), claim.outcome)
    if outcome != claim.outcome:
        return False
    culprit = next_ingredient(claim.outcome, [(event.kind, event.what) for event in seen]) if ordered else None
    return culprit in {None, claim.ingredient}


def likeliest(options: Sequence[Claim], seen: Seen, catch: float) -> list[Claim]:
    """Return the counts that maximise the likelihood of the number seen, each caught with chance `catch`."""
    counts = [option for option in options if isinstance(option, Count)]
    found = sum(event.what == counts[0].accent for event in seen)
    chance = {c: comb(c.times, found) * catch**found * (1 - catch) ** max(0, c.times - found) for c in counts}
    best = max(chance.values())
    return [claim for claim, value in chance.items() if value == best]


def share_caught(plans: Sequence[Plan], frames: int) -> float:
    """Return the share of brief events visible in at least one of `frames` frames."""
    brief = [event for plan in plans for event in plan.of_kind("accent", "signal")]
    caught = [event for plan in plans for event in seen_at(plan, frames) if event.kind in {"accent", "signal"}]
    return len(caught) / len(brief)
