"""Where the real files are: `LONGVID_DATA`, or `../shared/data` beside the checkout."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

if find_spec("hypothesis"):  # vLLM's environment does without
    from hypothesis import HealthCheck, settings

    # A test fails for what it finds, never because the machine was busy.
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real annotations, captions, predictions and videos; skips where it is absent."""
    folder = Path(os.environ.get("LONGVID_DATA") or ROOT.parent / "shared" / "data").resolve()
    if not (folder / "egoschema" / "questions.json").is_file():
        pytest.skip(f"no real data at {folder}: set LONGVID_DATA to a folder that has egoschema/, videos/ …")
    return folder
