"""Pictures of a plan at any moments, in memory: uint8 [T, H, W, 3].

Time stands still between the world's pictures a second (`WorldConfig.fps`), so that pictures made here and frames of a
file written from them show the same moments.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache
from math import floor

import numpy as np
from numpy.typing import NDArray

from tasks.errors import DataError
from tasks.kitchen.plan import Plan
from tasks.kitchen.scenes import CLOSE, WALLS, Placement, scene
from tasks.kitchen.shapes import Colour, paste
from tasks.kitchen.sprites import sprite

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
    """At most `most` painted pictures of one size, for whoever renders many videos: most moments of one recur."""

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
        picture[...] = picture[:, ::-1].copy()


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
