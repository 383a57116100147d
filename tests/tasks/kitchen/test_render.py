"""Pictures: repeatable, legible, and nothing in them of what went before."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import ceil

import numpy as np
import pytest

from tasks.errors import DataError
from tasks.kitchen.pictures import Bar, Ellipse, box, draw, paste, sprite
from tasks.kitchen.plan import make_plan
from tasks.kitchen.render import THING, Pictures, render
from tasks.kitchen.world import ACCENTS, INGREDIENTS, SIGNALS

PLAN = make_plan("train", 5)


def test_the_same_moment_looks_the_same_alone_and_among_others_in_any_order() -> None:
    seconds = [100.0, 3.0, 51.3]
    together = render(PLAN, seconds, 64)
    assert together.shape == (3, 64, 64, 3)
    assert together.dtype == np.uint8
    for picture, second in zip(together, seconds, strict=True):
        assert (render(PLAN, [second], 64)[0] == picture).all()


@pytest.mark.parametrize("most", [0, 20, 10_000])
def test_kept_pictures_are_those_that_would_be_painted_and_no_more_than_asked_for(most: int) -> None:
    kept = Pictures(most)
    for index in (0, 1, 40, 0):
        plan = make_plan("train", index)
        seconds = list(np.linspace(0.0, plan.duration, 90))
        assert (render(plan, seconds, 16, kept) == render(plan, seconds, 16)).all()
    assert len(kept) <= most
    if most > 20:
        assert len(kept) < 3 * 90


def test_a_kept_picture_is_not_changed_through_what_was_rendered() -> None:
    kept = Pictures(1000)
    first = render(PLAN, [10.0], 16, kept)
    before = first.copy()
    first[...] = 0
    assert (render(PLAN, [10.0], 16, kept) == before).all()


def test_time_stands_still_between_the_worlds_pictures() -> None:
    step = next(event for event in PLAN.of_kind("ingredient") if event.how != "drop")
    moments = ceil(step.start) + np.arange(8) / PLAN.config.fps
    pictures = render(PLAN, list(moments), 64)
    assert (render(PLAN, list(moments + 0.24), 64) == pictures).all()
    assert (pictures[1:] != pictures[:-1]).any(axis=(1, 2, 3)).sum() >= 4


def test_the_first_and_the_last_moment_can_be_seen() -> None:
    assert render(PLAN, [0.0, PLAN.duration], 32).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("second", [-0.1, PLAN.duration + 0.1])
def test_a_moment_outside_the_video_is_refused(second: float) -> None:
    with pytest.raises(DataError, match=f"{PLAN.id} runs from 0 to"):
        render(PLAN, [second], 64)


def test_a_picture_too_small_to_show_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 pixels"):
        render(PLAN, [0.0], 8)


def test_a_picture_shows_its_own_event_alone_and_nothing_that_went_before() -> None:
    for event in PLAN.events:
        moment = [(event.start + event.end) / 2]
        alone = replace(PLAN, events=(replace(event, start=event.start, end=event.end),))
        assert (render(alone, moment, 64) == render(PLAN, moment, 64)).all()


def test_siblings_differ_in_time_but_not_in_what_a_brief_event_looks_like() -> None:
    pictures = []
    for sibling in (make_plan("test", index) for index in range(4)):
        bell = next(event for event in sibling.of_kind("signal") if event.what == "bell")
        still = replace(sibling, events=(replace(bell, start=0.0, mirrored=False),))
        pictures.append(render(still, [1.0], 64)[0])
    assert all((picture == pictures[0]).all() for picture in pictures)


@pytest.mark.parametrize("name", INGREDIENTS)
def test_an_ingredient_covers_at_least_fourteen_pixels_of_sixty_four_in_its_longer_direction(name: str) -> None:
    height, width = sprite(name, round(THING * 64)).through.shape[:2]
    assert max(height, width) >= 14
    assert min(height, width) >= 11


def thumbnail(name: str) -> np.ndarray:
    picture = np.full((24, 24, 3), 128, dtype=np.uint8)
    paste(picture, sprite(name, 24), 0, 0)
    return picture.astype(np.float64)


@pytest.mark.parametrize("names", [INGREDIENTS, tuple(ACCENTS) + tuple(SIGNALS)], ids=["ingredients", "brief"])
def test_no_two_things_look_alike(names: tuple[str, ...]) -> None:
    for one, other in combinations(names, 2):
        assert np.abs(thumbnail(one) - thumbnail(other)).mean() > 12, (one, other)


def test_a_mirrored_event_is_the_same_picture_from_the_other_side() -> None:
    event = PLAN.of_kind("ingredient")[0]
    moment = [event.start + 1]
    plain, turned = (
        render(replace(PLAN, events=(replace(event, mirrored=side),)), moment, 64)[0] for side in (False, True)
    )
    assert (plain == turned[:, ::-1]).all()
    assert (plain != turned).any()


def test_a_shape_covers_its_area() -> None:
    shapes = {Ellipse(0, 0, 0.5, 0.5, (255, 0, 0)): np.pi / 4, box(-0.5, -0.5, 0.5, 0.5, (255, 0, 0)): 1.0}
    shapes |= {Bar(-0.5, 0, 0.5, 0, 0.25, (255, 0, 0)): 0.5 + np.pi / 16}
    for shape, area in shapes.items():
        drawn = draw((shape,), 64, outline=False)
        assert (256 - drawn.through[..., 0]).sum() / 256 / 64**2 * 4 == pytest.approx(area, rel=0.03)


def test_a_sprite_that_sticks_out_is_cut_off() -> None:
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    drawn = draw((box(-1, -1, 1, 1, (200, 100, 50)),), 8, outline=False)
    for left, top in ((-4, -4), (4, 4), (20, 0), (0, -20)):
        paste(picture, drawn, left, top)
    assert (picture[:4, :4] == picture[4:, 4:]).all()
    assert not picture[:4, 4:].any()
    assert picture[0, 0] == pytest.approx([200, 100, 50], abs=1)
