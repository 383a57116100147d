"""Signals that end a run as Ctrl-C does: one line, exit code 130, and the results of what is done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.signals import as_interrupts
from evals.store import read_results
from tests.evals.conftest import ROOT

SLOW_MODEL = """
import time
from baselines.floors import ChanceModel

class Slow(ChanceModel):
    def choose(self, requests):
        time.sleep(0.05)
        return super().choose(requests)
"""


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A shell's background ignores Ctrl-C, and `nohup` a closed terminal: so would do what these tests start."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def wait_for(done: object, process: subprocess.Popen[str], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not done() and process.poll() is None and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.02)


def questions(folder: Path, count: int = 400) -> Path:
    row = {"video": "v.mp4", "question": "What?", "options": ["a", "b"], "answer": 0, "start": 0, "end": 9}
    path = folder / "q.jsonl"
    path.write_text("".join(json.dumps({**row, "id": f"q{n}"}) + "\n" for n in range(count)))
    return path


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGHUP, signal.SIGINT))]
)
def test_a_signal_leaves_the_results_of_what_is_done(tmp_path: Path, number: signal.Signals) -> None:
    run, slow = tmp_path / "run", tmp_path / "slow.py"
    slow.write_text(SLOW_MODEL)
    process = subprocess.Popen(
        [sys.executable, "-m", "evals.cli", "ask", questions(tmp_path), "-m", f"{slow}:Slow", "-o", run],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    samples = run / "samples.jsonl"
    wait_for(lambda: samples.is_file() and samples.stat().st_size > 1_000, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=240)
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert process.returncode == 130, said
    assert errors == [f"error: interrupted; the finished items are in {run}, and the same command resumes there"]
    assert "Traceback" not in said
    results = read_results(run)
    assert results.status == "partial"
    assert 0 < results.counts.answered < 400


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_while_the_program_is_loading_is_one_line(tmp_path: Path, number: signal.Signals) -> None:
    slow = tmp_path / "typer.py"
    slow.write_text("import time\nprint('loading', flush=True)\ntime.sleep(240)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "evals.cli", "models"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=240)
    assert (process.returncode, said) == (130, "error: interrupted before anything was done\n")


def test_a_signal_while_a_model_is_loading_is_one_line(tmp_path: Path) -> None:
    loading = "from evals import cli\nfrom tasks import registry\nimport os, signal\n"
    loading += "registry.build_model = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\ncli.main()\n"
    done = subprocess.run(
        [sys.executable, "-c", loading, "ask", questions(tmp_path), "-m", "chance", "-o", tmp_path / "run"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with as_interrupts():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def interrupted_twice() -> None:
    with as_interrupts():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            raise


def test_a_second_signal_does_not_cut_the_writing_of_results_short() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_forked_process_is_ended_as_any_other() -> None:
    with as_interrupts():
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM
