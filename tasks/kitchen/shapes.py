"""Flat shapes to small pictures with soft edges: each sprite is drawn once per size and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Grid = NDArray[np.float32]
Mask = NDArray[np.bool_]
OVERSAMPLING = 4
OUTLINE: Colour = (40, 34, 38)


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An ellipse around (x, y) with half-axes `rx` and `ry`, turned by `turn` radians; the sprite is -1 to 1."""

    x: float
    y: float
    rx: float
    ry: float
    colour: Colour
    turn: float = 0.0

    def covers(self, x: Grid, y: Grid) -> Mask:
        """Which points lie inside."""
        dx, dy = x - self.x, y - self.y
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        inside: Mask = ((dx * cos + dy * sin) / self.rx) ** 2 + ((dy * cos - dx * sin) / self.ry) ** 2 <= 1
        return inside


@dataclass(frozen=True, slots=True)
class Polygon:
    """A polygon by its corners (x, y), even-odd filled."""

    corners: tuple[tuple[float, float], ...]
    colour: Colour

    def covers(self, x: Grid, y: Grid) -> Mask:
        """Which points lie inside."""
        inside = np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=np.bool_)
        for (x1, y1), (x2, y2) in zip(self.corners, self.corners[1:] + self.corners[:1], strict=True):
            if y1 == y2:
                continue
            crossed = (y >= min(y1, y2)) & (y < max(y1, y2)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
            inside ^= crossed
        return inside


@dataclass(frozen=True, slots=True)
class Bar:
    """A thick line from (x1, y1) to (x2, y2) with round ends of radius `r`."""

    x1: float
    y1: float
    x2: float
    y2: float
    r: float
    colour: Colour

    def covers(self, x: Grid, y: Grid) -> Mask:
        """Which points lie inside."""
        dx, dy = self.x2 - self.x1, self.y2 - self.y1
        along = np.clip(((x - self.x1) * dx + (y - self.y1) * dy) / (dx * dx + dy * dy), 0, 1)
        inside: Mask = (x - self.x1 - along * dx) ** 2 + (y - self.y1 - along * dy) ** 2 <= self.r**2
        return inside


Shape = Ellipse | Polygon | Bar


def box(left: float, top: float, right: float, bottom: float, colour: Colour) -> Polygon:
    """An upright rectangle."""
    return Polygon(((left, top), (right, top), (right, bottom), (left, bottom)), colour)


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A small picture to lay over others, cut to what it covers.

    `colour` uint16 [h, w, 3] is already multiplied by its opacity (in 1/256), `through` uint16 [h, w, 1] is what
    remains of the picture below; `left` and `top` are pixels from the sprite's own corner.
    """

    colour: NDArray[np.uint16]
    through: NDArray[np.uint16]
    left: int
    top: int


def draw(shapes: Sequence[Shape], size: int, *, outline: bool = True) -> Sprite:
    """Draw shapes, later ones on top, into a square of `size` pixels, with a dark outline around all of them."""
    fine = size * OVERSAMPLING
    axis = ((np.arange(fine, dtype=np.float32) + 0.5) / fine * 2 - 1).astype(np.float32)
    x, y = axis[None, :], axis[:, None]
    colours = np.full((fine, fine, 3), OUTLINE, dtype=np.float32)
    covered = np.zeros((fine, fine), dtype=np.bool_)
    for shape in shapes:
        inside = shape.covers(x, y)
        colours[inside] = shape.colour
        covered |= inside
    if outline:
        covered = grown(covered, max(1, round(fine * 0.022)))
    opacity = covered[..., None].astype(np.float32)
    coarse = (size, OVERSAMPLING, size, OVERSAMPLING)
    colour = (colours * opacity).reshape(*coarse, 3).mean(axis=(1, 3))
    through = 1 - opacity.reshape(*coarse, 1).mean(axis=(1, 3))
    return cut(np.floor(colour * 256).astype(np.uint16), np.ceil(through * 256).astype(np.uint16))


def grown(mask: Mask, by: int) -> Mask:
    """The mask and everything within `by` pixels of it, in eight directions."""
    wide = np.pad(mask, by)
    result = mask.copy()
    height, width = mask.shape
    diagonal = round(by * 0.7)
    for dx, dy in (
        (by, 0),
        (-by, 0),
        (0, by),
        (0, -by),
        *((a * diagonal, b * diagonal) for a in (1, -1) for b in (1, -1)),
    ):
        result |= wide[by + dy : by + dy + height, by + dx : by + dx + width]
    return result


def cut(colour: NDArray[np.uint16], through: NDArray[np.uint16]) -> Sprite:
    """The smallest picture that holds all that is not wholly transparent."""
    seen = through[..., 0] < 256
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not rows.size:
        return Sprite(colour[:0, :0], through[:0, :0], 0, 0)
    area = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return Sprite(
        np.ascontiguousarray(colour[area]), np.ascontiguousarray(through[area]), int(columns[0]), int(rows[0])
    )


def paste(picture: NDArray[np.uint8], sprite: Sprite, left: int, top: int) -> None:
    """Lay a sprite over `picture` [H, W, 3], its square's corner at (left, top); what sticks out is cut off."""
    height, width = sprite.through.shape[:2]
    left, top = left + sprite.left, top + sprite.top
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(picture.shape[1], left + width), min(picture.shape[0], top + height)
    if x0 >= x1 or y0 >= y1:
        return
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    under = picture[y0:y1, x0:x1]
    mixed = under * sprite.through[part]
    mixed += sprite.colour[part]
    mixed >>= 8
    under[...] = mixed
