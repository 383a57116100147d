"""Questions: five options, one true, at least three events far apart, and solvable by whoever sees everything."""

from __future__ import annotations

from collections import Counter

import pytest

from tasks.kitchen.benchmark import LONGER, plans_of
from tasks.kitchen.oracle import expected_score, seen_at, share_caught
from tasks.kitchen.plan import Plan, make_plan
from tasks.kitchen.texts import KINDS, LONG_KINDS_OF_QUESTION, OPTIONS, Question, culprit_of, questions, texts

PLANS = [make_plan("test", index) for index in range(100)]


def score_at(
    frames: int, kinds: tuple[str, ...] = tuple(KINDS), *, ordered: bool = True, plans: list[Plan] = PLANS
) -> float:
    catch = share_caught(plans, frames)
    scores = [
        expected_score(question, seen_at(plan, frames), catch, ordered=ordered)
        for plan in plans
        for question in questions(plan)
        if question.kind in kinds
    ]
    return sum(scores) / len(scores)


def evidence(plan: Plan, question: Question) -> list[float]:
    """When what the answer turns on happens (seconds)."""
    truth = question.options[question.answer]
    named = {
        "order": lambda: truth.names,
        "accents": lambda: truth.names,
        "count": lambda: (truth.accent,),
        "cause": lambda: ("flame", "lid", culprit_of(plan, plan.outcome), plan.outcome),
        "missing": lambda: ("bell", *truth.after, *truth.before),
        "dish": lambda: (truth.base, truth.liquid, truth.finish),
    }[question.kind]()
    return [event.start for event in plan.events if event.what in named and event.kind not in {"decoy", "cutaway"}]


def test_whoever_reads_the_plan_is_always_right() -> None:
    for plan in PLANS:
        for question in questions(plan):
            assert expected_score(question, plan.events, 1.0) == 1.0


def test_ids_and_options_are_unique() -> None:
    asked = [question for plan in PLANS for question in questions(plan)]
    assert len({question.id for question in asked}) == len(asked) == 500
    assert all(len(set(texts(question.options))) == OPTIONS for question in asked)


def test_all_kinds_are_asked_about_equally_often() -> None:
    counts = Counter(question.kind for plan in PLANS for question in questions(plan))
    assert set(counts) == set(KINDS)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_videos_right_options_are_in_each_place_once() -> None:
    for plan in PLANS:
        assert sorted(question.answer for question in questions(plan)) == list(range(OPTIONS))


def test_an_answer_turns_on_at_least_three_events_far_apart() -> None:
    spans = []
    for plan in PLANS:
        for question in questions(plan):
            times = evidence(plan, question)
            if question.kind != "count":
                assert len(times) >= 3
                spans.append((max(times) - min(times)) / plan.duration)
    assert min(spans) > 0.1
    assert sum(spans) / len(spans) > 0.5


def test_longer_videos_hold_the_same_events_and_questions_and_only_long_steps_stretch() -> None:
    for length, config in LONGER.items():
        for plan, longer in zip(PLANS, plans_of(f"kitchen-qa-{length}@500"), strict=True):
            assert questions(longer) == questions(plan)
            assert longer.duration == longer.events[-1].end == config.seconds[0]
            assert [(event.kind, event.what) for event in longer.events] == [(e.kind, e.what) for e in plan.events]
            brief = longer.of_kind("accent", "signal")
            assert all(
                config.brief_seconds[0] <= e.end - e.start + 0.02 <= config.brief_seconds[1] + 0.04 for e in brief
            )


@pytest.mark.parametrize(
    ("length", "frames", "expected"),
    [("5min", 128, 1.0), ("10min", 128, 0.784), ("10min", 256, 1.0), ("20min", 128, 0.655), ("20min", 256, 0.8)],
)
def test_the_longer_the_video_the_more_frames_a_perfect_viewer_needs(length: str, frames: int, expected: float) -> None:
    assert score_at(frames, plans=plans_of(f"kitchen-qa-{length}@500")) == pytest.approx(expected, abs=0.0006)


def test_sparse_frames_leave_room_that_dense_frames_fill() -> None:
    assert score_at(128, LONG_KINDS_OF_QUESTION) > 0.97
    assert score_at(16, LONG_KINDS_OF_QUESTION) < 0.55


def test_the_middle_frame_alone_tells_a_perfect_viewer_nothing() -> None:
    assert score_at(1, ("order", "accents", "cause", "missing", "dish")) == pytest.approx(0.2)


def test_whoever_ignores_order_cannot_get_far_with_any_number_of_frames() -> None:
    assert score_at(256, ordered=False) < 0.55
    assert score_at(256, ("order", "accents", "missing"), ordered=False) == pytest.approx(0.2)


def test_sixteen_frames_suffice_for_what_takes_long() -> None:
    assert score_at(16, ("order", "dish")) > 0.95
