from pathlib import Path

from encoders.pretrain.kitchen import (
    QUARTERS,
    benchmark_questions,
    clip_statements,
    events_shown,
    small_statements,
    whole_statements,
)
from tasks.kitchen.benchmark import load_qa
from tasks.kitchen.plan import make_plan
from tasks.kitchen.texts import KINDS, facts
from tasks.kitchen.world import ACCENTS

PLANS = [make_plan("train", index) for index in range(40)]


def whole(plan):
    return whole_statements(plan, events_shown(plan, 0.0, plan.duration))


def small(plan):
    return list(small_statements(plan, events_shown(plan, 0.0, plan.duration), 0.0, plan.duration))


def test_all_facts_of_the_world_are_among_the_statements():
    for plan in PLANS:
        texts = {view.text for view in whole(plan)}
        assert {fact.text for fact in facts(plan)} <= texts


def test_no_statement_is_true_and_false_of_one_video():
    for plan in PLANS:
        views = whole(plan)
        true, false = {view.text for view in views}, {text for view in views for text in view.false}
        assert not true & false


def test_quarters_are_where_the_plan_has_things():
    for plan in PLANS:
        for event in plan.of_kind("ingredient"):
            share = (event.start + event.end) / 2 / plan.duration
            text = f"the {event.what} went in {QUARTERS[int(share * 4)]}"
            assert text in {view.text for view in small(plan)}


def test_sides_of_the_bell_agree_with_the_plan():
    for plan in PLANS:
        bell = next(event.start for event in plan.of_kind("signal") if event.what == "bell")
        told = {view.text for view in small(plan) if view.kind == "bell"}
        assert told == {
            f"the {event.what} went in {'before' if event.start < bell else 'after'} the bell"
            for event in plan.of_kind("ingredient")
        }


def test_every_kind_has_false_ones_of_the_same_length():
    for view in small(PLANS[0]):
        assert view.false
        assert all(abs(len(text.split()) - len(view.text.split())) <= 1 for text in view.false)


def test_a_clip_states_only_what_it_shows():
    for plan in PLANS:
        start, end = plan.duration / 4, plan.duration / 2
        events = events_shown(plan, start, end)
        seen = {event.what for event in events}
        of_whole = {view.text for view in whole(plan)}
        for view in clip_statements(plan, events, start, end):
            if view.kind in {"before", "bell", "next"}:
                assert view.text in of_whole
            if view.kind == "count":
                assert plan.recipe.counted in seen


def test_quarters_of_a_clip_are_its_own():
    plan = PLANS[0]
    event = plan.of_kind("ingredient")[2]
    length = event.end - event.start
    for start, quarter in ((event.start, QUARTERS[0]), (event.end - 4 * length, QUARTERS[3])):
        told = clip_statements(plan, [event], start, start + 4 * length)
        (when,) = [view.text for view in told if view.kind == "when"]
        assert when == f"the {event.what} went in {quarter}"


BRIEF = {"accents", "accents-before", "accents-when"}


def test_told_apart_statements_of_brief_events_are_kinds_of_their_own_and_nothing_else_changes():
    for plan in PLANS:
        events = events_shown(plan, 0.0, plan.duration)
        together, apart = whole_statements(plan, events), whole_statements(plan, events, brief_apart=True)
        assert [(view.text, view.false) for view in apart] == [(view.text, view.false) for view in together]
        for view in apart:
            names_accent = any(f"{accent.noun} " in f"{view.text} " for accent in ACCENTS.values())
            assert (view.kind in BRIEF) == names_accent
        assert {view.kind for view in apart} == {view.kind for view in together} | BRIEF


def test_a_clips_brief_events_are_told_apart_too():
    kinds = set()
    for plan in PLANS:
        end = plan.duration / 2
        views = clip_statements(plan, events_shown(plan, 0.0, end), 0.0, end, brief_apart=True)
        kinds |= {view.kind for view in views}
    assert {"accents-before", "accents-when", "before", "when"} <= kinds


def test_the_questions_measured_have_the_benchmarks_own_options():
    plan = make_plan("test", 0)
    asked = benchmark_questions(plan)
    assert [view.kind for view in asked] == list(KINDS)
    of_video = [item for item in load_qa(Path("nowhere"), "100").items() if item.clip.video_id == plan.id]
    assert len(of_video) == 5
    for item in of_video:
        (view,) = [view for view in asked if view.text == item.options[item.answer]]
        assert {view.text, *view.false} == set(item.options)


def test_sides_of_flame_and_lid_agree_with_the_plan_and_come_only_when_asked_for():
    for plan in PLANS:
        events = events_shown(plan, 0.0, plan.duration)
        at = {event.what: event.start for event in plan.of_kind("signal")}
        told = {view.text for view in whole_statements(plan, events, signals=True) if view.kind in {"flame", "lid"}}
        assert told == {
            f"the {event.what} went in {'before' if event.start < at[signal] else 'after'} {turned}"
            for event in plan.of_kind("ingredient")
            for signal, turned in (("flame", "the flame was turned up"), ("lid", "the lid was put on"))
        }
        assert {"flame", "lid"}.isdisjoint(view.kind for view in whole_statements(plan, events))
