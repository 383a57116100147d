"""Where the real files are: `LONGVID_DATA`, or `../shared/data` beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real annotations, captions, predictions and videos; skips where it is absent."""
    folder = Path(os.environ.get("LONGVID_DATA") or ROOT.parent / "shared" / "data").resolve()
    if not (folder / "egoschema" / "questions.json").is_file():
        pytest.skip(f"no real data at {folder}: set LONGVID_DATA to a folder that has egoschema/, videos/ …")
    return folder
