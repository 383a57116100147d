"""kitchen-needle: pinned items that no blind rule can answer, and videos that show each event at the recorded time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from tasks.errors import DataError
from tasks.kitchen.needle import (
    BENCHMARK,
    DEPTHS,
    EVENTS,
    MINUTES,
    NEEDLES,
    POOLS,
    SECONDS,
    choice_items,
    generate,
    haystack,
    lay_needles,
    load,
    needle_pictures,
    needles,
)
from tasks.kitchen.plan import is_kitchen
from tasks.kitchen.render import render
from tasks.labels import DEPTH, FIFTHS, LENGTH
from tasks.multiple_choice import ChoiceItem
from tasks.task import Clip

NOWHERE = Path("no-such-folder")


@pytest.fixture(scope="module")
def items() -> list[ChoiceItem]:
    return choice_items(NOWHERE)


@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_has_the_pinned_items_and_is_part_of_the_largest(pool: str, items: list[ChoiceItem]) -> None:
    task = load(NOWHERE, pool)
    assert len(task.items()) == task.info.item_count == int(pool)
    assert list(task.items()) == items[: int(pool)]
    assert task.info.name == BENCHMARK.names()[pool]


def test_every_length_and_depth_is_asked_equally_often(items: list[ChoiceItem]) -> None:
    cells = Counter((item.labels[LENGTH], item.labels[DEPTH]) for item in items)
    assert len(cells) == len(MINUTES) * DEPTHS
    assert set(cells.values()) == {20}


def test_the_event_lies_in_the_fifth_that_is_said_and_within_the_video(items: list[ChoiceItem]) -> None:
    for item in items:
        ((start, end),) = item.evidence
        fifth = FIFTHS.index(item.labels[DEPTH])
        assert fifth / 5 <= start / item.clip.end < (fifth + 1) / 5
        assert end - start == SECONDS
        assert end <= item.clip.end


def test_questions_of_one_dish_differ_in_nothing_but_the_answer_so_that_words_say_nothing(
    items: list[ChoiceItem],
) -> None:
    for first in range(0, len(items), DEPTHS):
        asked = items[first : first + DEPTHS]
        assert len({(item.question, item.options, item.cluster, item.clip.end) for item in asked}) == 1
        assert sorted(item.answer or 0 for item in asked) == list(range(DEPTHS))


@pytest.mark.parametrize("pool", POOLS)
def test_any_rule_of_the_words_alone_scores_exactly_chance(pool: str) -> None:
    asked = load(NOWHERE, pool).items()
    liked = sorted(EVENTS.values())
    rules = {
        "longest": lambda item: max(range(DEPTHS), key=lambda i: len(item.options[i])),
        "first": lambda item: 0,
        "likes some events more": lambda item: min(range(DEPTHS), key=lambda i: liked.index(item.options[i])),
    }
    for rule in rules.values():
        assert np.mean([rule(item) == item.answer for item in asked]) == 0.2


def test_the_haystack_has_no_brief_events_and_no_recipe_of_kitchens_other_benchmarks() -> None:
    from tasks.kitchen.plan import make_plan

    known = {make_plan("test", index).family for index in range(100)}
    for number in (0, 30, 99):
        plan = haystack(number)
        assert {event.kind for event in plan.events} == {"ingredient", "base", "liquid", "outcome", "finish"}
        assert plan.events[-1].end == pytest.approx(plan.duration, abs=0.01)
        assert plan.family not in known
        assert is_kitchen(f"{plan.id}-3")


def test_a_video_shows_the_event_in_its_window_and_the_dish_around_it(tmp_path: Path) -> None:
    made = list(generate(tmp_path, range(5)))
    assert [one.new for one in made] == [True] * 5
    plan = haystack(0)
    for laid, one in zip(needles(plan), made, strict=True):
        middle, before = laid.start + 1.5, float(laid.start) - 0.25
        seen = read_frames(Clip("x", middle, middle + 0.2, one.path), FramePolicy(count=1, size=128)).pixels[0]
        around = read_frames(Clip("x", before, before + 0.2, one.path), FramePolicy(count=1, size=128)).pixels[0]
        event, dish = needle_pictures(laid, plan, 128)[6], render(plan, [before], 128)[0]
        assert np.abs(seen.astype(float) - event).mean() < 6
        assert np.abs(around.astype(float) - dish).mean() < 6


def test_videos_that_are_there_are_kept_and_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    first = [one.path for one in generate(tmp_path, range(5, 10))]
    whole = first[1].read_bytes()
    first[1].write_bytes(whole[:-100])
    again = list(generate(tmp_path, range(5, 10)))
    assert [one.new for one in again] == [False, True, False, False, False]
    assert first[1].read_bytes() == whole
    (tmp_path / NEEDLES).write_text("{}")
    with pytest.raises(DataError, match="another version"):
        next(generate(tmp_path, range(5, 10)))


def test_a_video_too_short_for_five_events_is_refused() -> None:
    with pytest.raises(DataError, match=r"at least 20 s, not 12\.0 s"):
        lay_needles("x", 12.0)
