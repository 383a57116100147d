"""Reading and writing a run directory so that a kill at any moment loses at most the item in flight."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from jsonlines import InvalidLineError, Reader, Writer
from pydantic import ValidationError

from evals.benchmarks import command_of
from evals.consistency import contradictions
from evals.read_json import RowT, first_problem, read_content, validated
from evals.record import OfficialScore, Results, Row, Run, Sample
from evals.seal import changed_by_hand, seal_of
from tasks import durable
from tasks.errors import RecordError

RUN, SAMPLES, RESULTS, OFFICIAL = "run.json", "samples.jsonl", "results.json", "official.json"
SYNC_SECONDS = 1.0
TAIL = 1 << 16
write_atomic, locked = durable.write_atomic, durable.locked


def write_row(path: Path, row: Row) -> None:
    """Store one record file, readable: two-space JSON with a final newline."""
    write_atomic(path, json.dumps(row.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")


def read_row(path: Path, kind: type[RowT]) -> RowT:
    """Read one record file, of any version. Raises RecordError naming the file and the field at fault."""
    return validated(path, read_content(path), kind)


def read_run(folder: Path) -> Run:
    """The run's `run.json`."""
    return read_row(folder / RUN, Run)


def read_results(folder: Path) -> Results:
    """The run's `results.json`. Raises RecordError, too, where it was changed by hand or contradicts itself."""
    path = folder / RESULTS
    content = read_content(path)
    results = validated(path, content, Results)
    fault = changed_by_hand(content) or next(contradictions(results), None)
    if fault:
        command = command_of(results.task.name)
        again = "the same 'longvid ask …'" if command == "ask" else f"'longvid score {folder}'"
        msg = f"{path} is not as it was written: {fault}; {again} writes it anew"
        raise RecordError(msg)
    return results


def write_sealed(folder: Path, results: Results) -> Results:
    """Write `results.json` with the digest of its own content; returns what is now there."""
    sealed = results.model_copy(update={"sha256": seal_of(results.model_dump(mode="json"))})
    write_row(folder / RESULTS, sealed)
    return sealed


def read_official(folder: Path) -> OfficialScore | None:
    """The server's score, where one was set."""
    path = folder / OFFICIAL
    return read_row(path, OfficialScore) if path.is_file() else None


def read_samples(folder: Path) -> dict[str, Sample]:
    """The last row of each id. A torn last line is the item in flight and is passed over; others are refused."""
    path = folder / SAMPLES
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        # A line without its end was being written when the run was killed.
        whole = (line[:-1] for line in file if line.endswith(b"\n"))
        try:
            return {sample.id: sample for sample in Reader(whole, loads=Sample.model_validate_json)}
        except InvalidLineError as error:
            cause = error.__cause__
            fault = first_problem(cause) if isinstance(cause, ValidationError) else cause
            msg = f"{path}, line {error.lineno} is damaged ({fault}); remove the line to go on without it"
            raise RecordError(msg) from error


def _as_json(row: Sample | dict[str, object]) -> str:
    # A writer of jsonlines tries its encoder on an empty object first.
    return row.model_dump_json() if isinstance(row, Sample) else json.dumps(row)


class SampleLog:
    """Appends rows. The system has each when `append` returns, so that killing this process loses none.

    The disk itself is waited for once in SYNC_SECONDS at most, and at the end: waiting for it at every row took a
    tenth of a small encoder's run. `before_rows` puts there what rows refer to: always before a row that names its
    vectors, so that in a power cut no such row outlives them.
    """

    def __init__(self, folder: Path, before_rows: Callable[[], None] = lambda: None) -> None:
        self._path = folder / SAMPLES
        self._before_rows = before_rows
        self._synced = -math.inf

    def __enter__(self) -> Self:
        self._file = durable.open_in_place(self._path, os.O_APPEND)
        self._rows = Writer(self._file, dumps=_as_json)
        self._drop_torn_tail()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._sync()
        finally:
            self._file.close()

    def append(self, *samples: Sample) -> None:
        """Write rows. Raises OSError when the disk is full, RecordError when the file was taken away meanwhile."""
        if any(sample.vector_row is not None for sample in samples):
            self._before_rows()
        self._rows.write_all(samples)
        self._file.flush()
        if monotonic() - self._synced >= SYNC_SECONDS:
            self._sync()

    def _sync(self) -> None:
        self._before_rows()
        if self._file.seekable():
            os.fsync(self._file.fileno())
        self._synced = monotonic()
        self._refuse_a_lost_file()

    def _refuse_a_lost_file(self) -> None:
        """Rows written to a file that was deleted reach nobody: a long run is told at once, not at its end."""
        ours = os.fstat(self._file.fileno())
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            msg = f"{self._path} was deleted or replaced during the run: the answers recorded there are lost"
            raise RecordError(msg)

    def _drop_torn_tail(self) -> None:
        if not self._file.seekable():
            return
        size = end = self._file.seek(0, os.SEEK_END)
        kept = 0
        while end and not kept:
            start = max(0, end - TAIL)
            self._file.seek(start)
            newline = self._file.read(end - start).rfind(b"\n")
            kept, end = (start + newline + 1, end) if newline >= 0 else (0, start)
        if kept < size:
            self._file.truncate(kept)
