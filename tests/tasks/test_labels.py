"""Labels: every item has a length, a segment a position, a question a type."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tasks.egoschema import KINDS, OTHER, load_egoschema, question_type
from tasks.labels import LENGTHS, LONGEST, labels_of, length_label, position_label, span_label
from tasks.multiple_choice import ChoiceItem
from tasks.task import Clip
from tasks.youcook2 import CUISINES, load_clip_captioning, load_summary


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("What is the primary purpose of c interacting with the chair?", "purpose"),
        ("Considering the sequence of actions, what would you infer is the overarching goal of c?", "purpose"),
        ("What were the steps c took in cleaning the dog mat, and what tools were used?", "order"),
        ("Compare and contrast the roles of the woman and c in the video.", "comparison"),
        ("Describe the tools and materials c uses, and explain their significance.", "tools"),
        ("How does the interaction between c and the woman impact the task?", "people"),
        ("How does c's interaction with the bucket contribute to the cleaning?", "purpose"),
        ("From the actions observed, which two moments would you consider the most significant?", "key moment"),
        ("Can you summarize the video in one sentence?", "summary"),
        ("Sequence matters here.", "order"),
        ("Which animal is it?", OTHER),
        ("", OTHER),
    ],
)
def test_a_questions_type_is_the_first_word_it_asks_with(question: str, kind: str) -> None:
    assert question_type(question) == kind


def test_nearly_all_real_questions_have_a_type_and_every_type_has_questions(shared_data: Path) -> None:
    items = load_egoschema(shared_data / "egoschema", "5031").items()
    found = Counter(item.labels["question type"] for item in items)
    assert set(found) == {*KINDS, OTHER}
    assert found[OTHER] / len(items) < 0.02
    assert min(found[kind] for kind in KINDS) > 100


def test_labels_are_no_part_of_what_makes_two_items_equal() -> None:
    clip = Clip("v", 0, 10)
    labelled, bare = (ChoiceItem("q", "v", clip, "?", ("a",), 0, labels) for labels in ({"kind": "x"}, {}))
    assert labelled == bare
    assert labels_of(labelled) == {"kind": "x", "length": "up to 10 s"}


def test_length_ranges_hold_their_upper_end_and_leave_no_gap() -> None:
    for (end, name), (_, following) in zip(LENGTHS, [*LENGTHS[1:], (0, LONGEST)], strict=True):
        assert length_label(end) == name
        assert length_label(end + 1e-6) == following


@pytest.mark.parametrize(
    ("start", "end", "third"),
    [(0, 10, "first third"), (0, 90, "middle third"), (60, 90, "last third"), (90, 90, "last third")],
)
def test_a_segments_position_is_the_third_that_holds_its_middle(start: float, end: float, third: str) -> None:
    assert position_label(start, end, 90) == third


def test_youcook2_items_know_recipe_type_cuisine_and_position(shared_data: Path) -> None:
    segments = load_clip_captioning(shared_data / "youcook2").items()
    videos = load_summary(shared_data / "youcook2").items()
    assert {item.labels["cuisine"] for item in videos} == set(CUISINES.values())
    assert len({item.labels["recipe type"] for item in videos}) == 89
    assert {item.labels["position in the video"] for item in segments} == {"first third", "middle third", "last third"}
    share = Counter(labels_of(item)["length"] in {"256 s–6 min", "6–10 min", "10–30 min"} for item in videos)
    assert share[True] / len(videos) == pytest.approx(0.59, abs=0.01)  # protocols: 59 % are longer than 256 s


@pytest.mark.parametrize(
    ("start", "end", "span"),
    [
        (10, 35, "within a quarter"),
        (0, 50, "a quarter to a half"),
        (20, 80, "a half to three quarters"),
        (0, 100, "over three quarters"),
    ],
)
def test_a_span_is_the_share_of_the_video_from_its_start_to_its_end(start: float, end: float, span: str) -> None:
    assert span_label(start, end, 100) == span
