"""The pinned versions install anywhere, not only on the machine that wrote them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = ("constraints.txt", "constraints-vllm.txt")
LINES = [
    line for name in FILES for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line[:1].isalnum()
]


@pytest.mark.parametrize("line", LINES)
def test_a_pin_names_a_version_and_no_place(line: str) -> None:
    assert re.fullmatch(r"[\w.-]+==[\w.!+]+", line)
