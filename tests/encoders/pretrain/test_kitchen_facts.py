from encoders.pretrain.kitchen_captions import events_shown
from encoders.pretrain.kitchen_facts import QUARTERS, clip_statements, small_statements, whole_statements
from tasks.kitchen.plan import make_plan
from tasks.kitchen.texts import facts

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
    middle = (event.start + event.end) / 2
    told = clip_statements(plan, [event], middle - 1, middle + 7)
    (when,) = [view.text for view in told if view.kind == "when"]
    assert when == f"the {event.what} went in {QUARTERS[1 if event.end > middle + 3 else 0]}"
