"""Five-way questions that take at least three events far apart, and give nothing away in their words.

Why no option betrays itself (ours): the options of a question are the truth and four rivals from one small universe,
and the truth is uniform over that universe given the question, because the plan draws it so (identity apart from
position; counts, outcome and dish uniform). So each of the five is as likely to be right, whatever their words are.
The right option's place is uniform as well: over a video's five questions it is each place once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from types import MappingProxyType

from tasks.kitchen.claims import Cause, Claim, Count, Dish, Missing, Order, wrong
from tasks.kitchen.plan import Plan
from tasks.kitchen.texts import around_the_bell, culprit_of, once_in_order, times_counted
from tasks.kitchen.world import ACCENTS, BASES, FINISHES, LIQUIDS, VERSION

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
    """Five questions, one each of five of the six kinds; which kind is left out turns with the index."""
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
    """The outcome and what led to it; what led to the other outcome is there to mislead."""
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
    """Names in alphabetical order, which tells nothing: "the carrot, the egg and the onion"."""
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
"""Kinds that turn on events of a few seconds: sparse frames miss them."""
