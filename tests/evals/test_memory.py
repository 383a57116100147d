"""Peak memory is the process's own."""

from __future__ import annotations

import subprocess
import sys

from tests.evals.conftest import ROOT

CODE = "from evals.runner import peak_memory_bytes; print(peak_memory_bytes())"


def peak_of_a_small_process() -> int:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_large_parent_does_not_count_into_its_childs_peak() -> None:
    before = peak_of_a_small_process()
    ballast = bytearray(300 << 20)
    after = peak_of_a_small_process()
    assert len(ballast) > 0
    assert 1 << 20 < after < before + (50 << 20)


def test_what_a_process_takes_counts_into_its_own_peak() -> None:
    code = CODE.replace("print", "hold = bytearray(200 << 20); print")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 200 << 20
