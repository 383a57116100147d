from random import Random

from encoders.pretrain.kitchen import (
    events_shown,
    false_tellings,
    telling,
    with_another_thing,
    with_two_exchanged,
)
from tasks.kitchen.plan import make_plan
from tasks.kitchen.texts import paragraph, sentence

PLANS = [make_plan("train", index) for index in range(20)]


def test_the_telling_of_a_whole_video_is_its_paragraph():
    for plan in PLANS:
        assert telling(events_shown(plan, 0.0, plan.duration), plan) == paragraph(plan)


def test_an_event_barely_seen_is_not_told():
    first = PLANS[0].events[0]
    assert events_shown(PLANS[0], first.end - 0.5, first.end + 0.4) == []
    assert events_shown(PLANS[0], first.start, first.end)[0] == first


def test_another_thing_changes_one_event_within_its_kind():
    for plan in PLANS:
        events = events_shown(plan, 0.0, plan.duration)
        changed = with_another_thing(events, Random(3))
        differing = [(old, new) for old, new in zip(events, changed, strict=True) if old != new]
        ((old, new),) = differing
        assert old.kind == new.kind
        assert sentence(old, plan) != sentence(new, plan)


def test_an_exchange_keeps_the_sentences():
    for plan in PLANS:
        events = events_shown(plan, 0.0, plan.duration)
        changed = with_two_exchanged(events, Random(3))
        assert sorted(telling(changed, plan).split()) == sorted(telling(events, plan).split())


def test_false_tellings_are_different_and_false():
    for plan in PLANS:
        for start in (0.0, plan.duration / 2):
            events = events_shown(plan, start, plan.duration)
            found = false_tellings(events, plan, Random(1), 6)
            assert len(set(found)) == len(found) == 6
            assert telling(events, plan) not in found


def test_one_event_has_other_things_only_and_no_more_than_there_are():
    plan = PLANS[0]
    (base,) = plan.of_kind("base")
    assert len(false_tellings([base], plan, Random(0), 6)) == 2
    assert false_tellings([base], plan, Random(0), 0) == ()
