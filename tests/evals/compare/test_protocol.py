"""Runs that differ in what they were asked or shown are refused with both values, or compared with a caveat."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals.imports import import_run
from evals.new_run import describe_import
from tasks.choice_files import prediction
from tasks.errors import RecordError
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.compare.runs import Right, compared, edit_run, run_as
from tests.evals.conftest import ToyTalker, toy_task

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def big() -> MultipleChoiceTask:
    return toy_task(60)


@pytest.fixture
def pair(big: MultipleChoiceTask, tmp_path: Path) -> tuple[Path, Path]:
    replies = {item.id: "Answer: B" for item in big.items()}
    run_as(big, ToyTalker(replies), tmp_path / "a", options={"of": "a"})
    run_as(big, ToyTalker(replies), tmp_path / "b", options={"of": "b"})
    return tmp_path / "a", tmp_path / "b"


def protocol(**values: str) -> Change:
    return lambda content: content["protocol"].update(values)


def frames(**values: int) -> Change:
    return lambda content: content["model"]["details"].update({f"frames_{key}": v for key, v in values.items()})


CHANGES: dict[str, tuple[Change, str]] = {
    "route": (protocol(route="options-loglik"), r"route is options-loglik, not generate\+parse"),
    "prompt": (
        protocol(prompt="egoschema-generate.v2"),
        r"prompt is egoschema-generate\.v2, not egoschema-generate\.v1",
    ),
    "prompt's text": (protocol(prompt_sha256="f" * 64), r"prompt sha256 is ffffffffffff, not \w{12}"),
    "frames": (frames(count=16, size=224), r"frame policy is count 16, size 224, not unknown \(8\.0 frames a clip\)"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_differs_is_named_with_both_values(big: MultipleChoiceTask, pair: tuple[Path, Path], name: str) -> None:
    change, words = CHANGES[name]
    edit_run(pair[1], big, change)
    with pytest.raises(RecordError, match=words) as refusal:
        compared(big, *pair)
    assert "--allow-mismatch" in str(refusal.value)


def test_two_frame_budgets_are_not_mixed(big: MultipleChoiceTask, tmp_path: Path) -> None:
    for count in (16, 64):
        run_as(big, Right(big, 0.5, details={"frames_count": count}), tmp_path / str(count))
    with pytest.raises(RecordError, match="frame policy is count 64, not count 16"):
        compared(big, tmp_path / "16", tmp_path / "64")


def test_of_two_frame_policies_only_what_differs_is_told(big: MultipleChoiceTask, tmp_path: Path) -> None:
    for count in (16, 64):
        details = {"frames_count": count, "frames_fit": "crop", "frames_size": 64}
        run_as(big, Right(big, 0.5, details=details), tmp_path / str(count))
    with pytest.raises(RecordError, match=r"frame policy is count 64, not count 16\b(?!, fit)") as refusal:
        compared(big, tmp_path / "16", tmp_path / "64")
    assert "crop" not in str(refusal.value)


def brought_in(task: MultipleChoiceTask, folder: Path, frames: int | None) -> Path:
    """A run of predictions made elsewhere, whose file tells a number of frames or none."""
    answers = {item.id: prediction(item.id, 1, frames) for item in task.items()}
    import_run(task, describe_import(task, folder.name, {"route": "unknown"}, "digest", []), folder, answers)
    return folder


@pytest.mark.parametrize(("first", "other"), [(22, None), (None, 22), (None, None)])
def test_two_imports_are_compared_where_a_file_does_not_say_what_was_seen(
    big: MultipleChoiceTask, tmp_path: Path, first: int | None, other: int | None
) -> None:
    folders = brought_in(big, tmp_path / "a", first), brought_in(big, tmp_path / "b", other)
    assert compared(big, *folders).pairs[0].mismatches == ()


def test_two_imports_of_different_numbers_of_frames_are_refused(big: MultipleChoiceTask, tmp_path: Path) -> None:
    folders = brought_in(big, tmp_path / "a", 22), brought_in(big, tmp_path / "b", 8)
    with pytest.raises(RecordError, match=r"unknown \(8\.0 frames a clip\), not unknown \(22\.0 frames a clip\)"):
        compared(big, *folders)


def test_an_import_is_not_taken_for_a_run_that_saw_no_frame(big: MultipleChoiceTask, tmp_path: Path) -> None:
    run_as(big, Right(big, 0.5), tmp_path / "blind")
    with pytest.raises(RecordError, match="frame policy is unknown, not none recorded"):
        compared(big, tmp_path / "blind", brought_in(big, tmp_path / "theirs", None))


def test_a_reply_read_by_another_parser_is_refused_until_scored_again(
    big: MultipleChoiceTask, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.answer_parser.PARSER_VERSION", "older")
    edit_run(pair[1], big, lambda content: None)
    monkeypatch.undo()
    with pytest.raises(RecordError, match=r"parser is older, not \S+"):
        compared(big, *pair)
    edit_run(pair[1], big, lambda content: None)
    assert compared(big, *pair).pairs[0].mismatches == ()


def test_other_items_are_refused_even_under_the_same_name(big: MultipleChoiceTask, pair: tuple[Path, Path]) -> None:
    path = pair[1] / "run.json"
    path.write_text(
        json.dumps({**(content := json.loads(path.read_text())), "task": {**content["task"], "version": "2"}})
    )
    (pair[1] / "results.json").unlink()
    with pytest.raises(RecordError, match=r"task is toy@60 \(version 2\), not toy@60 \(version 1\)"):
        compared(big, *pair)


def test_an_allowed_mismatch_is_in_the_result_with_both_values(
    big: MultipleChoiceTask, pair: tuple[Path, Path]
) -> None:
    edit_run(pair[1], big, protocol(route="options-loglik"))
    (row,) = compared(big, *pair, allow_mismatch=True).pairs
    assert [(m.what, m.first, m.other) for m in row.mismatches] == [("route", "generate+parse", "options-loglik")]
    assert "The runs differ in route" in row.conclusion
    assert "not the models' alone" in row.conclusion


def test_one_mismatch_among_several_runs_is_found_and_named(
    big: MultipleChoiceTask, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    run_as(big, ToyTalker({item.id: "Answer: C" for item in big.items()}), tmp_path / "c", options={"of": "c"})
    edit_run(tmp_path / "c", big, protocol(route="given"))
    edit_run(tmp_path / "c", big, lambda content: content.update(name="third"))
    with pytest.raises(RecordError, match="third: route is given") as refusal:
        compared(big, *pair, tmp_path / "c")
    assert "b:" not in str(refusal.value)


def test_a_run_file_that_results_were_not_made_from_is_refused(
    big: MultipleChoiceTask, pair: tuple[Path, Path]
) -> None:
    path = pair[1] / "run.json"
    path.write_text(path.read_text().replace('"of": "b"', '"of": "z"'))
    with pytest.raises(RecordError, match=r"run\.json is not the one that results\.json was made from"):
        compared(big, *pair)


def test_models_may_differ_in_every_option(big: MultipleChoiceTask, pair: tuple[Path, Path]) -> None:
    assert [run.options for run in compared(big, *pair).runs] == [{"of": "a"}, {"of": "b"}]


@pytest.mark.parametrize(
    "folders", [("a",), ("a", "a"), ("a", "../x/a")], ids=["one", "twice", "twice by another path"]
)
def test_a_comparison_needs_two_runs(pair: tuple[Path, Path], tmp_path: Path, folders: tuple[str, ...]) -> None:
    (tmp_path / "x").symlink_to(tmp_path)
    places = [tmp_path / "x" / "a" if "x" in name else tmp_path / name for name in folders]
    with pytest.raises(RecordError, match="two or more different run directories"):
        compared(None, *places)
