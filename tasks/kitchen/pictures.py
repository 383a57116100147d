"""How the kitchen's things look: shapes, food, tools, brief events, places and containers, each picture by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

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

    `colour` uint16 [h, w, 3] is already multiplied by its opacity (in 1/256), `through` uint16 [h, w, 3] is what
    remains of the picture below, the same for each colour: multiplied row by row that takes half the time of pixel by
    pixel. `left` and `top` are pixels from the sprite's own corner.
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
    return Sprite(np.ascontiguousarray(colour[area]), through[area].repeat(3, axis=2), int(columns[0]), int(rows[0]))


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


WHITE: Colour = (246, 246, 240)
DARK: Colour = (60, 60, 68)
LEAF: Colour = (60, 160, 60)
INGREDIENT_SHAPES: Mapping[str, tuple[Shape, ...]] = MappingProxyType(
    {
        "aubergine": (
            Ellipse(0.1, 0.25, 0.42, 0.62, (74, 22, 104), 0.5),
            Ellipse(0.3, -0.2, 0.26, 0.4, (74, 22, 104), 0.5),
            Bar(0.45, -0.55, 0.6, -0.8, 0.12, LEAF),
            Ellipse(0.42, -0.48, 0.26, 0.14, LEAF, 0.5),
        ),
        "broccoli": (
            box(-0.18, 0.1, 0.18, 0.85, (170, 210, 120)),
            Ellipse(-0.42, -0.05, 0.4, 0.38, (30, 120, 40)),
            Ellipse(0.42, -0.05, 0.4, 0.38, (30, 120, 40)),
            Ellipse(0, -0.4, 0.5, 0.44, (44, 142, 54)),
        ),
        "carrot": (
            Polygon(((-0.36, -0.4), (0.36, -0.4), (0, 0.92)), (244, 124, 20)),
            Bar(-0.25, -0.75, 0, -0.4, 0.1, LEAF),
            Bar(0.25, -0.75, 0, -0.4, 0.1, LEAF),
            Bar(0, -0.85, 0, -0.4, 0.1, LEAF),
        ),
        "cheese": (
            Polygon(((-0.88, 0.55), (0.88, 0.55), (0.88, 0.0), (-0.88, 0.25)), (240, 180, 40)),
            Polygon(((-0.88, 0.25), (0.88, 0.0), (0.6, -0.45)), (255, 214, 90)),
            Ellipse(-0.3, 0.4, 0.12, 0.09, (196, 136, 20)),
            Ellipse(0.4, 0.3, 0.16, 0.12, (196, 136, 20)),
        ),
        "egg": (
            Ellipse(0, 0.12, 0.56, 0.62, WHITE),
            Ellipse(0, -0.25, 0.42, 0.5, WHITE),
            Ellipse(-0.15, -0.2, 0.1, 0.2, (255, 255, 255)),
        ),
        "fish": (
            Ellipse(-0.15, 0, 0.66, 0.34, (96, 160, 206)),
            Polygon(((0.35, 0), (0.9, -0.42), (0.9, 0.42)), (66, 124, 176)),
            Ellipse(-0.5, -0.08, 0.08, 0.08, DARK),
        ),
        "lemon": (
            Ellipse(0, 0, 0.62, 0.48, (250, 232, 40)),
            Ellipse(0.62, 0, 0.22, 0.14, (250, 232, 40)),
            Ellipse(-0.62, 0, 0.22, 0.14, (250, 232, 40)),
            Ellipse(-0.2, -0.18, 0.2, 0.1, (255, 250, 150)),
        ),
        "mushroom": (
            box(-0.22, 0, 0.22, 0.8, (240, 226, 204)),
            Polygon(
                ((-0.8, 0.1), (-0.7, -0.3), (-0.35, -0.65), (0.35, -0.65), (0.7, -0.3), (0.8, 0.1)), (190, 150, 116)
            ),
            Ellipse(-0.3, -0.25, 0.13, 0.1, (240, 226, 204)),
            Ellipse(0.3, -0.3, 0.13, 0.1, (240, 226, 204)),
        ),
        "onion": (
            Ellipse(0, 0.2, 0.66, 0.56, (166, 54, 134)),
            Polygon(((-0.3, -0.25), (0.3, -0.25), (0.05, -0.9), (-0.05, -0.9)), (196, 92, 164)),
            Bar(-0.25, -0.1, -0.3, 0.5, 0.04, (216, 140, 190)),
            Bar(0.25, -0.1, 0.3, 0.5, 0.04, (216, 140, 190)),
        ),
        "potato": (
            Ellipse(0, 0.05, 0.78, 0.5, (134, 92, 52), -0.35),
            Ellipse(-0.25, 0.05, 0.07, 0.07, (84, 54, 28)),
            Ellipse(0.2, -0.15, 0.07, 0.07, (84, 54, 28)),
            Ellipse(0.25, 0.2, 0.07, 0.07, (84, 54, 28)),
        ),
        "sausage": (
            Bar(-0.55, -0.3, 0.0, 0.2, 0.24, (206, 110, 92)),
            Bar(0.0, 0.2, 0.6, 0.2, 0.24, (206, 110, 92)),
            Bar(-0.8, -0.55, -0.7, -0.45, 0.07, (150, 66, 54)),
            Bar(0.85, 0.2, 0.9, 0.2, 0.07, (150, 66, 54)),
        ),
        "tomato": (
            Ellipse(0, 0.1, 0.72, 0.64, (224, 30, 36)),
            Polygon(
                ((-0.4, -0.55), (-0.1, -0.5), (0, -0.85), (0.1, -0.5), (0.4, -0.55), (0.12, -0.25), (-0.12, -0.25)),
                LEAF,
            ),
        ),
    }
)
PACK_SHAPES: Mapping[str, tuple[Shape, ...]] = MappingProxyType(
    {
        "rice": (
            Polygon(((-0.55, -0.7), (0.55, -0.7), (0.7, 0.8), (-0.7, 0.8)), (236, 228, 208)),
            Ellipse(0, 0.1, 0.36, 0.36, (200, 30, 60)),
            Bar(-0.4, -0.75, 0.4, -0.75, 0.1, (160, 130, 90)),
        ),
        "noodles": (
            box(-0.8, -0.45, 0.8, 0.5, (250, 206, 60)),
            *(Bar(-0.6, y, 0.6, y, 0.07, (206, 130, 10)) for y in (-0.22, 0.02, 0.26)),
        ),
        "lentils": (
            box(-0.5, -0.5, 0.5, 0.8, (222, 90, 30)),
            box(-0.56, -0.8, 0.56, -0.5, (90, 60, 140)),
            Ellipse(0, 0.15, 0.28, 0.24, (255, 236, 190)),
        ),
        "water": (
            box(-0.36, -0.25, 0.36, 0.85, (110, 196, 240)),
            Polygon(((-0.36, -0.25), (0.36, -0.25), (0.16, -0.65), (-0.16, -0.65)), (110, 196, 240)),
            box(-0.18, -0.85, 0.18, -0.62, (20, 60, 200)),
            box(-0.36, 0.15, 0.36, 0.5, WHITE),
        ),
        "milk": (
            box(-0.48, -0.3, 0.48, 0.85, WHITE),
            Polygon(((-0.48, -0.3), (0.48, -0.3), (0.3, -0.75), (-0.3, -0.75)), (216, 216, 222)),
            Ellipse(-0.15, 0.2, 0.24, 0.18, DARK),
            Ellipse(0.2, 0.5, 0.2, 0.16, DARK),
        ),
        "broth": (
            Ellipse(-0.1, 0.15, 0.55, 0.62, (150, 84, 20)),
            box(-0.4, -0.75, 0.2, -0.3, (150, 84, 20)),
            Bar(0.45, -0.25, 0.75, 0.1, 0.09, (110, 56, 10)),
            Bar(0.75, 0.1, 0.45, 0.4, 0.09, (110, 56, 10)),
            Bar(-0.5, 0.15, 0.3, 0.15, 0.1, (240, 190, 80)),
        ),
    }
)
GRAINS: Mapping[str, Colour] = MappingProxyType(
    {
        "salt": WHITE,
        "paprika": (214, 40, 20),
        "parsley": (60, 160, 40),
        "honey": (238, 160, 10),
        "rice": (250, 246, 230),
        "noodles": (250, 220, 110),
        "lentils": (222, 90, 30),
        "water": (110, 196, 240),
        "milk": (255, 255, 255),
        "broth": (150, 84, 20),
    }
)


STEEL: Colour = (176, 186, 196)
WOOD: Colour = (168, 112, 58)
SKIN: Colour = (236, 184, 148)
VESSEL_COLOURS: Mapping[str, Colour] = MappingProxyType(
    {"blue": (52, 92, 196), "green": (46, 132, 92), "grey": (120, 124, 132), "red": (196, 48, 52)}
)
TOOL_SHAPES: Mapping[str, tuple[Shape, ...]] = MappingProxyType(
    {
        "chop": (
            Polygon(((-0.9, -0.1), (0.25, -0.1), (0.25, 0.35), (-0.6, 0.35)), (226, 232, 238)),
            Bar(0.35, 0.0, 0.85, -0.05, 0.15, (30, 40, 90)),
        ),
        "grate": (
            Polygon(((-0.4, -0.7), (0.4, -0.7), (0.65, 0.9), (-0.65, 0.9)), STEEL),
            Bar(-0.3, -0.82, 0.3, -0.82, 0.12, (220, 40, 120)),
            *(Ellipse(x, y, 0.09, 0.09, DARK) for x in (-0.25, 0, 0.25) for y in (-0.35, 0.05, 0.45)),
        ),
        "mash": (
            Bar(0, -0.85, 0, 0.25, 0.12, (20, 130, 130)),
            Bar(-0.6, 0.35, 0.6, 0.35, 0.13, STEEL),
            *(Bar(x, 0.35, x, 0.75, 0.09, STEEL) for x in (-0.5, 0, 0.5)),
        ),
        "drop": (
            Ellipse(0, 0.25, 0.45, 0.4, SKIN),
            Bar(-0.3, 0.2, -0.45, 0.6, 0.14, SKIN),
            Bar(0.3, 0.2, 0.45, 0.6, 0.14, SKIN),
            Bar(0, 0.1, 0, -0.9, 0.32, (40, 150, 140)),
        ),
    }
)
BRIEF_SHAPES: Mapping[str, tuple[Shape, ...]] = MappingProxyType(
    {
        "salt": (
            Polygon(((-0.4, -0.85), (0.4, -0.85), (0.52, 0.45), (-0.52, 0.45)), WHITE),
            box(-0.56, 0.4, 0.56, 0.8, STEEL),
            Ellipse(0, -0.2, 0.2, 0.2, (90, 90, 200)),
        ),
        "paprika": (
            box(-0.5, -0.7, 0.5, 0.6, (214, 40, 20)),
            box(-0.56, 0.55, 0.56, 0.82, (40, 20, 16)),
            Polygon(((0, -0.5), (0.3, 0), (0, 0.4), (-0.3, 0)), (255, 206, 60)),
        ),
        "parsley": (
            Bar(0, 0.85, 0, -0.2, 0.09, (40, 120, 30)),
            *(
                Ellipse(x, y, 0.34, 0.3, (90, 200, 70))
                for x, y in ((-0.42, -0.05), (0.42, -0.05), (-0.28, -0.5), (0.28, -0.5), (0, -0.25))
            ),
        ),
        "honey": (
            Ellipse(0, 0.2, 0.58, 0.6, (238, 160, 10)),
            box(-0.44, -0.6, 0.44, -0.3, (250, 232, 180)),
            box(-0.5, 0.05, 0.5, 0.35, (90, 50, 10)),
        ),
        "stir": (Bar(0.35, -0.9, -0.05, 0.3, 0.1, WOOD), Ellipse(-0.15, 0.55, 0.3, 0.38, (198, 138, 76), 0.3)),
        "tap": (
            Bar(-0.7, -0.8, 0.2, 0.1, 0.1, STEEL),
            Ellipse(0.36, 0.36, 0.46, 0.4, (210, 220, 230)),
            Ellipse(0.36, 0.26, 0.34, 0.2, (120, 130, 140)),
        ),
        "bell": (
            Polygon(
                ((-0.2, -0.6), (0.2, -0.6), (0.5, 0.35), (0.75, 0.55), (-0.75, 0.55), (-0.5, 0.35)), (250, 200, 30)
            ),
            Ellipse(0, 0.68, 0.2, 0.18, (140, 96, 0)),
            Ellipse(0, -0.68, 0.16, 0.14, (140, 96, 0)),
        ),
        "flame": (
            Polygon(
                (
                    (-0.6, 0.7),
                    (-0.75, 0.1),
                    (-0.4, 0.2),
                    (-0.3, -0.5),
                    (0.0, -0.05),
                    (0.15, -0.9),
                    (0.45, 0.0),
                    (0.75, -0.2),
                    (0.65, 0.7),
                ),
                (255, 90, 10),
            ),
            Polygon(((-0.3, 0.7), (-0.3, 0.3), (0.05, -0.2), (0.35, 0.3), (0.35, 0.7)), (255, 220, 60)),
        ),
        "lid": (
            Polygon(
                ((-0.9, 0.35), (-0.75, 0.0), (-0.4, -0.25), (0.4, -0.25), (0.75, 0.0), (0.9, 0.35)), (168, 120, 220)
            ),
            Bar(-0.9, 0.4, 0.9, 0.4, 0.08, (230, 220, 250)),
            Ellipse(0, -0.42, 0.2, 0.18, DARK),
        ),
    }
)
PLACE_SHAPES: Mapping[str, tuple[Shape, ...]] = MappingProxyType(
    {
        "bake": (
            box(-0.9, -0.9, 0.9, 0.9, (74, 74, 84)),
            box(-0.68, -0.4, 0.68, 0.7, (255, 140, 30)),
            box(-0.55, -0.28, 0.55, 0.58, (250, 190, 90)),
            *(Ellipse(x, -0.66, 0.11, 0.11, WHITE) for x in (-0.6, -0.2, 0.2, 0.6)),
        ),
        "chill": (
            box(-0.6, -0.95, 0.6, 0.95, (214, 236, 250)),
            box(-0.6, -0.3, 0.6, -0.24, (90, 130, 170)),
            Bar(-0.42, -0.75, -0.42, -0.5, 0.07, (60, 110, 170)),
            Bar(-0.42, 0.0, -0.42, 0.45, 0.07, (60, 110, 170)),
            *(Bar(x, y, x, y + 0.3, 0.05, (60, 150, 230)) for x, y in ((0.2, 0.2), (0.35, 0.45))),
        ),
        "steam": (
            *(box(-0.8, y, 0.8, y + 0.42, (206, 166, 96)) for y in (-0.1, 0.42)),
            *(box(-0.8, y, 0.8, y + 0.08, (130, 90, 40)) for y in (-0.1, 0.42)),
            Ellipse(0, -0.12, 0.8, 0.34, (226, 190, 120)),
            box(-0.8, -0.1, 0.8, -0.02, (130, 90, 40)),
        ),
        "cat": (
            Ellipse(0, 0.45, 0.55, 0.5, (150, 120, 100)),
            Ellipse(0, -0.25, 0.5, 0.42, (150, 120, 100)),
            Polygon(((-0.48, -0.3), (-0.42, -0.9), (-0.1, -0.55)), (150, 120, 100)),
            Polygon(((0.48, -0.3), (0.42, -0.9), (0.1, -0.55)), (150, 120, 100)),
            Ellipse(-0.18, -0.28, 0.07, 0.09, DARK),
            Ellipse(0.18, -0.28, 0.07, 0.09, DARK),
            Ellipse(0, -0.1, 0.07, 0.05, (220, 130, 130)),
        ),
        "plant": (
            Polygon(((-0.4, 0.3), (0.4, 0.3), (0.28, 0.9), (-0.28, 0.9)), (190, 120, 90)),
            *(
                Bar(0, 0.3, x, y, 0.13, (110, 150, 120))
                for x, y in ((-0.6, -0.2), (-0.3, -0.65), (0.05, -0.8), (0.4, -0.6), (0.65, -0.15))
            ),
        ),
        "window": (
            box(-0.85, -0.85, 0.85, 0.85, (240, 240, 236)),
            box(-0.7, -0.7, -0.06, 0.7, (170, 206, 226)),
            box(0.06, -0.7, 0.7, 0.7, (170, 206, 226)),
            Ellipse(0.38, -0.36, 0.2, 0.14, WHITE),
            Ellipse(-0.4, -0.1, 0.22, 0.12, WHITE),
        ),
        "board": (
            box(-0.95, -0.42, 0.95, 0.42, (222, 184, 132)),
            Ellipse(0.78, -0.2, 0.07, 0.07, (150, 110, 66)),
            Bar(-0.8, 0.2, 0.5, 0.2, 0.02, (200, 158, 104)),
            Bar(-0.6, -0.1, 0.6, -0.1, 0.02, (200, 158, 104)),
        ),
        "stove": (
            box(-1, 0.1, 1, 0.9, (90, 92, 100)),
            *(Ellipse(x, 0.45, 0.14, 0.14, WHITE) for x in (-0.6, -0.2, 0.2, 0.6)),
        ),
        "smoke": (
            Ellipse(0, 0.1, 0.6, 0.5, (70, 70, 76)),
            Ellipse(-0.45, 0.3, 0.4, 0.36, (86, 86, 92)),
            Ellipse(0.4, 0.25, 0.42, 0.4, (60, 60, 66)),
            Ellipse(0.1, -0.35, 0.42, 0.4, (96, 96, 102)),
        ),
        "foam": tuple(
            Ellipse(x, y, r, r, WHITE)
            for x, y, r in (
                (-0.55, 0.1, 0.36),
                (0.0, -0.05, 0.44),
                (0.55, 0.1, 0.36),
                (-0.25, 0.5, 0.3),
                (0.35, 0.5, 0.32),
            )
        ),
    }
)


THINGS: Mapping[str, tuple[Shape, ...]] = MappingProxyType(
    {**INGREDIENT_SHAPES, **PACK_SHAPES, **TOOL_SHAPES, **BRIEF_SHAPES, **PLACE_SHAPES}
)


def vessel_shapes(container: str, colour: str) -> tuple[Shape, ...]:
    """A container from the side: nobody sees into it."""
    body = VESSEL_COLOURS[colour]
    rim: Colour = (min(255, body[0] + 50), min(255, body[1] + 50), min(255, body[2] + 50))
    shapes: dict[str, tuple[Shape, ...]] = {
        "bowl": (
            Polygon(((-0.85, -0.2), (0.85, -0.2), (0.7, 0.3), (0.35, 0.6), (-0.35, 0.6), (-0.7, 0.3)), body),
            Bar(-0.85, -0.2, 0.85, -0.2, 0.09, rim),
        ),
        "pan": (
            box(-0.75, 0.0, 0.6, 0.45, body),
            Bar(0.6, 0.1, 0.98, 0.02, 0.09, DARK),
            Bar(-0.78, 0.0, 0.63, 0.0, 0.09, rim),
        ),
        "pot": (
            box(-0.65, -0.3, 0.65, 0.7, body),
            Bar(-0.85, 0.0, -0.62, 0.0, 0.1, DARK),
            Bar(0.62, 0.0, 0.85, 0.0, 0.1, DARK),
            Bar(-0.7, -0.3, 0.7, -0.3, 0.09, rim),
        ),
        "tin": (
            Polygon(((-0.9, -0.05), (0.9, -0.05), (0.65, 0.5), (-0.65, 0.5)), body),
            *(Bar(x, 0.1, x * 0.85, 0.45, 0.04, rim) for x in (-0.5, -0.17, 0.17, 0.5)),
            Bar(-0.9, -0.05, 0.9, -0.05, 0.07, rim),
        ),
    }
    return shapes[container]


def shapes_of(name: str) -> tuple[Shape, ...]:
    """The shapes of a thing: "onion", "grain:salt", "vessel:pot:red", … Raises KeyError for an unknown name."""
    kind, _, rest = name.partition(":")
    if kind == "grain":
        return (Ellipse(0, 0, 0.7, 0.7, GRAINS[rest]),)
    if kind == "stream":
        return (Bar(0, -0.9, 0, 0.9, 0.1, GRAINS[rest]),)
    if kind == "vessel":
        container, _, colour = rest.partition(":")
        return vessel_shapes(container, colour)
    return THINGS[name]


@cache
def sprite(name: str, pixels: int) -> Sprite:
    """A thing's picture in a square of `pixels`; drawn once."""
    return draw(shapes_of(name), pixels)
