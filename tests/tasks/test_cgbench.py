"""CG-Bench mini: 5 to 8 options, and what was seen of the evidence."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from tasks.cgbench import FILE, load_cgbench
from tasks.errors import DataError
from tasks.multiple_choice import MultipleChoiceTask
from tasks.task import FramesSeen, Prediction, Trace


@pytest.fixture(scope="module")
def mini(shared_data: Path) -> MultipleChoiceTask:
    return load_cgbench(shared_data / "cgbench")


def test_mini_has_the_published_questions_options_and_chance(mini: MultipleChoiceTask) -> None:
    assert (len(mini.items()), len({item.cluster for item in mini.items()})) == (3000, 1118)
    assert Counter(len(item.options) for item in mini.items()) == {7: 1502, 6: 796, 8: 652, 5: 50}
    assert round(100 * mini.info.chance, 1) == 14.6


def test_the_clues_are_the_published_ones(mini: MultipleChoiceTask) -> None:
    lengths = [sum(end - start for start, end in item.evidence) for item in mini.items()]
    assert median(lengths) == 10
    assert all(end <= item.clip.end for item in mini.items() for _, end in item.evidence)


def seen(task: MultipleChoiceTask, times: list[tuple[float, ...]], right: list[bool]) -> dict[str, float | None]:
    """Figures of answers to as many items, each of which was shown frames at the times."""
    scores = []
    for item, seconds, is_right in zip(task.items(), times, right, strict=True):
        trace = Trace(frames=FramesSeen(len(seconds), seconds))
        scores.append(task.score(item, Prediction(item.id, (item.answer or 0) + (not is_right), trace=trace)))
    return {metric.name: metric.value for metric in task.summarise(scores, np.random.default_rng(0)).metrics}


def test_evidence_counts_as_seen_where_a_frame_lies_in_its_stretch(mini: MultipleChoiceTask) -> None:
    item = mini.items()[0]
    two = replace(item, evidence=((8.0, 11.0), (100.0, 110.0)))
    task = MultipleChoiceTask(mini.info, [two, replace(item, id="b"), replace(item, id="c")], mini.prompts)
    figures = seen(task, [(0.0, 11.0, 99.0), (8.0,), (7.9, 11.1)], [True, False, True])
    assert figures["evidence_seen"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert figures["accuracy_evidence_seen"] == 0.5
    assert figures["accuracy_evidence_unseen"] == 1.0


def test_without_times_of_frames_nothing_is_said_of_evidence(mini: MultipleChoiceTask) -> None:
    task = MultipleChoiceTask(mini.info, mini.items()[:1], mini.prompts)
    assert not any("evidence" in name for name in seen(task, [()], [True]))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"right_answer": "H"}, r"entry 1: field 'right_answer' must be a letter A to G, not \"H\""),
        ({"choices": ["one"]}, r"entry 1: field 'choices' "),
        ({"clue_intervals": [[3]]}, r"entry 1: field 'clue_intervals, entry 1' "),
        ({"qid": "14"}, r"entry 1: field 'qid' must be a whole number"),
    ],
)
def test_a_faulty_entry_is_named_with_its_field(
    shared_data: Path, tmp_path: Path, change: dict[str, object], fault: str
) -> None:
    first = json.loads((shared_data / "cgbench" / FILE).read_text())[0]
    (tmp_path / FILE).write_text(json.dumps([first | change]))
    with pytest.raises(DataError, match=fault):
        load_cgbench(tmp_path)
