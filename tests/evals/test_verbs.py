"""`longvid run BENCHMARK`, `longvid score RUN`: the same as the verbs of the benchmark's own group."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.store import read_results, read_run
from evals.verbs import spelled_out
from tests.evals.conftest import assert_one_line, longvid


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("run egoschema -m blind", "egoschema run -m blind"),
        ("run egoschema@5031 -m blind --limit 3", "egoschema run -m blind --limit 3 --pool 5031"),
        ("run youcook2-summary@457 -m word-salad", "youcook2-summary run -m word-salad --pool 457"),
        ("run kitchen-video-retrieval@20 -m x", "kitchen-retrieval run -m x --pool video-20"),
        ("import egoschema a.csv --name x", "egoschema import a.csv --name x"),
        ("prepare kitchen-qa@100", "kitchen-qa prepare --pool 100"),
        ("egoschema run -m blind", "egoschema run -m blind"),
        ("compare a b", "compare a b"),
        ("run --help", "run --help"),
    ],
)
def test_a_verb_with_a_benchmark_is_the_groups_own(short: str, long: str) -> None:
    assert spelled_out(short.split()) == long.split()


def test_run_score_import_and_report_go_by_the_benchmark_or_the_run(shared_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("-m", "constant", "-M", "choice=1", "--limit", 5, "--data", shared_data, "--out", run)
    assert longvid("run", "egoschema@500", *options).returncode == 0
    before = read_results(run)
    assert read_run(run).task.name == "egoschema@500"
    assert longvid("score", run, "--data", shared_data).returncode == 0
    assert read_results(run) == before
    assert "egoschema@500" in longvid("report", run, "--data", shared_data).stdout
    answers = json.loads((shared_data / "egoschema" / "subset_answers.json").read_text(encoding="utf-8"))
    (tmp_path / "choices.json").write_text(json.dumps(answers), encoding="utf-8")
    imported = longvid(
        "import",
        "egoschema",
        tmp_path / "choices.json",
        "--name",
        "all",
        "--out",
        tmp_path / "all",
        "--data",
        shared_data,
    )
    assert imported.returncode == 0, imported.stderr
    assert read_results(tmp_path / "all").primary.value == 1.0


def test_an_unknown_benchmark_is_one_line_with_the_nearest() -> None:
    assert_one_line(longvid("run", "egoshema", "-m", "blind"), "did you mean 'egoschema'")


def test_an_option_before_the_benchmark_says_the_order() -> None:
    assert longvid("run", "-m", "blind", "egoschema").returncode == 2
    assert "BENCHMARK[@POOL]" in longvid("run", "--help").stdout


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    assert_one_line(longvid("score", tmp_path), "run.json")


def test_a_default_written_out_is_the_same_run_and_another_value_is_not(shared_data: Path, tmp_path: Path) -> None:
    common = ("egoschema@500", "-m", "constant", "--limit", 3, "--data", shared_data, "--out", tmp_path / "run")
    assert longvid("run", *common).returncode == 0
    rows = (tmp_path / "run" / "samples.jsonl").read_bytes()
    assert longvid("run", *common, "-M", "choice=0").returncode == 0
    assert (tmp_path / "run" / "samples.jsonl").read_bytes() == rows
    assert_one_line(longvid("run", *common, "-M", "choice=1"), "holds another run", "model.options.choice")
