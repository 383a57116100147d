"""Find every run under some folders; runs that can't be read are named with the reason."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.record import Results
from evals.store import RESULTS, RUN, SAMPLES, read_results
from tasks.errors import RecordError

MARKS = frozenset({RUN, SAMPLES, RESULTS})


@dataclass(frozen=True, slots=True)
class Found:
    """A run directory and its results."""

    folder: Path
    results: Results


@dataclass(frozen=True, slots=True)
class Skipped:
    """A run directory whose results were not read, and why."""

    folder: Path
    reason: str


def run_folders(places: Sequence[Path]) -> Iterator[Path]:
    """The run directories at or under `places`, each once.

    Hidden folders and the inside of runs are skipped. Raises RecordError for a place that is not a folder or
    holds no run: nothing that was named is skipped silently.
    """
    seen: set[Path] = set()
    for place in places:
        if not place.is_dir():
            raise RecordError(f"{place} is not a folder: name run directories, or folders that hold some")
        here = list(walk(place))
        if not here:
            raise RecordError(f"{place} holds no run directory (a folder with {RUN} or {RESULTS})")
        for folder in here:
            if folder.resolve() not in seen:
                seen.add(folder.resolve())
                yield folder


def walk(place: Path) -> Iterator[Path]:
    """Yield run directories at or under a folder, by path, and unreadable folders; links are followed once."""
    visited: set[str] = set()
    closed: list[Path] = []
    for here, folders, files in os.walk(place, followlinks=True, onerror=lambda error: closed.append(error.filename)):
        real = os.path.realpath(here)
        is_run = bool(MARKS & {*files, *folders})
        if is_run and real not in visited:
            yield Path(here)
        inside = () if is_run or real in visited else folders
        folders[:] = sorted(name for name in inside if not name.startswith("."))
        visited.add(real)
    yield from map(Path, closed)


def read_runs(places: Sequence[Path]) -> tuple[list[Found], list[Skipped]]:
    """Read all runs at or under `places`; return those whose results can be trusted, and the others with the reason."""
    found, skipped = [], []
    for folder in run_folders(places):
        try:
            found.append(Found(folder, read_results(folder)))
        except RecordError as error:
            skipped.append(Skipped(folder, reason_in(folder, str(error))))
    return found, skipped


def reason_in(folder: Path, message: str) -> str:
    """Shorten an error message by the folder's path, which is shown beside it."""
    if "does not exist" in message:
        return f"no {RESULTS}: it is still running, or was killed; run the same command again"
    return message.replace(f"{folder}{os.sep}", "").replace(str(folder), "RUN")
