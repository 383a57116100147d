"""Kitchen videos as a data source, made in memory on request.

The texts are: for a frame, the sentence of the step it shows; for a clip, the
sentences of its steps in order; for a whole video, its paragraph and its facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from itertools import combinations, islice
from random import Random
from types import MappingProxyType

from encoders.pretrain.data import Sample, TextView, View
from encoders.pretrain.facts import facts_picture
from encoders.pretrain.settings import KitchenSettings
from encoders.pretrain.step import Request
from tasks.kitchen.benchmark import PROMPTS
from tasks.kitchen.plan import Event, Plan, make_plan
from tasks.kitchen.render import Pictures, render
from tasks.kitchen.texts import KINDS, Before, Claim, Count, facts, paragraph, question, sentence, steps, wrong
from tasks.kitchen.texts import texts as texts_of
from tasks.kitchen.world import (
    ACCENTS,
    BASES,
    CAUSE_OF,
    COUNTS,
    FINISHES,
    INGREDIENTS,
    LIQUIDS,
    OUTCOMES,
    SIGNALS,
    SILENT_KINDS,
    VERSION,
    Kind,
    WorldConfig,
)
from tasks.prompt import load_prompt
from tasks.task import JsonValue

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
"""Seconds of a step that a clip must show for its texts to mention it."""


def events_shown(plan: Plan, start: float, end: float) -> list[Event]:
    """Return the events, without distractors, that are visible long enough between two moments (seconds)."""
    return [
        event
        for event in plan.events
        if event.kind not in SILENT_KINDS and min(event.end, end) - max(event.start, start) >= LEAST_SHOWN
    ]


def telling(events: Sequence[Event], plan: Plan, between: str = " ") -> str:
    """Write the sentences of some events."""
    return between.join(sentence(event, plan) for event in events)


def false_tellings(events: Sequence[Event], plan: Plan, rng: Random, count: int, between: str = " ") -> tuple[str, ...]:
    """Write at most `count` different false versions, alternately with one thing replaced or two steps exchanged."""
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
    """Return the events with one thing replaced by another of its kind."""
    at = rng.randrange(len(events))
    event = events[at]
    others = [name for name in THINGS[event.kind] if name != event.what]
    return [*events[:at], replace(event, what=rng.choice(others)), *events[at + 1 :]]


def with_two_exchanged(events: Sequence[Event], rng: Random) -> list[Event]:
    """Return the events with two of them exchanged; a single one is unchanged."""
    changed = list(events)
    if len(events) > 1:
        one, other = rng.sample(range(len(events)), 2)
        changed[one], changed[other] = changed[other], changed[one]
    return changed


def answered_questions(plan: Plan, rng: Random, count: int) -> tuple[TextView, ...]:
    """Return `count` questions of different kinds about a video, each as its prompt with the right option."""
    return tuple(_answered(plan, kind, rng) for kind in rng.sample(sorted(KINDS), min(count, len(KINDS))))


def any_text(plan: Plan, rng: Random, seconds: float, between: str) -> TextView:
    """Draw a text about a video with equal chances: all of it, `seconds` of it, one step, a fact, or an answer."""
    kind = rng.randrange(5)
    if kind == 0:
        return TextView(paragraph(plan), kind="paragraph")
    if kind == 1:
        start = rng.uniform(0.0, plan.duration - seconds)
        shown = events_shown(plan, start, start + seconds)
        if shown:
            return TextView(telling(shown, plan, between), kind="clip")
    if kind == 2:
        return TextView(rng.choice(facts(plan)).text, kind="fact")
    if kind == 3:
        return answered_questions(plan, rng, 1)[0]
    return TextView(rng.choice(steps(plan)).sentence, kind="step")


def _answered(plan: Plan, kind: str, rng: Random) -> TextView:
    asked, truth = KINDS[kind](plan, rng)
    prompt = load_prompt("tasks", PROMPTS.loglik or "")
    # The same form as in encoders.v2t.task_model.
    words = f"{prompt.fill('user', question=asked)}\n\n{prompt.fill('reply')}"
    return TextView(truth.text, kind=kind, prompt=words)


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


def whole_statements(
    plan: Plan, events: Sequence[Event], *, brief_apart: bool = False, signals: bool = False
) -> tuple[TextView, ...]:
    """Return the statements about a whole video: those of the world, and the small statements."""
    composed = (TextView(fact.text, fact.negatives, fact.kind) for fact in facts(plan))
    sides = signal_sides(events) if signals else ()
    views = (*composed, *small_statements(plan, events, 0.0, plan.duration), *sides)
    return told_apart(views) if brief_apart else views


def clip_statements(
    plan: Plan,
    events: Sequence[Event],
    start: float,
    end: float,
    *,
    brief_apart: bool = False,
    signals: bool = False,
) -> tuple[TextView, ...]:
    """Return the statements about events between two moments (seconds): small ones, ordered pairs, and counts."""
    views = (
        *small_statements(plan, events, start, end),
        *(signal_sides(events) if signals else ()),
        *(
            _claimed(Before(a.what, b.what), "before")
            for kind in ONCE
            for a, b in combinations(_once(plan, events, kind), 2)
        ),
        *_counted(plan, events),
    )
    return told_apart(views) if brief_apart else views


def benchmark_questions(plan: Plan) -> tuple[TextView, ...]:
    """Return all kinds of kitchen-qa's questions about a video, with the benchmark's options: never for training."""
    asked = {kind: texts_of(question(plan, kind, 0).options) for kind in KINDS}
    return tuple(TextView(right, tuple(wrong), kind) for kind, (right, *wrong) in asked.items())


def told_apart(views: Sequence[TextView]) -> tuple[TextView, ...]:
    """Return the statements, with those of brief events under separate kinds (our choice).

    They are one in ten of the ingredients' kind: balanced together, an encoder hardly learns them.
    """
    return tuple(
        replace(view, kind=BRIEF_KINDS[view.kind]) if view.kind in BRIEF_KINDS and _of_accents(view) else view
        for view in views
    )


def small_statements(plan: Plan, events: Sequence[Event], start: float, end: float) -> Iterator[TextView]:
    """Yield when each thing happened, on which side of the bell, what followed a signal, and how it ended."""
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


def signal_sides(events: Sequence[Event]) -> Iterator[TextView]:
    """Yield on which side of the flame and of the lid each ingredient went in (our choice).

    What came next after a signal takes knowing when the signal was, which no other statement asks.
    """
    for signal in (event for event in events if event.what in TURNED):
        for event in events:
            if event.kind == "ingredient":
                both = [f"the {event.what} went in {side} {TURNED[signal.what]}" for side in SIDES]
                yield _chosen(both, int(event.start > signal.start), signal.what)


BRIEF_KINDS = {"order": "accents", "before": "accents-before", "when": "accents-when"}
"""Names of the kinds of statements about brief events instead of ingredients."""
ONCE = ("ingredient", "accent")
"""Kinds of events that happen once each; the counted accent is left out."""


def _once(plan: Plan, events: Sequence[Event], kind: str) -> list[Event]:
    return [event for event in events if event.kind == kind and event.what != plan.recipe.counted]


def _of_accents(view: TextView) -> bool:
    return view.text.startswith(ACCENT_NOUNS)


def _counted(plan: Plan, events: Sequence[Event]) -> Iterator[TextView]:
    times = sum(event.what == plan.recipe.counted for event in events)
    if times in COUNTS:
        yield _claimed(Count(plan.recipe.counted, times), "count")


@lru_cache(maxsize=1 << 16)
def _claimed(claim: Claim, kind: str) -> TextView:
    return TextView(claim.text, tuple(rival.text for rival in wrong(claim)), kind)


def _chosen(texts: Sequence[str], true: int, kind: str) -> TextView:
    return TextView(texts[true], tuple(text for at, text in enumerate(texts) if at != true), kind)


def _told(event: Event) -> str:
    return f"{ACCENTS[event.what].noun} came" if event.kind == "accent" else f"the {event.what} went in"


TOKENIZER_VIDEOS = 500
PICTURES = 1 << 17
"""Cached pictures that several videos share: at most 1.6 GB at 64 pixels a side."""


class KitchenSource:
    """Videos `first`, `first + 1`, … of a split, read as frames, as clips or as a whole."""

    def __init__(
        self, settings: KitchenSettings, view: View, *, frames: int, fps: float, size: int, centred: bool = False
    ) -> None:
        self._settings, self._view = settings, view
        self._frames, self._length, self._size = frames, frames / fps, size
        self._centred = centred
        self._world = WorldConfig()
        self._pictures = Pictures(PICTURES)
        self.facts: dict[str, JsonValue] = {"world": VERSION, "view": view, **asdict(settings)}

    def __len__(self) -> int:
        return self._settings.videos

    def load(self, requests: Iterable[Request]) -> Iterator[Sample]:
        for request in requests:
            yield self._sample(self._plan(request.index), Random(request.draw))

    def texts(self) -> Iterator[str]:
        for index in islice(range(len(self)), TOKENIZER_VIDEOS):
            plan = self._plan(index)
            yield paragraph(plan)
            for view in whole_statements(plan, plan.events):
                yield view.text

    def _plan(self, index: int) -> Plan:
        return make_plan(self._settings.split, self._settings.first + index, self._world)

    def _sample(self, plan: Plan, rng: Random) -> Sample:
        if self._view == "image":
            return self._image(plan, rng)
        start, end = self._stretch(plan, rng) if self._view == "clip" else (0.0, plan.duration)
        stamps = [start + (end - start) * (i + 0.5) / self._frames for i in range(self._frames)]
        events = events_shown(plan, start, end)
        whole = self._view != "clip"
        true: tuple[TextView, ...] = ()
        if self._settings.statements:
            asked = {"brief_apart": self._settings.brief_apart, "signals": self._settings.signals}
            true = (
                whole_statements(plan, events, **asked) if whole else clip_statements(plan, events, start, end, **asked)
            )
            if kinds := self._settings.kinds:
                true = tuple(view for view in true if view.kind in kinds)
        sample = self._told(plan, stamps, events, true, rng)
        if whole and self._centred:
            sample = replace(sample, questions=benchmark_questions(plan))
        if not whole or not self._settings.questions:
            return sample
        answered = answered_questions(plan, rng, self._settings.questions)
        return replace(sample, captions=(*sample.captions, *answered))

    def _image(self, plan: Plan, rng: Random) -> Sample:
        event = rng.choice(events_shown(plan, 0.0, plan.duration))
        second = (event.start + event.end) / 2 if self._centred else rng.uniform(event.start, event.end)
        return self._told(plan, [min(second, plan.duration)], [event], (), rng)

    def _told(
        self, plan: Plan, stamps: list[float], events: list[Event], true: tuple[TextView, ...], rng: Random
    ) -> Sample:
        between = self._settings.between
        false = false_tellings(events, plan, rng, self._settings.false_captions, between)
        caption = TextView(telling(events, plan, between), false)
        if self._view == "facts":
            # The dish is one of 27, too rare to be learnt as a fact of its own: the steps say what it is made of.
            facts_told = [*(view.text for view in true), *(sentence(event, plan) for event in events)]
            return Sample(plan.id, facts_picture(facts_told, self._size), (caption,), true)
        return Sample(plan.id, render(plan, stamps, self._size, self._pictures), (caption,), true)

    def _stretch(self, plan: Plan, rng: Random) -> tuple[float, float]:
        """Choose a window or, for the share `steps` of clips, one step from its beginning to its end."""
        if self._settings.steps and rng.random() < self._settings.steps:
            event = rng.choice(events_shown(plan, 0.0, plan.duration))
            return event.start, min(event.end, plan.duration)
        return self._window(plan, rng)

    def _window(self, plan: Plan, rng: Random) -> tuple[float, float]:
        """Draw a window that shows at least one step."""
        length = min(self._length, plan.duration)
        while True:
            start = rng.uniform(0, plan.duration - length)
            if events_shown(plan, start, start + length):
                return start, start + length
