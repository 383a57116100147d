"""The kitchen as a source: videos made in memory, when they are asked for.

What stands beside the pictures: for a frame, the sentence of the step it shows; for a clip, the
sentences of its steps in order; for a whole video, its paragraph and its facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from itertools import islice
from random import Random

from encoders.pretrain.kitchen_captions import events_shown, false_tellings, telling
from encoders.pretrain.kitchen_facts import benchmark_questions, clip_statements, whole_statements
from encoders.pretrain.kitchen_words import answered_questions
from encoders.pretrain.order import Request
from encoders.pretrain.samples import Sample, TextView, View
from encoders.pretrain.settings import KitchenSettings
from tasks.kitchen.plan import Plan, make_plan
from tasks.kitchen.render import Pictures, render
from tasks.kitchen.texts import paragraph
from tasks.kitchen.timeline import Event
from tasks.kitchen.world import VERSION, WorldConfig
from tasks.task import JsonValue

TOKENIZER_VIDEOS = 500
PICTURES = 1 << 17
"""Pictures that are kept because other videos show them too: 1.6 GB at most of 64 pixels a side."""


class KitchenSource:
    """Videos `first`, `first + 1`, … of a split, looked at as frames, clips or as a whole."""

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
        start, end = (0.0, plan.duration) if self._view == "video" else self._stretch(plan, rng)
        stamps = [start + (end - start) * (i + 0.5) / self._frames for i in range(self._frames)]
        events = events_shown(plan, start, end)
        whole = self._view == "video"
        true: tuple[TextView, ...] = ()
        if self._settings.statements:
            apart = self._settings.brief_apart
            true = (
                whole_statements(plan, events, brief_apart=apart)
                if whole
                else clip_statements(plan, events, start, end, brief_apart=apart)
            )
        sample = self._told(plan, stamps, events, true, rng)
        if whole and self._centred:
            sample = replace(sample, questions=benchmark_questions(plan))
        if not whole or not self._settings.questions:
            return sample
        asked = answered_questions(plan, rng, self._settings.questions)
        return replace(sample, captions=(*sample.captions, *asked))

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
        return Sample(plan.id, render(plan, stamps, self._size, self._pictures), (caption,), true)

    def _stretch(self, plan: Plan, rng: Random) -> tuple[float, float]:
        """A window, or, for the share `steps` of clips, one step from its beginning to its end."""
        if self._settings.steps and rng.random() < self._settings.steps:
            event = rng.choice(events_shown(plan, 0.0, plan.duration))
            return event.start, min(event.end, plan.duration)
        return self._window(plan, rng)

    def _window(self, plan: Plan, rng: Random) -> tuple[float, float]:
        """A window that shows at least one step."""
        length = min(self._length, plan.duration)
        while True:
            start = rng.uniform(0, plan.duration - length)
            if events_shown(plan, start, start + length):
                return start, start + length
