"""Render frames of a plan at any moments, in memory: uint8 [T, H, W, 3].

Time advances in steps of the world's frame rate (`WorldConfig.fps`), so that frames made here and frames of a
file made from them show the same moments.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import ceil, floor, pi, sin
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks.durable import whole_file
from tasks.errors import DataError
from tasks.kitchen.pictures import Colour, paste, sprite
from tasks.kitchen.plan import Event, Plan
from tasks.kitchen.world import Kind
from tasks.video_files import local_address

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream


WALLS: tuple[tuple[Colour, Colour], ...] = (
    ((208, 216, 208), (142, 134, 126)),
    ((220, 210, 198), (118, 126, 136)),
    ((200, 210, 222), (164, 146, 126)),
    ((222, 216, 202), (130, 122, 134)),
)
"""Colours of wall and counter (our choice): pale, so that things stand out; the pair depends on the video alone."""
CLOSE: Mapping[str, Colour] = MappingProxyType(
    {
        "bell": (70, 30, 100),
        "flame": (24, 26, 40),
        "honey": (120, 190, 226),
        "lid": (226, 232, 150),
        "paprika": (246, 224, 170),
        "parsley": (110, 60, 96),
        "salt": (36, 70, 130),
        "stir": (240, 190, 206),
        "tap": (30, 96, 96),
    }
)
"""What is behind a close-up; every brief event has its own."""
PREPARED_SHARE = 0.5
"""Share of an ingredient's step that is spent on the board, before it goes in."""
THING = 0.5
"""Side of an ingredient's square: 32 pixels of 64, of which it covers 14 to 29 either way."""

Placement = tuple[str, float, float, float]
"""Name of a thing, x and y of its middle, side of its square."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A background, "wall:0" or "close:salt", and the things in front of it, the nearest last."""

    background: str
    things: tuple[Placement, ...]


def scene(event: Event, plan: Plan, wall: int, second: float) -> Scene:
    """What the camera shows at `second` of the video, before it is mirrored."""
    return SCENES[event.kind](event, plan, wall, second - event.start)


def wave(second: float, period: float) -> float:
    """From -1 to 1 and back in `period` seconds."""
    return sin(2 * pi * second / period)


def fall(second: float, period: float, offset: float = 0.0) -> float:
    """From 0 to 1 in `period` seconds, over and over."""
    return (second / period + offset) % 1.0


def vessel(plan: Plan) -> str:
    """The name of the video's container."""
    return f"vessel:{plan.recipe.container}:{plan.recipe.colour}"


def ingredient(event: Event, plan: Plan, wall: int, elapsed: float) -> Scene:
    """First on the board under its tool, then over the container; dropped ones go straight in."""
    on_board = event.how != "drop" and elapsed < PREPARED_SHARE * (event.end - event.start)
    return prepared(event, wall, elapsed) if on_board else added(event, plan, wall, elapsed)


def prepared(event: Event, wall: int, elapsed: float) -> Scene:
    """The tool at work: the knife from above, the grater beside, the masher on top."""
    beat = wave(elapsed, 1.3)
    thing, tool = {
        "chop": ((0.36, 0.58), (0.66, 0.38 + 0.12 * beat)),
        "grate": ((0.32, 0.55 + 0.12 * beat), (0.7, 0.52)),
        "mash": ((0.48, 0.66 + 0.02 * beat), (0.5, 0.26 + 0.1 * beat)),
    }[event.how]
    return Scene(f"wall:{wall}", (("board", 0.5, 0.76, 0.9), (event.what, *thing, THING), (event.how, *tool, 0.46)))


def added(event: Event, plan: Plan, wall: int, elapsed: float) -> Scene:
    """Held over the container, or dropped into it whole; pieces fall."""
    if event.how == "drop":
        down = min(1.0, 1.6 * fall(elapsed, 3.0))
        things: tuple[Placement, ...] = (
            (event.what, 0.5, 0.36 + 0.4 * max(0.0, down - 0.45), THING),
            ("drop", 0.5, 0.08 - 0.06 * down, 0.34),
        )
    else:
        piece = fall(elapsed, 1.2)
        things = (
            (event.what, 0.46 + 0.04 * piece, 0.45 + 0.32 * piece, 0.2),
            (event.what, 0.5 + 0.03 * wave(elapsed, 1.7), 0.28, THING),
        )
    return Scene(f"wall:{wall}", (*things, (vessel(plan), 0.5, 0.76, 0.62)))


def poured(event: Event, plan: Plan, wall: int, elapsed: float) -> Scene:
    """A pack or a bottle over the container, and what runs out of it."""
    grains = tuple(
        (f"grain:{event.what}", 0.5 + dx, 0.42 + 0.3 * fall(elapsed, 0.9, offset), 0.09)
        for dx, offset in ((-0.05, 0.0), (0.02, 0.35), (0.07, 0.7))
    )
    running = ((f"stream:{event.what}", 0.5, 0.56, 0.4),) if event.kind == "liquid" else grains
    held = (event.what, 0.5 + 0.03 * wave(elapsed, 2.1), 0.27, 0.48)
    return Scene(f"wall:{wall}", (*running, held, (vessel(plan), 0.5, 0.76, 0.62)))


def close_up(event: Event, plan: Plan, wall: int, elapsed: float) -> Scene:  # noqa: ARG001 - has its own background
    """A brief event fills the picture."""
    beat = wave(elapsed, 0.9)
    falling = tuple(
        (f"grain:{event.what}", 0.5 + dx, 0.5 + 0.3 * fall(elapsed, 0.7, offset), 0.1)
        for dx, offset in ((-0.14, 0.0), (0.0, 0.4), (0.14, 0.75))
    )
    placed: Mapping[str, tuple[Placement, ...]] = {
        "stir": (("stir", 0.5 + 0.16 * beat, 0.42, 0.62),),
        "tap": (("tap", 0.5, 0.36 + 0.08 * beat, 0.62),),
        "bell": (("bell", 0.5 + 0.05 * beat, 0.42, 0.74),),
        "flame": (("flame", 0.5, 0.58 + 0.02 * beat, 0.78 + 0.04 * beat),),
        "lid": (("lid", 0.5, 0.34 + 0.06 * beat, 0.78),),
    }
    things = placed.get(event.what) or (*falling, (event.what, 0.5, 0.3 + 0.04 * beat, 0.56))
    behind = () if event.what in {"bell", "flame"} else ((vessel(plan), 0.5, 0.98, 0.98),)
    return Scene(f"close:{event.what}", (*things, *behind))


def ending(event: Event, plan: Plan, wall: int, elapsed: float) -> Scene:
    """The container on the stove, smoking or foaming over."""
    rise = fall(elapsed, 2.4)
    stove: Placement = ("stove", 0.5, 0.82, 0.9)
    pot: Placement = (vessel(plan), 0.5, 0.66, 0.6)
    if event.what == "smoke":
        puffs = (("smoke", 0.42, 0.4 - 0.2 * rise, 0.5), ("smoke", 0.62, 0.3 - 0.15 * rise, 0.4))
        return Scene(f"wall:{wall}", (*puffs, stove, pot))
    return Scene(f"wall:{wall}", (stove, pot, ("foam", 0.5, 0.46 + 0.03 * wave(elapsed, 1.2), 0.66 + 0.04 * rise)))


def finished(event: Event, plan: Plan, wall: int, elapsed: float) -> Scene:
    """The oven, the fridge or the steamer; the container moves towards it."""
    near = min(1.0, elapsed / max(event.end - event.start, 1e-6) * 1.5)
    return Scene(f"wall:{wall}", ((event.what, 0.58, 0.5, 0.84), (vessel(plan), 0.2 + 0.14 * near, 0.8, 0.36)))


def cutaway(event: Event, plan: Plan, wall: int, elapsed: float) -> Scene:  # noqa: ARG001 - nothing of the recipe
    """Something of no importance, without anything of the recipe."""
    return Scene("aside", ((event.what, 0.5 + 0.02 * wave(elapsed, 3.0), 0.52, 0.7),))


def decoy(event: Event, plan: Plan, wall: int, elapsed: float) -> Scene:  # noqa: ARG001 - no container here
    """An ingredient is taken from a shelf and put back."""
    share = elapsed / max(event.end - event.start, 1e-6)
    lifted = 0.22 * (1 - abs(2 * share - 1))
    things = ((event.what, 0.5, 0.58 - lifted, THING), ("drop", 0.5, 0.3 - lifted, 0.34))
    return Scene("shelf", things)


SCENES: Mapping[Kind, Callable[[Event, Plan, int, float], Scene]] = MappingProxyType(
    {
        "ingredient": ingredient,
        "base": poured,
        "liquid": poured,
        "accent": close_up,
        "signal": close_up,
        "outcome": ending,
        "finish": finished,
        "cutaway": cutaway,
        "decoy": decoy,
    }
)


_ROUNDING = 1e-6
SMALLEST = 16
GRID = 64
"""Places and sizes are whole steps of a 64th of the side, so that a scaled picture is like one made at that size."""
COUNTER_FROM = 0.72
ASIDE: Colour = (176, 180, 176)
SHELF: tuple[Colour, Colour] = ((150, 122, 98), (96, 74, 56))


Pasted = tuple[str, int, int, int]
"""Name of a sprite, left and top of its square, its side: whole steps of the grid."""


class Pictures:
    """A cache of at most `most` painted pictures of one size, for rendering many videos: most pictures recur."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[tuple[str, tuple[Pasted, ...], bool], NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def paint(
        self, picture: NDArray[np.uint8], behind: str, things: tuple[Pasted, ...], *, mirrored: bool = False
    ) -> None:
        """Fill `picture` with what is kept, or paint it and keep it while there is room."""
        kept = self._kept.get((behind, things, mirrored))
        if kept is not None:
            picture[...] = kept
            return
        paint(picture, behind, things, mirrored=mirrored)
        if len(self._kept) < self._most:
            self._kept[behind, things, mirrored] = picture.copy()


def render(plan: Plan, seconds: Sequence[float], size: int = 64, pictures: Pictures | None = None) -> NDArray[np.uint8]:
    """Pictures at `seconds` (any order), squares of `size` pixels: uint8 [T, size, size, 3].

    With `pictures`, which are of this size, those painted before are copied. Raises DataError for a moment
    outside the video, ValueError for a size below 16.
    """
    if size < SMALLEST:
        msg = f"a picture has at least {SMALLEST} pixels a side, not {size}"
        raise ValueError(msg)
    found = np.empty((len(seconds), size, size, 3), dtype=np.uint8)
    painter = paint if pictures is None else pictures.paint
    wall = zlib.crc32(plan.id.encode()) % len(WALLS)
    ends = np.array([event.end for event in plan.events])
    fps = plan.config.fps
    for picture, second in zip(found, seconds, strict=True):
        if not 0 <= second <= plan.duration:
            msg = f"{plan.id} runs from 0 to {plan.duration} s; there is nothing at {second} s"
            raise DataError(msg)
        shown = floor(second * fps + _ROUNDING) / fps
        event = plan.events[min(int(np.searchsorted(ends, shown, side="right")), len(plan.events) - 1)]
        view = scene(event, plan, wall, shown)
        painter(picture, view.background, tuple(map(on_grid, view.things)), mirrored=event.mirrored)
    return found


def on_grid(thing: Placement) -> Pasted:
    """Where a thing is pasted."""
    name, x, y, side = thing
    wide = round(side * GRID)
    return name, round(x * GRID - wide / 2), round(y * GRID - wide / 2), wide


def paint(picture: NDArray[np.uint8], behind: str, things: tuple[Pasted, ...], *, mirrored: bool = False) -> None:
    """Put a background and the things before it into `picture` [S, S, 3]."""
    size = picture.shape[0]
    picture[...] = background(behind, size)
    scale = size / GRID
    for name, left, top, wide in things:
        paste(picture, sprite(name, round(wide * scale)), round(left * scale), round(top * scale))
    if mirrored:
        pixels = picture.view("V3")  # three bytes at a time: half the time of one
        pixels[...] = pixels[:, ::-1].copy()


@cache
def background(name: str, size: int) -> NDArray[np.uint8]:
    """An empty scene, uint8 [size, size, 3]: tiles over a counter, a close-up's colour, a shelf, or plain."""
    kind, _, which = name.partition(":")
    picture = np.empty((size, size, 3), dtype=np.uint8)
    if kind == "close":
        picture[...] = CLOSE[which]
    elif kind == "aside":
        picture[...] = ASIDE
    elif kind == "shelf":
        picture[...] = SHELF[0]
        picture[round(0.8 * size) : round(0.88 * size)] = SHELF[1]
    else:
        wall, counter = WALLS[int(which)]
        picture[...] = wall
        for line in range(1, 4):
            at = round(line * size / 4)
            thick = max(1, size // 64)
            picture[:, at : at + thick] = [max(0, part - 12) for part in wall]
            picture[at : at + thick] = [max(0, part - 12) for part in wall]
        picture[round(COUNTER_FROM * size) :] = counter
    return picture


SIDE = 128
AT_ONCE = 64
OPTIONS = {"preset": "veryfast", "crf": "20", "g": "8", "bf": "0", "threads": "1"}
"""Our choice: a key frame every two seconds for fast sparse access; one thread, for reproducible bytes."""


def write_video(plan: Plan, path: Path, side: int = SIDE) -> None:
    """Write the whole video to `path`; it appears there only when it is complete."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished, av.open(local_address(unfinished), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=plan.config.fps, options=OPTIONS)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, plan.config.fps)
        encode(plan, container, stream)


def encode(plan: Plan, container: av.container.OutputContainer, stream: VideoStream) -> None:
    """Render and encode, a few pictures at a time, so that memory doesn't grow with the video."""
    import av

    fps = plan.config.fps
    count = ceil(plan.duration * fps)
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        for number, picture in zip(numbers, render(plan, [i / fps for i in numbers], stream.width), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
