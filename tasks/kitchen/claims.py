"""Statements about a video, each drawn from a small universe of rivals with the same words.

An option of a question and a training fact are the same texts, made here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

from tasks.kitchen.world import ACCENTS, BASES, CAUSE_OF, COUNTS, FINISHES, LIQUIDS, OUTCOMES


@dataclass(frozen=True, slots=True)
class Before:
    """One of two came before the other."""

    first: str
    second: str

    @property
    def text(self) -> str:
        """The statement."""
        if self.first in ACCENTS:
            return f"{ACCENTS[self.first].noun} came before {ACCENTS[self.second].noun}"
        return f"the {self.first} went in before the {self.second}"

    def rivals(self) -> list[Claim]:
        """Every claim of this universe, this one included."""
        return [self, Before(self.second, self.first)]


@dataclass(frozen=True, slots=True)
class Order:
    """Three things in the order in which they happened."""

    names: tuple[str, str, str]

    @property
    def text(self) -> str:
        """The statement."""
        if self.names[0] in ACCENTS:
            first, second, third = (ACCENTS[name].noun for name in self.names)
            return f"{first} came first, then {second}, and {third} last"
        first, second, third = self.names
        return f"the {first} went in first, then the {second}, and the {third} last"

    def rivals(self) -> list[Claim]:
        """All six orders."""
        return [Order((a, b, c)) for a, b, c in permutations(sorted(self.names))]


@dataclass(frozen=True, slots=True)
class Count:
    """How often a brief event happened."""

    accent: str
    times: int

    @property
    def text(self) -> str:
        """The statement."""
        times = ("one time", "two times", "three times", "four times", "five times")[self.times - 1]
        return f"{ACCENTS[self.accent].counted} exactly {times}"

    def rivals(self) -> list[Claim]:
        """All counts."""
        return [Count(self.accent, times) for times in COUNTS]


@dataclass(frozen=True, slots=True)
class Cause:
    """What went wrong at the end, and the ingredient that came next after what caused it; among three."""

    outcome: str
    ingredient: str
    among: tuple[str, str, str]

    @property
    def text(self) -> str:
        """The statement."""
        why = {
            "foam": "it foamed over because the lid was put on",
            "smoke": "it smoked because the flame was turned up",
        }[self.outcome]
        return f"{why} just before the {self.ingredient} went in"

    def rivals(self) -> list[Claim]:
        """Both outcomes with each of the three ingredients."""
        return [Cause(outcome, name, self.among) for outcome, name in product(OUTCOMES, self.among)]


@dataclass(frozen=True, slots=True)
class Missing:
    """Which of three ingredients came after the bell, which before: one or two of each."""

    after: tuple[str, ...]
    before: tuple[str, ...]

    @property
    def text(self) -> str:
        """The statement."""
        gone, there = (" and ".join(f"the {name}" for name in names) for names in (self.after, self.before))
        return f"had the cook stopped at the bell, {gone} would be missing, but not {there}"

    def rivals(self) -> list[Claim]:
        """The six ways to part three ingredients."""
        names = sorted((*self.after, *self.before))
        rivals: list[Claim] = []
        for alone in names:
            others = tuple(name for name in names if name != alone)
            rivals += [Missing((alone,), others), Missing(others, (alone,))]
        return rivals


@dataclass(frozen=True, slots=True)
class Dish:
    """What was made: base, liquid and finish, each from two that it might have been."""

    base: str
    liquid: str
    finish: str
    bases: tuple[str, ...] = BASES
    liquids: tuple[str, ...] = LIQUIDS
    finishes: tuple[str, ...] = tuple(FINISHES)

    @property
    def text(self) -> str:
        """The statement."""
        return f"the dish was {FINISHES[self.finish][0]} {self.base} in {self.liquid}"

    def rivals(self) -> list[Claim]:
        """All dishes of these bases, liquids and finishes."""
        return [
            Dish(base, liquid, finish, self.bases, self.liquids, self.finishes)
            for base, liquid, finish in product(self.bases, self.liquids, self.finishes)
        ]


Claim = Before | Order | Count | Cause | Missing | Dish


def wrong(claim: Claim) -> list[Claim]:
    """The rivals of a true claim: all are false."""
    return [rival for rival in claim.rivals() if rival != claim]


def texts(claims: Sequence[Claim]) -> tuple[str, ...]:
    """The statements of some claims."""
    return tuple(claim.text for claim in claims)


def next_ingredient(outcome: str, events: Sequence[tuple[str, str]]) -> str | None:
    """The ingredient next after what caused `outcome`, in a sequence of (kind, thing); None where it isn't there."""
    cause = ("signal", CAUSE_OF[outcome])
    if cause not in events:
        return None
    later = events[events.index(cause) + 1 :]
    return next((what for kind, what in later if kind == "ingredient"), None)
