"""Sentences, paragraphs and facts say what the plan says, and false twins the opposite."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from tasks.kitchen.oracle import agrees, likeliest
from tasks.kitchen.plan import make_plan
from tasks.kitchen.texts import KINDS, Count, facts, paragraph, questions, steps, texts, true_claims, wrong

PLANS = [make_plan("train", index) for index in range(60)]


def word_counts(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text))


def test_steps_are_in_order_and_the_paragraph_joins_them() -> None:
    for plan in PLANS:
        told = steps(plan)
        assert all(a.end <= b.start for a, b in pairwise(told))
        assert paragraph(plan) == " ".join(step.sentence for step in told)
        assert all(step.sentence == step.sentence.strip().lower() != "" for step in told)


def test_distractors_are_not_told() -> None:
    for plan in PLANS:
        text = paragraph(plan)
        assert not any(event.what in text.split() for event in plan.of_kind("cutaway", "decoy"))


def test_every_fact_agrees_with_the_plan_and_every_twin_contradicts_it() -> None:
    for plan in PLANS:
        for _, claim in true_claims(plan):
            if isinstance(claim, Count):
                assert likeliest(claim.rivals(), plan.events, 1.0) == [claim]
                continue
            assert agrees(claim, plan.events, ordered=True)
            assert not any(agrees(rival, plan.events, ordered=True) for rival in wrong(claim))


def test_a_fact_and_its_twins_are_made_of_the_same_words_but_for_what_is_in_question() -> None:
    for plan in PLANS[:20]:
        for fact in facts(plan):
            words = word_counts(fact.text)
            same = [word_counts(negative) == words for negative in fact.negatives]
            if fact.kind in {"before", "order"}:
                assert all(same)
            assert len(set(fact.negatives)) == len(fact.negatives)
            assert fact.text not in fact.negatives


def test_every_kind_of_fact_is_there() -> None:
    assert {fact.kind for fact in facts(PLANS[0])} == {"before", "order", "count", "cause", "missing", "dish"}


def test_every_option_of_a_question_is_worded_as_a_training_fact_or_its_twin() -> None:
    asked = set()
    for plan in PLANS:
        known = {fact.text for fact in facts(plan)}
        false = {text for fact in facts(plan) for text in fact.negatives}
        for question in questions(plan):
            options = list(texts(question.options))
            asked.add(question.kind)
            assert options.pop(question.answer) in known
            assert set(options) <= false
    assert asked == set(KINDS)
