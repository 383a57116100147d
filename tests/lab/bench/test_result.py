"""Every bench's result: ways in turn, ratios round by round, what is missing named, the machine beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.bench.result import (
    Comparison,
    Measured,
    NotMeasuredError,
    Result,
    Timing,
    clocked,
    compared,
    in_turn,
    read_result,
    rows_of,
)
from tasks.errors import DataError
from tasks.machine import PACKAGES, installed, machine_facts


def ignore(note: str) -> None:
    """No progress to show."""


def test_every_way_runs_once_a_round_and_ours_comes_first() -> None:
    called = []
    ways = {name: clocked(lambda name=name: called.append(name)) for name in ("ours", "theirs")}
    compared = in_turn("work", ways, 2, ignore)
    assert called == ["ours", "theirs"] * 3
    assert [(row.name, len(row.seconds), len(row.cpu_seconds)) for row in compared.rows] == [
        ("ours", 2, 2),
        ("theirs", 2, 2),
    ]


def test_without_warming_up_the_first_round_counts() -> None:
    called = []
    in_turn("work", {"ours": clocked(lambda: called.append(1))}, 2, ignore, warm_up=False)
    assert len(called) == 2


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    ours = [Measured(1.0, 2.0), Measured(10.0, 2.0), Measured(4.0, 2.0)]
    theirs = [Measured(3.0, 4.0), Measured(10.0, 4.0), Measured(8.0, 4.0)]
    rounds = [{"ours": one, "theirs": other} for one, other in zip(ours, theirs, strict=True)]
    own, peer = rows_of(["ours", "theirs"], rounds, {})
    assert (own.ratio, own.cpu_ratio) == (1.0, 1.0)
    assert (peer.ratio, peer.cpu_ratio) == (2.0, 2.0)
    assert (peer.median_seconds, peer.median_cpu_seconds) == (8.0, 4.0)


def test_a_peer_that_is_missing_is_named_with_the_reason_and_not_tried_again() -> None:
    tried = []

    def absent() -> Measured:
        tried.append(1)
        raise NotMeasuredError("decord is not installed")

    compared = in_turn("work", {"ours": clocked(list), "decord": absent}, 3, ignore)
    assert compared.row("decord") == Timing("decord", missing="decord is not installed")
    assert len(tried) == 1
    assert compared.row("ours").ratio == 1.0


def test_a_peer_that_fails_midway_keeps_its_rounds_and_the_reason() -> None:
    outcomes = iter([Measured(2.0, 2.0)])

    def theirs() -> Measured:
        try:
            return next(outcomes)
        except StopIteration:
            raise NotMeasuredError("it hung") from None

    row = in_turn("work", {"ours": lambda: Measured(1.0, 1.0), "theirs": theirs}, 3, ignore, warm_up=False).rows[1]
    assert (row.seconds, row.ratio, row.missing) == ((2.0,), 2.0, "it hung")


def test_waiting_counts_by_the_clock_and_not_as_work() -> None:
    measured = clocked(lambda: time.sleep(0.3))()
    assert measured.seconds >= 0.3
    assert measured.cpu_seconds < 0.2


def test_a_clock_that_saw_nothing_gives_no_ratio() -> None:
    rounds = [{"ours": Measured(1.0, 0.0), "theirs": Measured(1.0, 0.5)}]
    assert rows_of(["ours", "theirs"], rounds, {})[1].cpu_ratio is None


def test_the_machine_is_named_with_what_is_installed() -> None:
    facts = machine_facts()
    assert facts.processor
    assert facts.cores >= 1
    assert facts.versions == installed(PACKAGES)
    assert "numpy" in facts.versions


def test_a_result_goes_to_json_whole(tmp_path: Path) -> None:
    rows = (
        Timing("ours", (1.0,), (1.0,), 1.0, 1.0, 1.0, 1.0, {"psnr": 40.5}),
        Timing("theirs", missing="not installed"),
    )
    result = Result("decode", machine_facts(), {"repeats": 1}, (Comparison("reading", rows),), {"equal": True})
    (tmp_path / "r.json").write_text(result.to_json())
    data = read_result(tmp_path / "r.json")
    assert data["comparisons"][0]["rows"][1]["missing"] == "not installed"
    assert data["comparisons"][0]["rows"][0]["facts"] == {"psnr": 40.5}
    assert set(data["machine"]) >= {"processor", "cores", "threads", "versions", "device"}


def test_a_file_that_is_no_result_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps({"bench": "decode"}))
    with pytest.raises(DataError, match=r"r\.json is not a bench result: it has no machine"):
        read_result(tmp_path / "r.json")


def test_results_load_no_torch() -> None:
    code = "import sys, lab.bench.result, tasks.machine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_a_way_found_is_written_for_people_however_deep_it_lies() -> None:
    row = Timing("ours", facts={"seconds": {"there": 0.0866107, "back": 12.0}, "bytes": 92192768, "same": True})
    assert compared(row)[-1] == "seconds (there 0.0866, back 12), bytes 92,192,768, same True"
