"""The vocabulary of the world, and parameters that make it easier or harder (our choice)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

VERSION = "kitchen.v1"
SPLITS = ("train", "val", "test")
SIBLINGS = 4
"""Videos of one recipe family: two orders of the ingredients, each with two schedules of brief events."""

INGREDIENTS = (
    "aubergine",
    "broccoli",
    "carrot",
    "cheese",
    "egg",
    "fish",
    "lemon",
    "mushroom",
    "onion",
    "potato",
    "sausage",
    "tomato",
)
VERBS = ("chop", "drop", "grate", "mash")
BASES = ("lentils", "noodles", "rice")
LIQUIDS = ("broth", "milk", "water")
FINISHES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "bake": ("baked", "bake it in the oven"),
        "chill": ("chilled", "chill it in the fridge"),
        "steam": ("steamed", "steam it in the steamer"),
    }
)
CONTAINERS = ("bowl", "pan", "pot", "tin")
COLOURS = ("blue", "green", "grey", "red")
COUNTS = (1, 2, 3, 4, 5)
OUTCOMES = ("foam", "smoke")
CUTAWAYS = ("cat", "plant", "window")


@dataclass(frozen=True, slots=True)
class Accent:
    """How a brief event is worded: as a step, within an order, within a count, and in a question."""

    sentence: str
    noun: str
    counted: str
    asked: str


ACCENTS: Mapping[str, Accent] = MappingProxyType(
    {
        "honey": Accent("add honey", "the honey", "honey was added", "was honey added"),
        "paprika": Accent("add paprika", "the paprika", "paprika was added", "was paprika added"),
        "parsley": Accent("add parsley", "the parsley", "parsley was added", "was parsley added"),
        "salt": Accent("add salt", "the salt", "salt was added", "was salt added"),
        "stir": Accent("stir it", "the stir", "it was stirred", "was it stirred"),
        "tap": Accent("tap the rim", "the tap", "the rim was tapped", "was the rim tapped"),
    }
)
SIGNALS: Mapping[str, str] = MappingProxyType(
    {"bell": "the bell rings", "flame": "turn up the flame", "lid": "put on the lid"}
)
"""Brief events with consequences: where the cook might have stopped, and what goes wrong at the end."""
CAUSE_OF: Mapping[str, str] = MappingProxyType({"foam": "lid", "smoke": "flame"})

Kind = Literal["ingredient", "base", "liquid", "accent", "signal", "outcome", "finish", "cutaway", "decoy"]
LONG_KINDS: frozenset[Kind] = frozenset({"ingredient", "base", "liquid", "outcome", "finish"})
SILENT_KINDS: frozenset[Kind] = frozenset({"cutaway", "decoy"})
"""Distractors, which no sentence mentions."""


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """Parameters of the world; the defaults are the benchmark's, others make another world.

    `seconds`: a video's length is uniform in this range; long steps stretch to fill it, brief events don't.
    `ingredients`: how many go in; more makes longer orders. `brief_seconds`: the shorter, the more frames it takes
    to catch what is counted and ordered. `decoys`: most ingredients shown and put back; they mislead whoever only
    recognises things. `cutaways`: most neutral pictures beside the one, of `cutaway_seconds`, that always hides the
    middle. `mirrored`: whether the camera changes sides. `fps`: pictures a second, on file and in memory.
    """

    seconds: tuple[float, float] = (130.0, 290.0)
    ingredients: tuple[int, int] = (5, 7)
    brief_seconds: tuple[float, float] = (2.5, 4.0)
    cutaway_seconds: tuple[float, float] = (3.0, 5.0)
    decoys: int = 1
    cutaways: int = 1
    mirrored: bool = True
    fps: int = 4

    def __post_init__(self) -> None:
        low, high = self.ingredients
        if not 5 <= low <= high < len(INGREDIENTS):
            msg = f"ingredients must lie between 5 and {len(INGREDIENTS) - 1}, not {self.ingredients}"
            raise ValueError(msg)
        for name in ("seconds", "brief_seconds", "cutaway_seconds"):
            start, end = getattr(self, name)
            if not 0 < start <= end:
                msg = f"{name} must be an ascending range of positive seconds, not {(start, end)}"
                raise ValueError(msg)
        if self.seconds[0] < 120 or self.brief_seconds[1] > 4 or self.cutaway_seconds[1] > 6:
            msg = "a video of at least 120 s holds brief events of at most 4 s and cut-aways of at most 6 s"
            raise ValueError(msg)
        if self.fps < 1 or self.decoys < 0 or self.cutaways < 0:
            msg = "fps must be at least 1, decoys and cutaways at least 0"
            raise ValueError(msg)


DEFAULT = WorldConfig()
