"""Where a run came from, and never a secret."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.new_run import describe_run
from evals.provenance import collect, git, redact, redact_options
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.conftest import ROOT, ToyModel

SECRET = "s3cr3t-value"
SECRETS = [
    ["--api-key", SECRET],
    [f"--api-key={SECRET}"],
    ["-M", f"api_key={SECRET}"],
    [f"-Mapi_key={SECRET}"],
    [f"--model-option=api_key={SECRET}"],
    ["-M", f"llm.api_key={SECRET}"],
    ["-M", f"api_key={SECRET}=="],
    ["--model-option", f"api_key={SECRET}"],
    ["-M", f"hf_token={SECRET}"],
    ["-M", f"OPENAI_API_KEY={SECRET}"],
    ["--password", SECRET],
    ["-M", f"base_url=http://user:{SECRET}@host:8000/v1"],
    ["-M", f"base_url=http://user:p@{SECRET}@host:8000/v1"],
    ["-M", f"base_url=https://{SECRET}@host/v1"],
    ["-M", f"base_url=https://host/v1?api_key={SECRET}&model=x"],
    ["--url", f"https://user:{SECRET}@host"],
]


@pytest.mark.parametrize("arguments", SECRETS, ids=" ".join)
def test_a_secret_never_gets_into_the_record(arguments: list[str]) -> None:
    cleaned = redact(["longvid", *arguments, "--limit", "3"])
    assert SECRET not in " ".join(cleaned)
    assert cleaned[0] == "longvid"
    assert cleaned[-2:] == ["--limit", "3"]


@given(value=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6))
def test_no_secret_gets_through_however_it_is_written(value: str) -> None:
    value = f"zz{value}zz"
    for arguments in (["--api-key", value], [f"--api-key={value}"], ["-M", f"api_key={value}"]):
        assert value not in " ".join(redact(arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["-M", "max_tokens=64"],
        ["--max-tokens", "64"],
        ["-M", "captions=keys/file.json"],
        ["-M", "llm=transformers:org/monkey"],
        ["-M", "base_url=http://host:8000/v1?model=x@y"],
        ["--name", "token"],
        ["--name=my-token", "next"],
        ["-M", "base_url=http://host?model=x@y"],
        ["-M", "prompt=a=b"],
    ],
    ids=" ".join,
)
def test_what_is_no_secret_is_kept(arguments: list[str]) -> None:
    assert redact(arguments) == arguments


def test_secrets_among_model_options_are_removed() -> None:
    options = {"api_key": SECRET, "max_tokens": "64", "base_url": f"http://u:{SECRET}@host/v1"}
    assert redact_options(options) == {"api_key": "***", "max_tokens": "64", "base_url": "http://***@host/v1"}


def test_run_json_holds_no_secret(task: MultipleChoiceTask) -> None:
    arguments = ["longvid", "-M", f"api_key={SECRET}"]
    run = describe_run(task, ToyModel(), "toy", {"api_key": SECRET}, arguments)
    assert SECRET not in run.model_dump_json()


def test_versions_machine_and_time_are_recorded() -> None:
    provenance = collect(["longvid"])
    assert {"numpy", "pydantic"} <= provenance.versions.keys()
    assert provenance.platform
    assert datetime.fromisoformat(provenance.created).tzinfo is not None


def test_the_commit_is_the_checkouts() -> None:
    provenance = collect(["longvid"])
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    assert provenance.commit == git(ROOT, "rev-parse", "HEAD")
    assert provenance.uncommitted_changes in (True, False)


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path) -> None:
    assert git(tmp_path, "rev-parse", "HEAD") is None


def test_the_programs_folder_is_not_recorded() -> None:
    assert collect(["/home/someone/.venv/bin/longvid", "egoschema", "run"]).argv == ("longvid", "egoschema", "run")


def test_looking_at_the_checkout_does_not_write_to_it(tmp_path: Path) -> None:
    for arguments in (
        ["init", "-q"],
        ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x", "--allow-empty"],
    ):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True)
    (tmp_path / "file").write_text("x")
    subprocess.run(["git", "-C", tmp_path, "add", "file"], check=True)
    os.utime(tmp_path / "file", (1, 1))  # git would note the new time in its index
    before = (tmp_path / ".git" / "index").read_bytes()
    assert git(tmp_path, "status", "--porcelain") == "A  file"
    assert (tmp_path / ".git" / "index").read_bytes() == before
