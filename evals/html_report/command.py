"""`longvid <benchmark> report RUN --format html`: one run as a page on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evals import console
from evals.html_report.write import write_run_page
from tasks.errors import DataError, RecordError
from tasks.task import Task

PAGE = "report.html"


def make_page(
    folders: Sequence[Path], out: Path | None, captions: Path | None, load_task: Callable[[], Task[Any]]
) -> None:
    """Write one run's page; without the benchmark's files it goes without questions and pictures, and says so."""
    if len(folders) != 1:
        raise RecordError(
            f"a page is on one run, not {len(folders)}; for many there is 'longvid leaderboard -o x.html'"
        )
    task = None
    try:
        task = load_task()
    except DataError as error:
        console.warn(f"the page has no questions, texts or pictures: {error}")
    written = write_run_page(folders[0], out or folders[0] / PAGE, task, captions)
    for note in written.notes:
        console.warn(note)
    console.say(f"wrote {written.path} ({written.size / 1e6:.1f} MB)")
