"""SIGKILL at random moments of a real run: resuming ends where an uninterrupted run ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from baselines.floors import ChanceModel
from evals.new_run import describe_run
from evals.record import Results, Run
from evals.runner import RunSettings, run_task
from evals.schema_files import without_wall_clock
from evals.store import read_results, read_run, read_samples
from tasks.egoschema import load_egoschema
from tasks.model import ModelInfo, OptionRequest
from tasks.multiple_choice import MultipleChoiceTask
from tasks.routes import Route
from tests.evals.conftest import ROOT, ignore, longvid_process, toy_task

FOLDERS = 2
MOMENTS = {"start": 6, "items": 14, "finish": 5}
KILLS = FOLDERS * sum(MOMENTS.values())
ITEMS_SECONDS = 0.5
ITEMS_SHARE = 1 / 8  # of the time that all items take: the kills of a folder just about reach its end


@dataclass(frozen=True)
class SlowChance:
    """Chance that takes 2 ms an item."""

    route = Route.GIVEN
    info = ModelInfo("slow-chance")

    def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
        time.sleep(0.002 * len(requests))
        return ChanceModel(3).choose(requests)


def load_task(data: Path | None) -> MultipleChoiceTask:
    return load_egoschema(data / "egoschema", "500") if data else toy_task(500)


def describe(task: MultipleChoiceTask) -> Run:
    return describe_run(task, SlowChance(), "run", {"seed": "3"}, ["longvid", "run"])


def go(task: MultipleChoiceTask, run: Run, folder: Path) -> float:
    """One run, to its end; the seconds it took."""
    started = time.perf_counter()
    run_task(task, SlowChance(), run, RunSettings(folder, batch_size=3), ignore)
    return time.perf_counter() - started


def killed(task: MultipleChoiceTask, run: Run, folder: Path, seconds: float) -> bool:
    """Run in a process that is killed after so many seconds; whether the kill came before its end."""
    child = os.fork()
    if child == 0:
        try:
            go(task, run, folder)
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def harness(base: Path, data: Path | None) -> None:
    """Kill runs at seeded moments and resume them to their end; `met.json` says what was met on the way.

    Loading happens once and each run is a fork, so that the moments fall into the run and not into its start-up:
    right after its start, among the items, and while the results are made and written.
    """
    task = load_task(data)
    run = describe(task)
    whole = go(task, run, base / "whole")
    finish = go(task, run, base / "whole")
    longest = {"start": 0.03, "items": min(ITEMS_SECONDS, ITEMS_SHARE * whole), "finish": 1.1 * finish}
    reference = read_samples(base / "whole")
    random = Random(20231207)
    met: dict[str, Any] = {"killed": [], "progress": [], "folders": []}
    for number in range(FOLDERS):
        folder = base / f"killed{number}"
        met["folders"].append(str(folder))
        for kind, moments in MOMENTS.items():
            if kind == "finish":
                leave_the_last_items(folder, base / "whole")
            for _ in range(moments):
                met["killed"].append(killed(task, run, folder, random.uniform(0.0, longest[kind])))
                seen = read_samples(folder)
                right = all(row.answer == reference[key].answer for key, row in seen.items())
                met["progress"].append(len(seen) if right else -1)
        go(task, run, folder)
    (base / "met.json").write_text(json.dumps(met))


def leave_the_last_items(folder: Path, whole: Path) -> None:
    """A folder whose next run has a torn line and a few items before it, and then its results to write."""
    rows = (whole / "samples.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "run.json").write_bytes((whole / "run.json").read_bytes())
    (folder / "samples.jsonl").write_bytes(b"".join(rows[:-4]) + rows[-4][:30])
    (folder / "results.json").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of all runs, and what the harness met."""
    base = tmp_path_factory.mktemp("kill")
    data = Path(os.environ.get("LONGVID_DATA") or ROOT.parent / "shared" / "data").resolve()
    found = str(data) if (data / "egoschema" / "questions.json").is_file() else ""
    done = subprocess.run(
        [sys.executable, "-m", "tests.evals.test_kill_resume", str(base), found],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return base, json.loads((base / "met.json").read_text())


def comparable(row: Results | Run) -> str:
    """A record file's text without its wall-clock fields."""
    return json.dumps(without_wall_clock(row), indent=2)


def test_the_kills_fell_into_the_runs(outcome: tuple[Path, dict[str, Any]]) -> None:
    met = outcome[1]
    assert len(met["killed"]) == KILLS == 50
    assert sum(met["killed"]) >= 0.7 * KILLS
    assert len(set(met["progress"])) >= 10


def test_what_a_killed_run_had_answered_is_kept_and_right(outcome: tuple[Path, dict[str, Any]]) -> None:
    assert -1 not in outcome[1]["progress"]


def test_resumed_results_are_byte_equal_apart_from_wall_clock_fields(outcome: tuple[Path, dict[str, Any]]) -> None:
    base, met = outcome
    whole = comparable(read_results(base / "whole"))
    assert [name for name in met["folders"] if comparable(read_results(Path(name))) != whole] == []


def test_resumed_runs_describe_themselves_as_the_uninterrupted_one(outcome: tuple[Path, dict[str, Any]]) -> None:
    base, met = outcome
    whole = comparable(read_run(base / "whole"))
    assert [name for name in met["folders"] if comparable(read_run(Path(name))) != whole] == []


def test_resumed_runs_have_each_item_once(outcome: tuple[Path, dict[str, Any]]) -> None:
    for name in outcome[1]["folders"]:
        folder = Path(name)
        lines = (folder / "samples.jsonl").read_bytes().splitlines()
        assert len(lines) == len(read_samples(folder)) == read_results(folder).counts.task_items


def test_the_command_resumes_after_a_kill(shared_data: Path, tmp_path: Path) -> None:
    arguments = (
        "egoschema",
        "run",
        "--model",
        "chance",
        "--data",
        shared_data,
        "--limit",
        500,
        "--name",
        "chance",
        "--out",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "evals.cli", *map(str, arguments), str(tmp_path / "killed")],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    samples = tmp_path / "killed" / "samples.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (samples.is_file() and samples.stat().st_size > 10_000):
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 0 < len(read_samples(tmp_path / "killed")) < 500
    resumed = longvid_process(*arguments, tmp_path / "killed")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming" in resumed.stdout
    longvid_process(*arguments, tmp_path / "whole")
    ours, theirs = (without_wall_clock(read_results(tmp_path / name)) for name in ("killed", "whole"))
    assert ours.pop("provenance") != theirs.pop("provenance")  # the command lines name different folders
    assert ours == theirs


if __name__ == "__main__":
    harness(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2] else None)
