"""From a sequence of events to their times: long steps stretch, brief ones keep their length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tasks.kitchen.world import LONG_KINDS, Kind, WorldConfig


@dataclass(frozen=True, slots=True)
class Sequel:
    """An event whose time is not known yet."""

    kind: Kind
    what: str
    how: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something seen from `start` to `end` (seconds). `how` is an ingredient's verb, `mirrored` the camera's side."""

    kind: Kind
    what: str
    how: str
    start: float
    end: float
    mirrored: bool


def lay_out(
    sequence: Sequence[Sequel], middle: int, duration: float, rng: Random, config: WorldConfig
) -> tuple[Event, ...]:
    """Times without gaps from 0 to `duration`, event number `middle` lying across the middle of the video."""
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
    """Lengths in seconds that sum to `total`: brief events as drawn, what is left shared among the long ones."""
    ranges = {"cutaway": config.cutaway_seconds, "decoy": (4.0, 5.5)}
    is_long = [event.kind in LONG_KINDS for event in sequence]
    drawn = [
        rng.uniform(0.75, 1.25) if long else rng.uniform(*ranges.get(event.kind, config.brief_seconds))
        for event, long in zip(sequence, is_long, strict=True)
    ]
    left = total - sum(length for length, long in zip(drawn, is_long, strict=True) if not long)
    unit = left / sum(weight for weight, long in zip(drawn, is_long, strict=True) if long)
    return [length * unit if long else length for length, long in zip(drawn, is_long, strict=True)]
