"""Plans: the same for ever, without gaps, and no recipe in two splits."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tasks.errors import DataError
from tasks.kitchen.plan import Plan, make_plan, split_of
from tasks.kitchen.world import ACCENTS, LONG_KINDS, SIBLINGS, SPLITS, WorldConfig

PLANS = [make_plan(split, index) for split in SPLITS for index in range(200)]


def story(plan: Plan) -> list[tuple[str, str]]:
    return [(event.kind, event.what) for event in plan.events if event.kind not in {"cutaway", "decoy"}]


def test_a_plan_depends_on_split_and_index_alone() -> None:
    assert make_plan("test", 7) == make_plan("test", 7)
    assert make_plan("test", 7) != make_plan("val", 7)


def test_ids_are_unique() -> None:
    assert len({plan.id for plan in PLANS}) == len(PLANS)


def test_no_set_of_ingredients_is_in_two_splits() -> None:
    sets = {split: {plan.recipe.ingredients for plan in PLANS if plan.split == split} for split in SPLITS}
    assert not sets["train"] & sets["test"]
    assert not sets["train"] & sets["val"]
    assert not sets["val"] & sets["test"]
    assert all(split_of(tuple(reversed(names))) == split for split, found in sets.items() for names in found)


def test_events_fill_the_video_without_gaps() -> None:
    for plan in PLANS:
        assert plan.events[0].start == 0
        assert plan.events[-1].end == pytest.approx(plan.duration, abs=0.011)
        assert all(a.end == b.start for a, b in pairwise(plan.events))


def test_videos_take_two_to_five_minutes() -> None:
    assert all(120 <= plan.duration <= 300 for plan in PLANS)


def test_long_steps_are_seen_for_seconds_and_brief_events_are_brief() -> None:
    for plan in PLANS:
        assert all(e.end - e.start > 3.5 for e in plan.events if e.kind in LONG_KINDS)
        assert all(2.4 < e.end - e.start < 4.1 for e in plan.of_kind("accent", "signal"))


def test_the_middle_of_every_video_is_hidden_by_a_cutaway() -> None:
    for plan in PLANS:
        middle = next(event for event in plan.events if event.start <= plan.duration / 2 < event.end)
        assert middle.kind == "cutaway"
        assert min(plan.duration / 2 - middle.start, middle.end - plan.duration / 2) > 1.4


def test_a_recipe_has_eight_to_fourteen_long_steps_and_as_many_brief_events_as_said() -> None:
    for plan in PLANS:
        assert 8 <= sum(event.kind in LONG_KINDS for event in plan.events) <= 14
        assert sorted(e.what for e in plan.of_kind("signal")) == ["bell", "flame", "lid"]
        accents = [event.what for event in plan.of_kind("accent")]
        assert all(accents.count(name) == 1 for name in plan.recipe.once)
        assert 1 <= accents.count(plan.recipe.counted) <= 5
        assert set(accents) == {plan.recipe.counted, *plan.recipe.once} < set(ACCENTS)


def test_events_of_one_kind_never_touch_so_that_they_can_be_counted() -> None:
    for plan in PLANS:
        told = [event for event in plan.events if event.kind not in {"cutaway", "decoy"}]
        assert all(a.what != b.what for a, b in pairwise(told))


def test_siblings_share_a_recipe_and_tell_different_stories() -> None:
    for first in range(0, 200, SIBLINGS):
        family = [make_plan("test", first + i) for i in range(SIBLINGS)]
        assert len({(plan.family, plan.recipe) for plan in family}) == 1
        assert len({tuple(story(plan)) for plan in family}) == SIBLINGS
        orders = [tuple(event.what for event in plan.of_kind("ingredient")) for plan in family]
        assert orders[0] == orders[1] != orders[2] == orders[3]


def test_decoys_are_no_ingredients_of_the_recipe() -> None:
    shown = [(e.what, plan) for plan in PLANS for e in plan.of_kind("decoy")]
    assert len(shown) > 100
    assert all(name not in plan.recipe.ingredients for name, plan in shown)


@pytest.mark.parametrize(("split", "index"), [("dev", 0), ("test", -1)])
def test_an_unknown_split_or_index_is_refused(split: str, index: int) -> None:
    with pytest.raises(DataError, match="train, val, test"):
        make_plan(split, index)


@pytest.mark.parametrize(
    "knobs",
    [
        {"ingredients": (4, 6)},
        {"ingredients": (5, 12)},
        {"seconds": (200.0, 150.0)},
        {"seconds": (30.0, 60.0)},
        {"brief_seconds": (0.0, 3.0)},
        {"fps": 0},
        {"decoys": -1},
    ],
)
def test_knobs_that_make_no_world_are_refused(knobs: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match=r"must|holds|at least"):
        WorldConfig(**knobs)  # type: ignore[arg-type]


def test_knobs_change_the_world() -> None:
    config = WorldConfig(brief_seconds=(1.0, 1.5), decoys=0, cutaways=0, mirrored=False, ingredients=(8, 8))
    for index in range(40):
        plan = make_plan("train", index, config)
        assert len(plan.of_kind("ingredient")) == 8
        assert len(plan.of_kind("cutaway")) == 1
        assert not plan.of_kind("decoy")
        assert not any(event.mirrored for event in plan.events)
        assert all(event.end - event.start < 1.6 for event in plan.of_kind("accent"))
