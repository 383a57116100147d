"""`longvid leaderboard`: the same bytes for the same records, fast, and unharmed by what a record may hold."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from evals.leaderboard.build import Reference, build_leaderboard
from evals.leaderboard.formats import FORMATS, as_markdown, cells, columns, remarks
from evals.record import Results
from evals.schema_files import FOLDER
from evals.store import write_sealed
from tests.evals.conftest import assert_one_line, longvid
from tests.evals.records import TASK, results_of

HOSTILE = "=cmd|' /C calc'!A0 <script>alert(1)</script> [x](javascript:a) | \x1b[2J \u202e ../../etc\n# head"


def write(place: Path, *records: Results) -> list[Path]:
    folders = []
    for number, results in enumerate(records):
        folders.append(place / f"{number:03d}")
        folders[-1].mkdir(parents=True)
        write_sealed(folders[-1], results)
    return folders


def test_the_file_is_the_same_for_any_order_of_arguments(tmp_path: Path) -> None:
    folders = write(tmp_path / "runs", *(results_of(f"run {i}", i / 10) for i in range(5)), results_of("x", answered=9))
    for name, order in (("a", folders), ("b", folders[::-1]), ("c", [tmp_path / "runs"])):
        assert longvid("leaderboard", *order, "-o", tmp_path / f"{name}.json").returncode == 0
    assert len({(tmp_path / f"{name}.json").read_bytes() for name in "abc"}) == 1


def test_the_file_fits_the_published_schema_and_names_no_place(tmp_path: Path) -> None:
    write(tmp_path / "runs", results_of("a"), results_of("b", answered=9))
    (tmp_path / "runs" / "torn").mkdir()
    (tmp_path / "runs" / "torn" / "results.json").write_text("{")
    assert longvid("leaderboard", tmp_path / "runs", "-o", tmp_path / "leaderboard.json").returncode == 0
    text = (tmp_path / "leaderboard.json").read_text()
    board = json.loads(text)
    jsonschema.validate(board, json.loads((FOLDER / "leaderboard.schema.json").read_text()))
    assert board["schema_version"] == 1
    assert {row["name"] for row in board["excluded"]} == {"b", "torn"}
    assert str(tmp_path) not in text


def test_two_hundred_runs_take_under_three_seconds(tmp_path: Path) -> None:
    tasks = [replace(TASK, name=f"toy{i}@500") for i in range(4)]
    write(tmp_path / "runs", *(results_of(f"run {i}", i / 200, task=tasks[i % 4]) for i in range(200)))
    before = os.times()
    done = longvid("leaderboard", tmp_path / "runs", "-o", tmp_path / "leaderboard.json")
    after = os.times()
    # The processor's time: a busy machine is not the command's fault.
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    assert done.returncode == 0, done.stderr
    board = json.loads((tmp_path / "leaderboard.json").read_text())
    assert sum(row["kind"] == "run" for table in board["tables"] for row in table["rows"]) == 200
    assert seconds < 3


def test_what_was_left_out_is_said_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path / "runs", results_of("whole"), results_of("half", answered=250))
    done = longvid("leaderboard", tmp_path / "runs")
    assert done.returncode == 0
    assert "half (toy@500): partial: 250 of 500 items answered" in " ".join(done.stderr.split())


def test_every_row_has_a_cell_for_each_column() -> None:
    published = [Reference(task="toy@500", name="p", protocol="zero-shot", source="s", figures={"accuracy": 0.5})]
    board = build_leaderboard([results_of("a", None), results_of("b"), results_of("c", imported=True)], (), published)
    (table,) = board.tables
    assert {len(cells(table, row)) for row in table.rows} == {len(columns(table))}
    texts = {row.name: cells(table, row) for row in table.rows}
    kind = columns(table).index("kind")
    assert "not run here" in texts["p"][kind]
    assert "not run here" in texts["c"][kind]
    assert "published in s: p (zero-shot)" in remarks(table)
    assert "50.0 %" in texts["b"]
    assert texts["a"][columns(table).index("accuracy")] == "–"


def test_csv_has_every_figure_with_its_cost(tmp_path: Path) -> None:
    write(tmp_path / "runs", results_of("a", 0.5))
    done = longvid("leaderboard", tmp_path / "runs", "--format", "csv")
    rows = [row for row in csv.DictReader(io.StringIO(done.stdout)) if row["name"] == "a"]
    assert [(row["metric"], row["primary"], row["value"]) for row in rows] == [
        ("accuracy", "True", "0.5"),
        ("unparsed_rate", "False", "0.0"),
    ]
    assert (rows[0]["seconds_per_item"], rows[0]["peak_memory_bytes"], rows[0]["low"]) == ("0.2", "1073741824", "0.46")
    assert rows[0]["protocol"] == "route: given"


@pytest.mark.parametrize("form", ["table", *FORMATS])
def test_a_hostile_record_does_no_harm(tmp_path: Path, form: str) -> None:
    (tmp_path / "runs").mkdir()
    write(tmp_path / "runs", results_of(HOSTILE, protocol={"route": HOSTILE + "x" * 100_000}))
    write(tmp_path / "runs" / "b", results_of(HOSTILE, answered=3))
    done = longvid("leaderboard", tmp_path / "runs", "--format", form)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    if form == "csv":
        assert all(not row["name"].startswith("=") for row in csv.DictReader(io.StringIO(done.stdout)))
    if form == "markdown":
        assert "<script>" not in done.stdout
        assert "[x](" not in done.stdout
        assert not [line for line in done.stdout.splitlines() if line.startswith("# ")]


def test_markdown_cells_stay_in_their_column() -> None:
    board = build_leaderboard([results_of("a | b\n| c |")], published=[])
    lines = [line for line in as_markdown(board).splitlines() if line.startswith("|")]
    (table,) = board.tables
    assert {line.replace("\\|", "").count("|") for line in lines} == {len(columns(table)) + 1}


def test_a_folder_whose_name_is_no_text_is_left_out_by_name(tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"\xff")
    place.mkdir()
    (place / "results.json").write_text("{")
    write(tmp_path / "runs", results_of("a"))
    assert longvid("leaderboard", tmp_path, "-o", tmp_path / "leaderboard.json").returncode == 0
    assert "damaged" in json.loads((tmp_path / "leaderboard.json").read_text())["excluded"][0]["reason"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "xml"), ("format 'xml' is unknown", "json, csv, markdown")),
        (("--format", "table", "-o", "board.json"), ("format 'table' is no file's", "json, csv, markdown")),
        (("-o", "board.txt"), ("board.txt: the name of a file ends in .json, .csv, .md, .html",)),
        (("-o", "no/such/folder/board.json"), ("no/such/folder",)),
    ],
    ids=["format", "table in a file", "suffix", "folder"],
)
def test_what_can_not_be_written_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    write(tmp_path / "runs", results_of("a"))
    assert_one_line(longvid("leaderboard", tmp_path / "runs", *arguments), *words)
