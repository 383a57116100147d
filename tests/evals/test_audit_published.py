"""The audit of published files finds every defect that is known of them, and what options' lengths give away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from evals.audit import Finding, examined
from tasks.cgbench import load_cgbench
from tasks.egoschema import load_egoschema
from tasks.folder import Faults
from tasks.intentqa import load_intentqa
from tasks.mlvu import load_mlvu
from tasks.multiple_choice import MultipleChoiceTask
from tasks.nextqa import load_nextqa

LOADERS: dict[str, Callable[[Path], MultipleChoiceTask]] = {
    "nextqa": load_nextqa,
    "intentqa": load_intentqa,
    "mlvu": load_mlvu,
    "cgbench": load_cgbench,
    "egoschema": load_egoschema,
}


def no_tick(*_: object) -> None:
    """No progress bar."""


@pytest.fixture(scope="module")
def findings(shared_data: Path) -> dict[str, dict[str, Finding]]:
    audited = {name: examined(load(shared_data / name), no_tick, Faults()) for name, load in LOADERS.items()}  # type: ignore[arg-type]
    return {name: {finding.check: finding for finding in found} for name, found in audited.items()}


@pytest.mark.parametrize(
    ("benchmark", "check", "count", "words", "spoils"),
    [
        ("nextqa", "equal options", 3, "0 of them the right one", False),
        ("nextqa", "answers", 0, "all known", False),
        ("intentqa", "equal options", 0, "none", False),
        ("mlvu", "equal options", 16, "6 of them the right one", True),
        ("mlvu", "answers", 2, "2 of 2,175 answers are none of the options", True),
        ("mlvu", "long clips", 14, "longest 32,550 s", False),
        ("mlvu", "the longest option", 2175, "32.1 %", True),
        ("mlvu", "the longest option", 2175, "above it in needle 51.5 %, plotQA 40.6 %, topic_reasoning 36.4 %", True),
        ("cgbench", "answers", 0, "all known", False),
        ("cgbench", "evidence", 0, "inside its clip", False),
        ("cgbench", "label options", 4, "50 to 1,502 items", False),
        ("cgbench", "the longest option", 3000, "chance 14.6 %", False),
        ("egoschema", "the longest option", 500, "7.2 %", False),
        ("egoschema", "the shortest option", 500, "18.4 %", False),
        ("nextqa", "the longest option", 4996, "20.6 %", False),
        ("nextqa", "the shortest option", 4996, "22.5 %", False),
    ],
)
def test_what_is_known_of_a_file_is_found(
    findings: dict[str, dict[str, Finding]], benchmark: str, check: str, count: int, words: str, spoils: bool
) -> None:
    found = findings[benchmark][check]
    assert (found.count, found.spoils) == (count, spoils)
    assert words in found.found


def test_the_audit_and_the_floors_of_a_record_agree(shared_data: Path, findings: dict[str, dict[str, Finding]]) -> None:
    from baselines.floors import choice_floors

    task = load_mlvu(shared_data / "mlvu")
    for floor in choice_floors(task, task.items(), 0):
        if "option" in floor.name:
            assert findings["mlvu"][f"the {floor.name}"].value == pytest.approx(floor.metric.value)
