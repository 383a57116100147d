"""What happens in a video, and when: a pure function of split and index.

Recipes (ours): the set of ingredients decides the split, so no recipe of one split occurs in another. Four
consecutive indices are a family: the same ingredients, verbs, dish, container and kinds of brief events, in two orders
with two schedules of brief events each, and the same two counts in both. A viewer who ignores order, or sees only long
steps, therefore confuses each sibling with another; one who only recognises things, with all three. All that a question
asks about is drawn uniformly and independently of the rest: see `questions`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tasks.errors import DataError
from tasks.kitchen.world import (
    ACCENTS,
    BASES,
    COLOURS,
    CONTAINERS,
    COUNTS,
    CUTAWAYS,
    DEFAULT,
    FINISHES,
    INGREDIENTS,
    LIQUIDS,
    LONG_KINDS,
    OUTCOMES,
    SIBLINGS,
    SPLITS,
    VERBS,
    VERSION,
    Kind,
    WorldConfig,
)


@dataclass(frozen=True, slots=True)
class Sequel:
    """An event whose time is not known yet."""

    kind: Kind
    what: str
    how: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something visible from `start` to `end` (seconds).

    `how` is an ingredient's verb, `mirrored` the camera's side.
    """

    kind: Kind
    what: str
    how: str
    start: float
    end: float
    mirrored: bool


def lay_out(
    sequence: Sequence[Sequel], middle: int, duration: float, rng: Random, config: WorldConfig
) -> tuple[Event, ...]:
    """Lay out events without gaps from 0 to `duration`, with event number `middle` across the video's middle."""
    hidden = rng.uniform(*config.cutaway_seconds)
    half = (duration - hidden) / 2
    lengths = [*stretched(sequence[:middle], half, rng, config), hidden]
    lengths += stretched(sequence[middle + 1 :], half, rng, config)
    events = []
    elapsed = 0.0
    for event, length in zip(sequence, lengths, strict=True):
        start, elapsed = elapsed, elapsed + length
        mirrored = config.mirrored and rng.random() < 0.5
        events.append(Event(event.kind, event.what, event.how, round(start, 2), round(elapsed, 2), mirrored))
    return tuple(events)


def stretched(sequence: Sequence[Sequel], total: float, rng: Random, config: WorldConfig) -> list[float]:
    """Return lengths in seconds that sum to `total`: brief events as drawn, the rest shared among long ones."""
    ranges = {"cutaway": config.cutaway_seconds, "decoy": (4.0, 5.5)}
    is_long = [event.kind in LONG_KINDS for event in sequence]
    drawn = [
        rng.uniform(0.75, 1.25) if long else rng.uniform(*ranges.get(event.kind, config.brief_seconds))
        for event, long in zip(sequence, is_long, strict=True)
    ]
    left = total - sum(length for length, long in zip(drawn, is_long, strict=True) if not long)
    unit = left / sum(weight for weight, long in zip(drawn, is_long, strict=True) if long)
    return [length * unit if long else length for length, long in zip(drawn, is_long, strict=True)]


ONCE = 3
MOST_IN_A_GAP = 3


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the videos of a family share.

    `verbs` go with `ingredients`; `once` are accents that happen once, `counted` happens as often as `counts` say of
    the first and the second schedule.
    """

    ingredients: tuple[str, ...]
    verbs: tuple[str, ...]
    base: str
    liquid: str
    finish: str
    container: str
    colour: str
    counted: str
    counts: tuple[int, int]
    once: tuple[str, ...]
    outcome: str
    decoys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One video: its recipe and its events in order of time, without gaps, over `duration` seconds."""

    id: str
    split: str
    index: int
    family: str
    duration: float
    recipe: Recipe
    events: tuple[Event, ...]
    config: WorldConfig

    @property
    def outcome(self) -> str:
        """What goes wrong at the end."""
        return self.recipe.outcome

    def of_kind(self, *kinds: Kind) -> tuple[Event, ...]:
        """The events of some kinds, in order of time."""
        return tuple(event for event in self.events if event.kind in kinds)


def make_plan(split: str, index: int, config: WorldConfig = DEFAULT) -> Plan:
    """Make video `index` (0, 1, …) of a split; training is endless. Raises DataError for an unknown split or index."""
    if split not in SPLITS or index < 0:
        msg = f"kitchen has no video {index} in a split '{split}'; splits are {', '.join(SPLITS)}, indices from 0"
        raise DataError(msg)
    family, sibling = divmod(index, SIBLINGS)
    recipe = make_recipe(split, family, config)
    name = f"kitchen-{split}-{family:04d}"
    order = ingredient_order(Random(f"{VERSION}/{name}/order"), len(recipe.ingredients), sibling // 2)
    steps = long_steps(recipe, order, Random(f"{VERSION}/{name}/arrangement/{sibling // 2}"))
    rng = Random(f"{VERSION}/{name}/schedule/{sibling}")
    duration = round(rng.uniform(*config.seconds), 1)
    briefs = brief_events(recipe, steps, recipe.counts[sibling % 2], rng)
    sequence, middle = in_sequence(steps, briefs, recipe, rng, config)
    return Plan(
        id=f"{name}-{'abcd'[sibling]}",
        split=split,
        index=index,
        family=name,
        duration=duration,
        recipe=recipe,
        events=lay_out(sequence, middle, duration, rng, config),
        config=config,
    )


NAME = re.compile(rf"kitchen-(({'|'.join(SPLITS)})-\d{{4,}}-[a-d]|needle-\d+min-\d\d-[1-5])")


def is_kitchen(name: str) -> bool:
    """Whether a video's name is one that `make_plan` gives, or of `kitchen-needle`."""
    return NAME.fullmatch(name) is not None


def split_of(ingredients: tuple[str, ...]) -> str:
    """Return the only split whose recipes may have this set of ingredients: a tenth is test, a tenth val."""
    digest = hashlib.sha256(" ".join(sorted(ingredients)).encode()).digest()
    return {0: "test", 1: "val"}.get(int.from_bytes(digest[:4], "big") % 10, "train")


def make_recipe(split: str, family: int, config: WorldConfig) -> Recipe:
    """Make the recipe of a family. Ingredient sets of other splits are redrawn."""
    rng = Random(f"{VERSION}/{split}/recipe/{family}")
    while True:
        shuffled = rng.sample(INGREDIENTS, len(INGREDIENTS))
        count = rng.randint(*config.ingredients)
        ingredients = tuple(sorted(shuffled[:count]))
        if split_of(ingredients) == split:
            break
    first, second = rng.sample(COUNTS, 2)
    counted, *once = rng.sample(sorted(ACCENTS), ONCE + 1)
    return Recipe(
        ingredients=ingredients,
        verbs=tuple(rng.choice(VERBS) for _ in ingredients),
        base=rng.choice(BASES),
        liquid=rng.choice(LIQUIDS),
        finish=rng.choice(sorted(FINISHES)),
        container=rng.choice(CONTAINERS),
        colour=rng.choice(COLOURS),
        counted=counted,
        counts=(first, second),
        once=tuple(sorted(once)),
        outcome=rng.choice(OUTCOMES),
        decoys=tuple(shuffled[count:]),
    )


def ingredient_order(rng: Random, count: int, which: int) -> list[int]:
    """Return the first or the second order of a family: two different permutations, each uniform."""
    first = rng.sample(range(count), count)
    second = first
    while second == first:
        second = rng.sample(range(count), count)
    return [first, second][which]


def long_steps(recipe: Recipe, order: list[int], rng: Random) -> list[Sequel]:
    """Ingredients in `order`, the base among the first steps and the liquid among the middle ones."""
    steps = [Sequel("ingredient", recipe.ingredients[i], recipe.verbs[i]) for i in order]
    steps.insert(rng.randint(0, 1), Sequel("base", recipe.base))
    steps.insert(len(steps) // 2 + rng.randint(0, 1), Sequel("liquid", recipe.liquid))
    return steps


def brief_events(recipe: Recipe, steps: list[Sequel], times: int, rng: Random) -> list[list[Sequel]]:
    """Brief events for the gap before each step and the one after the last; a kind is at most once in a gap."""
    gaps: list[list[Sequel]] = [[] for _ in range(len(steps) + 1)]
    before = [i for i, step in enumerate(steps) if step.kind == "ingredient"]
    for signal, at in zip(("flame", "lid"), rng.sample(before, 2), strict=True):
        gaps[at].append(Sequel("signal", signal))
    # Two ingredients at least on either side of the bell, so that a question can take one or two of each.
    gaps[rng.choice(before[2:-1])].append(Sequel("signal", "bell"))
    for third, accent in enumerate(rng.sample(recipe.once, ONCE)):
        low, high = third * len(gaps) // ONCE, (third + 1) * len(gaps) // ONCE
        gaps[rng.randrange(low, high)].append(Sequel("accent", accent))
    roomy = [gap for gap in gaps if len(gap) < MOST_IN_A_GAP]
    for gap in rng.sample(roomy, times):
        gap.append(Sequel("accent", recipe.counted))
    for gap in gaps:
        rng.shuffle(gap)
    return gaps


def in_sequence(
    steps: list[Sequel],
    briefs: list[list[Sequel]],
    recipe: Recipe,
    rng: Random,
    config: WorldConfig,
) -> tuple[list[Sequel], int]:
    """Return all events in order, with distractors, and the index of the cut-away that hides the middle."""
    blocks = [[*gap, step] for gap, step in zip(briefs, steps, strict=False)]
    blocks += [[*briefs[-1], Sequel("outcome", recipe.outcome)], [Sequel("finish", recipe.finish)]]
    middle = len(blocks) // 2
    elsewhere = [number for number in range(1, len(blocks)) if number != middle]
    for number in rng.sample(elsewhere, rng.randint(0, config.decoys)):
        blocks[number].insert(0, Sequel("decoy", rng.choice(recipe.decoys)))
    for number in rng.sample(elsewhere, rng.randint(0, config.cutaways)):
        blocks[number].insert(0, Sequel("cutaway", rng.choice(CUTAWAYS)))
    blocks[middle].insert(0, Sequel("cutaway", rng.choice(CUTAWAYS)))
    return [event for block in blocks for event in block], sum(map(len, blocks[:middle]))
