"""`longvid compare` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from evals.schema_files import FOLDER
from tests.evals.compare.runs import Right, run_as
from tests.evals.conftest import assert_one_line, longvid, toy_task

HOSTILE = "../[red]\x1b[2J<script>|=1\u202e"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    task = toy_task(60)
    run_as(task, Right(task, 0.3, name=HOSTILE), tmp_path / "weak", options={HOSTILE: HOSTILE})
    run_as(task, Right(task, 0.8, seed=1), tmp_path / "strong")
    return tmp_path / "weak", tmp_path / "strong"


def test_the_screen_shows_cost_difference_items_and_the_conclusion(pair: tuple[Path, Path]) -> None:
    done = longvid("compare", *pair, "--wide")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    for words in ("strong against weak", "s / item", "does better than weak", "wins", "q01"):
        assert words in text
    assert "McNemar over source videos" in done.stderr


def test_json_names_every_item_and_fits_the_published_schema(pair: tuple[Path, Path]) -> None:
    done = longvid("compare", *pair, "--format", "json")
    comparison = json.loads(done.stdout)
    jsonschema.validate(comparison, json.loads((FOLDER / "comparison.schema.json").read_text()))
    (row,) = comparison["pairs"]
    assert len({*row["wins"], *row["losses"], *row["ties"]}) == 60


def test_markdown_has_tables_and_the_conclusion(pair: tuple[Path, Path]) -> None:
    done = longvid("compare", *pair, "--format", "markdown")
    assert done.stdout.count("\n|---") == 3
    assert "- strong does better than weak" in done.stdout


@pytest.mark.parametrize("form", ["table", "markdown", "json"])
def test_hostile_names_do_no_harm(pair: tuple[Path, Path], form: str) -> None:
    done = longvid("compare", *pair, "--format", form)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "\u202e" not in done.stdout
    if form == "markdown":
        assert "<script>" not in done.stdout


def test_the_same_seed_gives_the_same_bytes(pair: tuple[Path, Path]) -> None:
    one, two = (longvid("compare", *pair, "--format", "json", "--seed", 0).stdout for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "xml"), ("unknown format 'xml'", "table, markdown, json")),
        (("no-such-run",), ("no-such-run/run.json does not exist",)),
    ],
    ids=["format", "folder"],
)
def test_what_a_user_can_put_right_is_one_line(
    pair: tuple[Path, Path], arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_one_line(longvid("compare", *pair, *arguments), *words)


def test_runs_of_other_local_files_are_refused(shared_data: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        arguments = ("--model", "chance", "-M", f"seed={seed}", "--limit", 3, "--data", shared_data)
        assert longvid("egoschema", "run", *arguments, "--out", tmp_path / str(seed)).returncode == 0
        path = tmp_path / str(seed) / "run.json"
        content = json.loads(path.read_text())
        content["task"]["items_sha256"] = "0" * 64
        path.write_text(json.dumps(content))
        (tmp_path / str(seed) / "results.json").unlink()
    assert_one_line(
        longvid("compare", tmp_path / "0", tmp_path / "1", "--data", shared_data), "on items other than those"
    )


def test_a_run_killed_before_its_results_is_compared_all_the_same(pair: tuple[Path, Path]) -> None:
    (pair[0] / "results.json").unlink()
    assert longvid("compare", *pair).returncode == 0
