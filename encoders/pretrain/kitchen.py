"""The kitchen as a source: videos made in memory, when they are asked for.

What stands beside the pictures: for a frame, the sentence of the step it shows; for a clip, the
sentences of its steps in order; for a whole video, its paragraph and its facts. False captions are
the same sentences in another order (ours): without them nothing in a batch needs time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from random import Random

from encoders.pretrain.order import Request
from encoders.pretrain.samples import Sample, TextView, View
from encoders.pretrain.settings import KitchenSettings
from tasks.kitchen.plan import Plan, make_plan
from tasks.kitchen.render import render
from tasks.kitchen.texts import Step, facts, steps
from tasks.kitchen.world import VERSION, WorldConfig
from tasks.task import JsonValue

LEAST_SHOWN = 1.0
"""Seconds of a step that a clip must show before its sentence tells of it."""
TOKENIZER_VIDEOS = 500


class KitchenSource:
    """Videos `first`, `first + 1`, … of a split, looked at as frames, clips or as a whole."""

    def __init__(
        self, settings: KitchenSettings, view: View, *, frames: int, fps: float, size: int, centred: bool = False
    ) -> None:
        self._settings, self._view = settings, view
        self._frames, self._length, self._size = frames, frames / fps, size
        self._centred = centred
        self._world = WorldConfig()
        self.facts: dict[str, JsonValue] = {"world": VERSION, "view": view, **asdict(settings)}

    def __len__(self) -> int:
        return self._settings.videos

    def load(self, requests: Iterable[Request]) -> Iterator[Sample]:
        for request in requests:
            yield self._sample(self._plan(request.index), Random(request.draw))

    def texts(self) -> Iterator[str]:
        for index in islice(range(len(self)), TOKENIZER_VIDEOS):
            plan = self._plan(index)
            yield " ".join(step.sentence for step in steps(plan))
            for fact in facts(plan):
                yield fact.text

    def _plan(self, index: int) -> Plan:
        return make_plan(self._settings.split, self._settings.first + index, self._world)

    def _sample(self, plan: Plan, rng: Random) -> Sample:
        if self._view == "image":
            return self._image(plan, rng)
        start, end = (0.0, plan.duration) if self._view == "video" else self._window(plan, rng)
        told = shown(steps(plan), start, end)
        stamps = [start + (end - start) * (i + 0.5) / self._frames for i in range(self._frames)]
        caption = TextView(joined(told), reorderings(told, rng, self._settings.false_captions))
        true = facts(plan) if self._view == "video" else []
        statements = tuple(TextView(fact.text, fact.negatives, fact.kind) for fact in true)
        return Sample(plan.id, render(plan, stamps, self._size), (caption,), statements)

    def _image(self, plan: Plan, rng: Random) -> Sample:
        step = rng.choice(steps(plan))
        second = (step.start + step.end) / 2 if self._centred else rng.uniform(step.start, step.end)
        pixels = render(plan, [min(second, plan.duration)], self._size)
        return Sample(plan.id, pixels, (TextView(step.sentence),))

    def _window(self, plan: Plan, rng: Random) -> tuple[float, float]:
        """A window that shows at least one step."""
        length = min(self._length, plan.duration)
        while True:
            start = rng.uniform(0, plan.duration - length)
            if shown(steps(plan), start, start + length):
                return start, start + length


def shown(told: Sequence[Step], start: float, end: float) -> list[str]:
    """The sentences of the steps that are seen for long enough between two moments (seconds)."""
    return [step.sentence for step in told if min(step.end, end) - max(step.start, start) >= LEAST_SHOWN]


def joined(sentences: Sequence[str]) -> str:
    """The paragraph of some sentences."""
    return " ".join(sentences)


def reorderings(sentences: Sequence[str], rng: Random, count: int) -> tuple[str, ...]:
    """At most `count` paragraphs of the same sentences in other orders, all different."""
    found: dict[str, None] = {}
    own = joined(sentences)
    for _ in range(4 * count):
        text = joined(rng.sample(sentences, len(sentences)))
        if text != own:
            found[text] = None
        if len(found) == count:
            break
    return tuple(found)
