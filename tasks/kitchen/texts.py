"""Texts about a video: sentences of its steps, their paragraph, facts with false versions, labels, questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise, permutations, product
from random import Random
from types import MappingProxyType
from typing import Literal

from tasks.kitchen.plan import Event, Plan
from tasks.kitchen.world import (
    ACCENTS,
    BASES,
    CAUSE_OF,
    COUNTS,
    FINISHES,
    LIQUIDS,
    OUTCOMES,
    SIGNALS,
    SILENT_KINDS,
    VERSION,
)
from tasks.labels import length_label, position_label, span_label


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
    """Return the rivals of a true claim: all are false."""
    return [rival for rival in claim.rivals() if rival != claim]


def texts(claims: Sequence[Claim]) -> tuple[str, ...]:
    """The statements of some claims."""
    return tuple(claim.text for claim in claims)


def next_ingredient(outcome: str, events: Sequence[tuple[str, str]]) -> str | None:
    """The ingredient next after what caused `outcome`, in a sequence of (kind, thing); None if it is missing."""
    cause = ("signal", CAUSE_OF[outcome])
    if cause not in events:
        return None
    later = events[events.index(cause) + 1 :]
    return next((what for kind, what in later if kind == "ingredient"), None)


FactKind = Literal["before", "order", "count", "cause", "missing", "dish"]


@dataclass(frozen=True, slots=True)
class Step:
    """A sentence and where in the video it is shown (seconds)."""

    start: float
    end: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A true statement about a whole video, with false ones made of the same words."""

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
    """Return all true facts of the questions' kinds about a video, each with all its false versions."""
    return [fact_of(kind, claim) for kind, claim in true_claims(plan)]


@lru_cache(maxsize=1 << 16)
def fact_of(kind: FactKind, claim: Claim) -> Fact:
    """The claim as a fact; kept, because a few thousand claims make up all videos."""
    return Fact(kind, claim.text, texts(wrong(claim)))


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


OPTIONS = 5


@dataclass(frozen=True, slots=True)
class Question:
    """A question of one `kind`; `options` are claims of which `options[answer]` is true."""

    id: str
    kind: str
    text: str
    options: tuple[Claim, ...]
    answer: int


def questions(plan: Plan) -> list[Question]:
    """Five questions, one each of five of the six kinds; the omitted kind rotates with the index."""
    left_out = plan.index % len(KINDS)
    kinds = [kind for number, kind in enumerate(KINDS) if number != left_out]
    places = Random(f"{VERSION}/{plan.id}/places").sample(range(OPTIONS), OPTIONS)
    return [question(plan, kind, place) for kind, place in zip(kinds, places, strict=True)]


def question(plan: Plan, kind: str, place: int) -> Question:
    """The question of one kind, its right option at `place`."""
    rng = Random(f"{VERSION}/{plan.id}/question/{kind}")
    text, truth = KINDS[kind](plan, rng)
    options = rng.sample(wrong(truth), OPTIONS - 1)
    options.insert(place, truth)
    return Question(f"{plan.id}-{kind}", kind, text, tuple(options), place)


def ask_order(plan: Plan, rng: Random) -> tuple[str, Claim]:
    """Three ingredients: one of the first, one of the middle, one of the last third."""
    names = [event.what for event in plan.of_kind("ingredient")]
    cuts = [third * len(names) // 3 for third in range(4)]
    a, b, c = (names[rng.randrange(low, high)] for low, high in pairwise(cuts))
    return f"In which order did {listed(a, b, c)} go in?", Order((a, b, c))


def ask_accents(plan: Plan, rng: Random) -> tuple[str, Claim]:  # noqa: ARG001 - nothing to choose
    """The three brief events that happen once."""
    a, b, c = once_in_order(plan)
    nouns = [ACCENTS[name].noun for name in sorted((a, b, c))]
    return f"In which order did {nouns[0]}, {nouns[1]} and {nouns[2]} come?", Order((a, b, c))


def ask_count(plan: Plan, rng: Random) -> tuple[str, Claim]:  # noqa: ARG001 - nothing to choose
    """The brief event that happens one to five times."""
    accent = plan.recipe.counted
    return f"How many times {ACCENTS[accent].asked}?", Count(accent, times_counted(plan))


def ask_cause(plan: Plan, rng: Random) -> tuple[str, Claim]:
    """The outcome and what led to it; the cause of the other outcome is a distractor."""
    foam, smoke = culprit_of(plan, "foam"), culprit_of(plan, "smoke")
    others = [event.what for event in plan.of_kind("ingredient") if event.what not in {foam, smoke}]
    a, b, c = sorted((foam, smoke, rng.choice(others)))
    return "What went wrong at the end, and why?", Cause(plan.outcome, culprit_of(plan, plan.outcome), (a, b, c))


def ask_missing(plan: Plan, rng: Random) -> tuple[str, Claim]:
    """Three ingredients on both sides of the bell."""
    early, late = around_the_bell(plan)
    gone = rng.choice([1, 2])
    after, before = sorted(rng.sample(late, gone)), sorted(rng.sample(early, 3 - gone))
    a, b, c = (*after, *before)
    return (
        f"Of {listed(a, b, c)}, what would be missing had the cook stopped at the bell?",
        Missing(tuple(after), tuple(before)),
    )


def ask_dish(plan: Plan, rng: Random) -> tuple[str, Claim]:
    """The dish, among those of two bases, two liquids and two finishes."""
    recipe = plan.recipe
    pairs = [
        tuple(sorted((true, rng.choice([name for name in names if name != true]))))
        for true, names in ((recipe.base, BASES), (recipe.liquid, LIQUIDS), (recipe.finish, tuple(FINISHES)))
    ]
    return "Which dish was made?", Dish(recipe.base, recipe.liquid, recipe.finish, *pairs)


def listed(*names: str) -> str:
    """List names in alphabetical order, which reveals nothing: "the carrot, the egg and the onion"."""
    *others, last = (f"the {name}" for name in sorted(names))
    return f"{', '.join(others)} and {last}"


KINDS: Mapping[str, Callable[[Plan, Random], tuple[str, Claim]]] = MappingProxyType(
    {
        "order": ask_order,
        "accents": ask_accents,
        "count": ask_count,
        "cause": ask_cause,
        "missing": ask_missing,
        "dish": ask_dish,
    }
)
LONG_KINDS_OF_QUESTION = ("accents", "count", "cause", "missing")
"""Kinds about events of a few seconds, which sparse frames miss."""


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
