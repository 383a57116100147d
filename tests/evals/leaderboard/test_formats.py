"""A leaderboard's files: nothing in a record's texts acts on a spreadsheet or a terminal."""

from __future__ import annotations

import csv
import io

import pytest

from evals.leaderboard.build import build_leaderboard
from evals.leaderboard.formats import as_csv, as_markdown, harmless
from tests.evals.records import results_of


@pytest.mark.parametrize(
    "name",
    [
        *("=1+1", "\n=1+1", " =1+1", "\t=1+1", "\r\n=1+1", "\u00a0=1+1", "\u200b=1+1", "\ufeff=1+1", "  \t +1", "-1"),
        *("@SUM(1)", "＝1+1", "＠SUM(1)", '"=1+1"', "'=1+1", "\x00=1+1"),
    ],
)
def test_a_name_that_a_spreadsheet_would_run_is_text(name: str) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(build_leaderboard([results_of(name)], published=[])), newline="")))
    shown = next(row["name"] for row in rows if row["kind"] == "run")
    assert shown.startswith("'")


@pytest.mark.parametrize("name", ["a;=1+1", "a\t=1+1", "a\n=1+1", "a; @SUM(1)"])
def test_nor_does_one_that_splits_lines_at_other_signs_run_the_rest(name: str) -> None:
    assert "'" in str(harmless(name))
    assert str(harmless(name)).replace("'", "") == name


@pytest.mark.parametrize("name", ["a run", "a-b", "blind = words alone", "a + b", "50 % (=half)", "model@v2", ""])
def test_other_names_stay_as_they_are(name: str) -> None:
    assert harmless(name) == name


@pytest.mark.parametrize("code", ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x7f", "\u202e", "\x08"])
@pytest.mark.parametrize("write", [as_csv, as_markdown])
def test_a_runs_name_brings_no_terminal_code_into_a_file(write: object, code: str) -> None:
    text = write(build_leaderboard([results_of(f"a{code}b")], published=[]))  # type: ignore[operator]
    assert code[0] not in text
    assert "a�" in text
