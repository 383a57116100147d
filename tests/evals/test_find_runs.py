"""Records kept for months: old ones load, and what is torn, edited or foreign is named and skipped, never half-read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from evals.find_runs import read_runs, run_folders
from evals.record import MOST_BYTES, Results, seal_of
from evals.store import read_results, write_sealed
from tasks.errors import RecordError
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.conftest import ToyModel, assert_one_line, longvid, run_toy
from tests.evals.records import results_of

MANY = 2_000


def write(folder: Path, results: Results) -> Path:
    folder.mkdir(parents=True)
    write_sealed(folder, results)
    return folder


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """What somebody does to results.json in an editor."""
    path = folder / "results.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2))


def version_2(content: dict[str, Any]) -> None:
    """`results.json` as version 2 wrote it."""
    content["schema_version"] = 2
    del content["cost"]["frames_wait_share"]
    content["sha256"] = seal_of(content)


def version_1(content: dict[str, Any]) -> None:
    """`results.json` as version 1 wrote it."""
    version_2(content)
    content["schema_version"] = 1
    del content["sha256"]


def reasons(place: Path) -> dict[str, str]:
    return {skipped.folder.name: skipped.reason for skipped in read_runs([place])[1]}


def test_a_sealed_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write(tmp_path / "run", results_of())
    assert read_results(tmp_path / "run") == write_sealed(tmp_path / "run", results_of())


def test_a_record_of_version_1_loads(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(), tmp_path / "run")
    edit(tmp_path / "run", version_1)
    assert read_results(tmp_path / "run") == results.model_copy(update={"sha256": None})


def test_a_record_of_version_2_loads_and_does_not_know_how_long_frames_were_waited_for(tmp_path: Path) -> None:
    waiting = results_of()
    waiting = waiting.model_copy(update={"cost": waiting.cost.model_copy(update={"frames_wait_share": 0.5})})
    edit(write(tmp_path / "run", waiting), version_2)
    read = read_results(tmp_path / "run")
    assert (read.schema_version, read.cost) == (3, results_of().cost)
    edit(tmp_path / "run", lambda content: content["cost"].update(seconds=1.0))
    with pytest.raises(RecordError, match="sha256"):
        read_results(tmp_path / "run")


@pytest.mark.parametrize("version", [0, 4, "2", True, None, 1.0, -1])
def test_a_version_that_is_not_known_is_refused_and_named(tmp_path: Path, version: object) -> None:
    edit(write(tmp_path / "run", results_of()), lambda content: content.update(schema_version=version))
    with pytest.raises(
        RecordError, match=rf"results\.json has schema version {version}, this version of longvid reads 3"
    ):
        read_results(tmp_path / "run")


def set_metric(content: dict[str, Any]) -> None:
    content["metrics"][0]["value"] = 0.99


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a better figure": set_metric,
    "another name": lambda content: content.update(name="ours"),
    "no seal": lambda content: content.pop("sha256"),
    "an empty seal": lambda content: content.update(sha256=None),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_a_change_by_hand_is_noticed(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit(write(tmp_path / "run", results_of()), change)
    with pytest.raises(RecordError, match=r"results\.json is not as it was written: .*sha256.*'longvid score"):
        read_results(tmp_path / "run")


def both(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
    def changed(content: dict[str, Any]) -> None:
        change(content)
        version_1(content)

    return changed


CONTRADICTIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "status is complete": lambda content: content["counts"].update(answered=250, not_reached=250),
    "counts don't add up": lambda content: content["counts"].update(not_reached=3),
    "a count is negative": lambda content: content["counts"].update(failed=-3),
    "500 items are counted, but": lambda content: content["task"].update(item_count=400),
    "primary figure is missing": lambda content: content["metrics"][0].update(primary=False),
    "is listed twice": lambda content: content["metrics"].append(content["metrics"][1]),
    "ends before it begins": lambda content: content["metrics"][0].update(interval=[0.9, 0.1]),
}


@pytest.mark.parametrize("words", CONTRADICTIONS)
def test_an_unsealed_record_that_contradicts_itself_is_refused(tmp_path: Path, words: str) -> None:
    edit(write(tmp_path / "run", results_of()), both(CONTRADICTIONS[words]))
    with pytest.raises(RecordError, match=words):
        read_results(tmp_path / "run")


DAMAGE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "damaged"),
    "torn": (b'{"schema_version": 2, "name": "a', "damaged"),
    "foreign": (b'{"results": {"acc": 0.5}}', "not a longvid record"),
    "a list": (b"[]", "not a longvid record"),
    "latin": (b'{"name": "\xe9"}', "damaged"),
    "deep": (b'{"a":' * 100_000, "damaged"),
    "wrong types": (b'{"schema_version": 2, "name": 7, "metrics": "all"}', "not a longvid record"),
    "long number": (b'{"schema_version": 1' + b"0" * 5_000 + b"}", "damaged"),
}


def test_what_can_not_be_read_is_skipped_by_name_and_the_rest_is_read(tmp_path: Path) -> None:
    for name, (content, _) in DAMAGE.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_bytes(content)
    write(tmp_path / "good", results_of("good"))
    found, _ = read_runs([tmp_path])
    assert [run.results.name for run in found] == ["good"]
    told = reasons(tmp_path)
    assert told.keys() == DAMAGE.keys()
    for name, (_, words) in DAMAGE.items():
        assert words in told[name]
        assert str(tmp_path) not in told[name]


def test_what_is_no_file_is_skipped_and_waited_for_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "folder" / "results.json").mkdir(parents=True)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "results.json")
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "results.json").symlink_to("results.json")
    (tmp_path / "endless").mkdir()
    (tmp_path / "endless" / "results.json").symlink_to("/dev/zero")
    told = reasons(tmp_path)
    assert told.keys() == {"folder", "pipe", "loop", "endless"}
    assert all("regular file" in told[name] for name in ("folder", "pipe", "endless"))


def test_a_file_too_large_for_a_record_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "results.json").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    assert "too large" in reasons(tmp_path)["run"]


def test_a_run_without_results_is_named(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(), tmp_path / "run")
    (tmp_path / "run" / "results.json").unlink()
    assert "no results.json" in reasons(tmp_path)["run"]


def test_runs_are_found_at_any_depth_once_and_not_inside_each_other(tmp_path: Path) -> None:
    for place in ("b", "a/deep", "a/deep/inside", ".hidden/run"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "run.json").write_text("{}")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "b")
    names = [folder.relative_to(tmp_path) for folder in run_folders([tmp_path, tmp_path / "b"])]
    assert names == [Path("a/deep"), Path("b")]


def test_a_place_without_runs_is_one_line(tmp_path: Path) -> None:
    assert_one_line(longvid("runs", tmp_path), str(tmp_path), "holds no run")
    assert_one_line(longvid("runs", tmp_path / "no"), str(tmp_path / "no"), "is not a folder")


def test_a_hostile_record_is_listed_as_text(tmp_path: Path) -> None:
    """Control codes, markup, a huge field and `..` in names: nothing acts, nothing is written anywhere."""
    hostile = "../../\x1b[2J[red]\u202e" + "x" * 100_000
    results = results_of(hostile, protocol={"route": hostile})
    write(tmp_path / "runs" / "a\x1b[31m[b]", results)
    before = sorted(tmp_path.rglob("*"))
    done = longvid("runs", tmp_path / "runs")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert len(done.stdout) < 20_000
    assert sorted(tmp_path.rglob("*")) == before


def test_the_list_as_json_has_every_run_and_every_reason(tmp_path: Path) -> None:
    write(tmp_path / "good", results_of("good", 0.5))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "results.json").write_text("{")
    listed = json.loads(longvid("runs", tmp_path, "--format", "json").stdout)
    assert [(row["run"], row["value"], row["items"]) for row in listed["runs"]] == [(str(tmp_path / "good"), 0.5, 500)]
    assert [row["run"] for row in listed["skipped"]] == [str(tmp_path / "bad")]


def test_two_thousand_runs_list_in_seconds(tmp_path: Path) -> None:
    text = ""
    for i in range(MANY):
        folder = tmp_path / f"{i:04d}"
        folder.mkdir()
        if not text:
            text = write_sealed(folder, results_of()).model_dump_json()
        (folder / "results.json").write_text(text)
    started = process_time()
    found, skipped = read_runs([tmp_path])
    seconds = process_time() - started
    assert (len(found), skipped) == (MANY, [])
    assert seconds < 5
