"""The command line: one clear line and exit code 2 for what a user can put right, and nothing lost."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from evals.cli import app, run_app
from evals.schema_files import without_wall_clock
from evals.store import read_results, read_run, read_samples
from tasks.registry import parse_options, typed_options
from tests.evals.conftest import ROOT, assert_one_line, longvid, longvid_process

RUN = ("egoschema", "run", "--model", "chance", "--limit", 12)


@pytest.fixture
def chance_run(shared_data: Path, tmp_path: Path) -> Path:
    """A small run made by the command line."""
    done = longvid(*RUN, "--data", shared_data, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    return tmp_path / "run"


def test_a_run_ends_with_exit_code_0_and_a_record(chance_run: Path) -> None:
    assert read_results(chance_run).counts.answered == 12
    assert read_run(chance_run).provenance.argv[1:3] == ("egoschema", "run")


def test_the_module_is_the_same_as_the_command() -> None:
    module = subprocess.run(
        [sys.executable, "-m", "evals.egoschema", "run", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    command = longvid_process("egoschema", "run", "--help")
    usage, *text = module.stdout.splitlines()
    assert "python -m evals.egoschema run [OPTIONS]" in usage
    assert len(text) > 20
    assert text == command.stdout.splitlines()[1:]


def test_every_verb_is_listed_with_an_example() -> None:
    listed = longvid("egoschema", "--help").stdout
    for verb in ("prepare", "plan", "run", "score", "import", "report", "submit", "set-score"):
        assert verb in listed
        assert "Example: longvid egoschema" in longvid("egoschema", verb, "--help").stdout


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, by its words."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
    for name, one in (below or {}).items():
        yield from commands(one, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_commands_help_ends_with_an_example_of_it_that_parses(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    _, marked, example = re.sub(r"\[/?bold\]", "", command.epilog or "").partition("Example: ")
    assert marked
    words = shlex.split(example)
    assert words[: len(path) + 1] == ["longvid", *path]
    context = command.make_context(path[-1], words[len(path) + 1 :])
    if "model_option" in context.params:
        assert typed_options(context.params["model"], parse_options(context.params["model_option"] or []))


def test_a_missing_captions_file_is_one_line(shared_data: Path, tmp_path: Path) -> None:
    arguments = ("--model", "aggregator", "-M", f"captions={tmp_path}/none.json", "--data", shared_data)
    done = longvid("egoschema", "run", *arguments, "--out", tmp_path / "run")
    assert_one_line(done, f"{tmp_path}/none.json", "does not exist")
    assert not (tmp_path / "run").exists()


def test_a_truncated_captions_file_is_one_line(shared_data: Path, tmp_path: Path) -> None:
    whole = (shared_data / "captions" / "egoschema_lavila_1s.json").read_bytes()
    (tmp_path / "cut.json").write_bytes(whole[:100_000])
    arguments = ("--model", "aggregator", "-M", f"captions={tmp_path}/cut.json", "--data", shared_data)
    done = longvid("egoschema", "run", *arguments, "--out", tmp_path / "run")
    assert_one_line(done, f"{tmp_path}/cut.json", "truncated")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "chanse"), ("unknown model 'chanse'", "did you mean 'chance'")),
        (("--model", "chance", "-M", "sead=1"), ("no option 'sead'", "did you mean 'seed'")),
        (("--model", "chance", "-M", "seed"), ("'seed' is not of the form key=value",)),
        (("--model", "chance", "--pool", "400"), ("no pool '400'", "500, 5031")),
        (("--model", "chance", "--data", "/nowhere"), ("/nowhere/egoschema", "prepare")),
        (("--model", "blind", "-M", "llm=smolm2"), ("smollm2",)),
    ],
    ids=["model", "option", "form", "pool", "data", "llm"],
)
def test_a_wrong_name_is_one_line_and_leaves_no_folder(
    shared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    monkeypatch.setenv("LONGVID_DATA", str(shared_data))
    done = longvid("egoschema", "run", *arguments, "--out", tmp_path / "run")
    assert_one_line(done, *words)
    assert not (tmp_path / "run").exists()


def test_an_unknown_flag_is_exit_code_2_without_a_traceback() -> None:
    done = longvid("egoschema", "run", "--modell", "chance")
    assert done.returncode == 2
    assert "--model" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_one_line_and_what_was_there_is_kept(shared_data: Path, chance_run: Path) -> None:
    (chance_run / "samples.jsonl").unlink()
    (chance_run / "samples.jsonl").symlink_to("/dev/full")
    before = read_run(chance_run)
    done = longvid(*RUN, "--data", shared_data, "--out", chance_run)
    assert_one_line(done, "No space left on device")
    assert read_run(chance_run).model_copy(update={"resumed": before.resumed}) == before


def test_an_import_that_cannot_be_written_names_the_folder_and_what_is_kept(shared_data: Path, tmp_path: Path) -> None:
    answers, out = shared_data / "egoschema" / "subset_answers.json", tmp_path / "run"

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    arguments = ("egoschema", "import", answers, "--name", "x", "--data", shared_data, "--out", out)
    done = longvid_process(*arguments, preexec_fn=small_files)
    assert_one_line(done, f"error: {out}: File too large; what was already recorded is kept in {out}")
    assert longvid_process(*arguments).returncode == 0


def test_a_disk_that_fills_up_on_the_way_loses_nothing_and_the_run_resumes(shared_data: Path, tmp_path: Path) -> None:
    arguments = ("egoschema", "run", "--model", "chance", "--limit", 100, "--data", shared_data, "--name", "x", "--out")

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    done = longvid_process(*arguments, tmp_path / "run", preexec_fn=small_files)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error:")
    assert "Traceback" not in done.stderr
    kept = read_samples(tmp_path / "run")
    assert 10 < len(kept) < 100
    assert longvid_process(*arguments, tmp_path / "run").returncode == 0
    longvid_process(*arguments, tmp_path / "whole")
    ours, theirs = (without_wall_clock(read_results(tmp_path / name)) for name in ("run", "whole"))
    assert {**ours, "provenance": None} == {**theirs, "provenance": None}


def test_a_place_that_cannot_be_written_is_one_line(shared_data: Path) -> None:
    assert_one_line(longvid(*RUN, "--data", shared_data, "--out", "/proc/longvid-run"), "/proc/longvid-run")


def test_a_read_only_folder_is_one_line_and_nothing_is_lost(shared_data: Path, chance_run: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may write into read-only folders; the full-disk tests cover the error's way")
    before = {path.name: path.read_bytes() for path in chance_run.iterdir()}
    chance_run.chmod(0o555)
    try:
        done = longvid("egoschema", "run", "--model", "chance", "--data", shared_data, "--out", chance_run)
    finally:
        chance_run.chmod(0o755)
    assert_one_line(done, str(chance_run))
    assert {path.name: path.read_bytes() for path in chance_run.iterdir()} == before


def test_an_out_that_is_a_file_is_one_line(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert_one_line(longvid(*RUN, "--data", shared_data, "--out", tmp_path / "file"), str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "precious"
    done = longvid(*RUN, "--data", shared_data, "--out", tmp_path / "file" / "inside")
    assert_one_line(done, "no run can be kept there; choose another --out")


def test_another_run_is_not_written_over(shared_data: Path, chance_run: Path) -> None:
    done = longvid(*RUN, "-M", "seed=7", "--data", shared_data, "--out", chance_run)
    assert_one_line(done, "holds another run", "model.options.seed")


def test_too_many_failures_are_exit_code_2_with_partial_results(shared_data: Path, tmp_path: Path) -> None:
    arguments = ("--model", "constant", "-M", "choice=9", "--max-failures", 3, "--data", shared_data)
    done = longvid("egoschema", "run", *arguments, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "4 items failed (--max-failures 3)" in done.stderr.splitlines()[-1]
    assert read_results(tmp_path / "run").status == "failed"


def test_score_gives_the_same_results_again(shared_data: Path, chance_run: Path) -> None:
    before = (chance_run / "results.json").read_bytes()
    done = longvid("egoschema", "score", chance_run, "--data", shared_data)
    assert done.returncode == 0, done.stderr
    assert (chance_run / "results.json").read_bytes() == before


@pytest.mark.parametrize("verb", ["score", "report", "submit"])
def test_a_folder_that_is_no_run_is_one_line(shared_data: Path, tmp_path: Path, verb: str) -> None:
    data = () if verb == "report" else ("--data", shared_data)
    assert_one_line(longvid("egoschema", verb, tmp_path, *data), str(tmp_path))


def test_a_damaged_record_is_one_line_with_file_and_line(shared_data: Path, chance_run: Path) -> None:
    path = chance_run / "samples.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3][:40] + b"\n", *lines[4:]]))
    assert_one_line(longvid("egoschema", "score", chance_run, "--data", shared_data), "samples.jsonl, line 4")


def test_a_report_as_json_has_the_run_and_its_floors(chance_run: Path) -> None:
    done = longvid("egoschema", "report", chance_run, "--format", "json")
    report = json.loads(done.stdout)
    assert report["task"] == "egoschema@500"
    assert [row["kind"] for row in report["rows"]] == ["run", *["floor"] * 4]


def test_an_unknown_report_format_is_one_line(chance_run: Path) -> None:
    done = longvid("egoschema", "report", chance_run, "--format", "pdf")
    assert_one_line(done, "unknown format 'pdf'", "table, markdown, json, html")


def test_import_makes_a_record_of_published_predictions(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "predictions" / "egoschema_vamos_gpt4o_submission.csv"
    done = longvid("egoschema", "import", file, "--name", "vamos", "--out", tmp_path / "run", "--data", shared_data)
    assert done.returncode == 0, done.stderr
    assert "4531 predictions are outside egoschema@500" in done.stdout
    assert read_results(tmp_path / "run").primary.value == 0.572


def test_a_refused_import_is_one_line_and_writes_nothing(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"stranger": 1}')
    arguments = ("--name", "x", "--out", tmp_path / "run", "--data", shared_data)
    done = longvid("egoschema", "import", tmp_path / "p.json", *arguments)
    assert_one_line(done, "1 unknown ids: stranger", "500 missing ids")
    assert not (tmp_path / "run").exists()


def test_plan_says_items_tokens_and_time(shared_data: Path) -> None:
    done = longvid("egoschema", "plan", "--model", "chance", "--data", shared_data, "--limit", 50)
    assert done.returncode == 0, done.stderr
    for words in ("50 in", "peak memory", "min in all"):
        assert words in done.stdout


@pytest.mark.slow
def test_doctor_counts_the_data(shared_data: Path) -> None:
    done = longvid("doctor", "--json", "--data", shared_data)
    assert done.returncode == 0, done.stderr
    found = {check["what"]: check["found"] for check in json.loads(done.stdout)}
    assert "egoschema@5031: 5031 items" in found["egoschema"]


def test_a_run_without_any_answer_does_not_end_well(shared_data: Path, tmp_path: Path) -> None:
    arguments = ("--model", "constant", "-M", "choice=9", "--limit", 2, "--data", shared_data)
    done = longvid("egoschema", "run", *arguments, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert "no item has an answer" in done.stderr
    assert read_results(tmp_path / "run").status == "failed"


def test_threads_that_wait_sleep_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    app = typer.Typer()
    app.command()(lambda: seen.append(os.environ["OMP_WAIT_POLICY"]))
    monkeypatch.setattr(sys, "argv", ["longvid"])
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with pytest.raises(SystemExit):
        run_app(app)
    monkeypatch.delenv("OMP_WAIT_POLICY")
    with pytest.raises(SystemExit):
        run_app(app)
    assert seen == ["ACTIVE", "PASSIVE"]
