"""How tools, brief events, places and containers look, and every thing's picture by its name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from tasks.kitchen.food import DARK, GRAINS, INGREDIENT_SHAPES, PACK_SHAPES, WHITE
from tasks.kitchen.shapes import Bar, Colour, Ellipse, Polygon, Shape, Sprite, box, draw

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
