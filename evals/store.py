"""Reading and writing a run directory so that a kill at any moment loses at most the item in flight."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pydantic import ValidationError

from evals.record import SCHEMA_VERSION, OfficialScore, Results, Row, Run, Sample
from tasks.errors import RecordError

RUN, SAMPLES, RESULTS, OFFICIAL, LOCK = "run.json", "samples.jsonl", "results.json", "official.json", ".lock"
RowT = TypeVar("RowT", bound=Row)


def write_atomic(path: Path, text: str) -> None:
    """Write a file whole or not at all: to a neighbour first, flushed to disk, then renamed."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_row(path: Path, row: Row) -> None:
    """Store one record file, readable: two-space JSON with a final newline."""
    write_atomic(path, json.dumps(row.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")


def read_row(path: Path, kind: type[RowT]) -> RowT:
    """Read one record file. Raises RecordError naming the file and the field at fault."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
            msg = f"{path} has schema version {content['schema_version']}, this longvid reads {SCHEMA_VERSION}"
            raise RecordError(msg)
        return kind.model_validate(content, strict=False)
    except FileNotFoundError:
        msg = f"{path} does not exist: {path.parent} is not a finished run directory"
        raise RecordError(msg) from None
    except ValidationError as error:
        msg = f"{path} is not a longvid record ({first_problem(error)})"
        raise RecordError(msg) from error
    except ValueError as error:
        msg = f"{path} is damaged ({error})"
        raise RecordError(msg) from error


def first_problem(error: ValidationError) -> str:
    """The first fault that pydantic found, in a few words."""
    problem = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"


def read_run(folder: Path) -> Run:
    """The run's `run.json`."""
    return read_row(folder / RUN, Run)


def read_results(folder: Path) -> Results:
    """The run's `results.json`."""
    return read_row(folder / RESULTS, Results)


def read_official(folder: Path) -> OfficialScore | None:
    """The server's score, where one was set."""
    path = folder / OFFICIAL
    return read_row(path, OfficialScore) if path.is_file() else None


def read_samples(folder: Path) -> dict[str, Sample]:
    """The last row of each id. A torn last line is the item in flight and is passed over; others are refused."""
    path = folder / SAMPLES
    if not path.is_file():
        return {}
    lines = path.read_bytes().split(b"\n")
    samples: dict[str, Sample] = {}
    for number, line in enumerate(lines[:-1], start=1):
        try:
            sample = Sample.model_validate_json(line)
        except ValidationError as error:
            msg = f"{path}, line {number} is damaged ({first_problem(error)}); remove the line to go on without it"
            raise RecordError(msg) from error
        samples[sample.id] = sample
    return samples


class SampleLog:
    """Appends rows, each on disk before the next item starts."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SAMPLES

    def __enter__(self) -> Self:
        self._file = self._path.open("ab+")
        self._drop_torn_tail()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, *samples: Sample) -> None:
        """Write rows and wait for the disk once. Raises OSError when it is full."""
        self._file.writelines(sample.model_dump_json().encode() + b"\n" for sample in samples)
        self._file.flush()
        if self._file.seekable():
            os.fsync(self._file.fileno())

    def _drop_torn_tail(self) -> None:
        if not self._file.seekable():
            return
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        kept = self._file.read(size).rfind(b"\n") + 1
        if kept < size:
            self._file.truncate(kept)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out of a run directory; the lock goes with the process, however it ends."""
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"{folder} is in use by another longvid process"
            raise RecordError(msg) from None
        yield
