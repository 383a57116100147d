"""A run directory in, a page on disk out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from baselines.captions import CaptionFile, load_captions
from evals.html_report.captions import CAPTIONS_DIGEST
from evals.html_report.run_page import read_run_files, run_page
from evals.record import Results
from evals.report import neighbours
from evals.store import write_atomic
from tasks.errors import DataError
from tasks.task import Task


@dataclass(frozen=True, slots=True)
class Written:
    """A page on disk: its size in bytes, and what a reader should know of how it was made."""

    path: Path
    size: int
    notes: tuple[str, ...]


def write_run_page(folder: Path, out: Path, task: Task[Any] | None, captions: Path | None = None) -> Written:
    """Write the page of a run. Raises RecordError, and DataError where the caption file is not the run's."""
    files = read_run_files(folder)
    beside = tuple(run for run in neighbours([folder], [files.results]) if run.status == "complete")
    notes = []
    if task is not None and task.info.items_sha256 != files.results.task.items_sha256:
        notes.append(f"{folder} is a run on other items than this {task.info.name}: the page has no questions")
        task = None
    page = run_page(
        replace(files, neighbours=beside), task, run_captions(files.results, captions) if captions else None
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, page)
    return Written(out, len(page.encode("utf-8")), tuple(notes))


def run_captions(results: Results, path: Path) -> CaptionFile:
    """The captions that a run read. Raises DataError where the file has another digest than the record names."""
    file = load_captions(path)
    recorded = results.model.details.get(CAPTIONS_DIGEST)
    if recorded is not None and recorded != file.sha256:
        raise DataError(f"captions file {path} is not the one that {results.name} read: its digest differs")
    return file
