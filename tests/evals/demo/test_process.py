"""Commands in processes of their own: their words, their exit codes, their share of the processors."""

from __future__ import annotations

import json
import os
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from evals.demo.run import THREADS, start_command
from evals.store import read_run


@pytest.fixture
def no_videos(tmp_path: Path) -> Path:
    """A data folder whose kitchen has no videos: commands need none that was generated before."""
    (tmp_path / "kitchen" / "test").mkdir(parents=True)
    (tmp_path / "kitchen" / "test" / "annotations.json").write_text(json.dumps({"database": {}}))
    return tmp_path


def test_a_commands_words_and_exit_code_are_those_of_the_command_line(tmp_path: Path, no_videos: Path) -> None:
    unknown = ["kitchen-qa", "run", "--model", "no-such-model", "--data", str(no_videos)]
    good = start_command(["kitchen-annotations", "--help"], tmp_path / "good.log", 1)
    bad = start_command(unknown, tmp_path / "bad.log", 1)
    good.join()
    bad.join()
    assert (good.exitcode, bad.exitcode) == (0, 2)
    assert "Usage: longvid kitchen-annotations" in (tmp_path / "good.log").read_text()
    assert "no-such-model" in (tmp_path / "bad.log").read_text()


def test_a_record_has_the_command_that_was_asked_for(tmp_path: Path, no_videos: Path) -> None:
    arguments = ["kitchen-qa", "run", "--pool", "100", "--model", "chance", "--limit", "1"]
    arguments += ["--data", str(no_videos), "--out", str(tmp_path / "run")]
    process = start_command(arguments, tmp_path / "log", 1)
    process.join()
    assert process.exitcode == 0, (tmp_path / "log").read_text()
    assert read_run(tmp_path / "run").provenance.argv == ("longvid", *arguments)


def test_a_command_is_told_its_threads_unless_the_user_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setenv(THREADS[0], "3")
    monkeypatch.delenv(THREADS[1], raising=False)
    monkeypatch.setattr(ForkServerProcess, "start", lambda _process: told.extend(os.environ[name] for name in THREADS))
    start_command(["--help"], tmp_path / "log", 1)
    assert told == ["3", "1"]


def test_a_command_writes_no_colours_into_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(ForkServerProcess, "start", lambda _process: told.append(os.environ["TERM"]))
    start_command(["--help"], tmp_path / "log", 1)
    assert told == ["dumb"]
    assert os.environ["TERM"] == "xterm-256color"


def test_this_processes_own_environment_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS[0], "3")
    monkeypatch.delenv(THREADS[1], raising=False)
    start_command(["--help"], tmp_path / "log", 1).join()
    assert os.environ[THREADS[0]] == "3"
    assert THREADS[1] not in os.environ
