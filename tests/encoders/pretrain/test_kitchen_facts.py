from encoders.pretrain.kitchen_facts import QUARTERS, small_facts, statements
from tasks.kitchen.plan import make_plan
from tasks.kitchen.texts import facts

PLANS = [make_plan("train", index) for index in range(40)]


def test_all_facts_of_the_world_are_among_the_statements():
    for plan in PLANS:
        texts = {view.text for view in statements(plan)}
        assert {fact.text for fact in facts(plan)} <= texts


def test_no_statement_is_true_and_false_of_one_video():
    for plan in PLANS:
        views = statements(plan)
        true, false = {view.text for view in views}, {text for view in views for text in view.false}
        assert not true & false


def test_quarters_are_where_the_plan_has_things():
    for plan in PLANS:
        for event in plan.of_kind("ingredient"):
            share = (event.start + event.end) / 2 / plan.duration
            text = f"the {event.what} went in {QUARTERS[int(share * 4)]}"
            assert text in {view.text for view in small_facts(plan)}


def test_sides_of_the_bell_agree_with_the_plan():
    for plan in PLANS:
        bell = next(event.start for event in plan.of_kind("signal") if event.what == "bell")
        told = {view.text for view in small_facts(plan) if view.kind == "bell"}
        assert told == {
            f"the {event.what} went in {'before' if event.start < bell else 'after'} the bell"
            for event in plan.of_kind("ingredient")
        }


def test_every_kind_has_false_ones_of_the_same_length():
    for view in small_facts(PLANS[0]):
        assert view.false
        assert all(abs(len(text.split()) - len(view.text.split())) <= 1 for text in view.false)
