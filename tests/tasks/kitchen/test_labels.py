"""Kitchen's labels: what a question turns on is where its true option says, and every item has what pages group by."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.kitchen.benchmark import load_clip_captioning, load_qa, load_retrieval, load_summary
from tasks.kitchen.plan import make_plan
from tasks.kitchen.texts import KINDS, evidence, question
from tasks.labels import THIRDS
from tasks.multiple_choice import item_set_digest

PLANS = [make_plan("test", index) for index in range(40)]
NOWHERE = Path("nowhere")


@pytest.mark.parametrize("kind", ["order", "accents", "dish"])
def test_the_evidence_of_three_things_is_three_events_in_order_of_time(kind: str) -> None:
    for plan in PLANS:
        events = evidence(plan, question(plan, kind, 0).options[0])
        assert len(events) == 3
        assert events == sorted(events, key=lambda event: event.start)


def test_the_evidence_of_an_order_is_named_in_the_right_options_order() -> None:
    for plan in PLANS:
        truth = question(plan, "order", 0).options[0]
        assert [event.what for event in evidence(plan, truth)] == list(truth.names)


def test_the_evidence_of_a_count_is_every_time_it_happened() -> None:
    for plan in PLANS:
        truth = question(plan, "count", 0).options[0]
        assert len(evidence(plan, truth)) == truth.times


def test_the_evidence_of_a_cause_ends_with_what_went_wrong_and_holds_its_signal_and_ingredient() -> None:
    for plan in PLANS:
        events = evidence(plan, question(plan, "cause", 0).options[0])
        assert [event.kind for event in events] == ["signal", "ingredient", "outcome"]
        assert {"lid": "foam", "flame": "smoke"}[events[0].what] == events[-1].what


def test_the_evidence_of_what_would_be_missing_has_the_bell_between_two_sides() -> None:
    for plan in PLANS:
        truth = question(plan, "missing", 0).options[0]
        names = [event.what for event in evidence(plan, truth)]
        assert set(names[: names.index("bell")]) == set(truth.before)
        assert set(names[names.index("bell") + 1 :]) == set(truth.after)


def test_questions_have_a_kind_a_dish_and_the_place_and_span_of_their_evidence() -> None:
    labels = [item.labels for item in load_qa(NOWHERE).items()]
    assert Counter(row["question type"] for row in labels).keys() == KINDS.keys()
    assert {row["position of the evidence"] for row in labels} == set(THIRDS)
    assert len({row["span of the evidence"] for row in labels}) == 4
    assert all(row["recipe type"] for row in labels)


def test_clips_have_a_position_and_whole_videos_a_dish() -> None:
    for clips in (load_clip_captioning(NOWHERE, "91").items(), load_retrieval(NOWHERE, "clip-200").items()):
        assert {item.labels["position in the video"] for item in clips} == set(THIRDS)
    for whole in (load_summary(NOWHERE, "10").items(), load_retrieval(NOWHERE, "video-20").items()):
        assert all(item.labels["recipe type"] for item in whole)


def test_a_questions_evidence_lies_within_its_clip_and_is_no_part_of_what_is_asked() -> None:
    task = load_qa(NOWHERE, "100")
    for item in task.items():
        assert item.evidence
        assert all(item.clip.start <= start < end <= item.clip.end for start, end in item.evidence)
    assert item_set_digest([replace(item, evidence=()) for item in task.items()]) == item_set_digest(task.items())
