"""Read and write a run directory, vectors included; a kill at any moment loses at most the item in flight."""

from __future__ import annotations

import io
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic
from tokenize import TokenError
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self, TypeAlias

from pydantic import ValidationError

from evals.benchmarks import command_of
from evals.record import (
    OfficialScore,
    Results,
    Row,
    RowT,
    Run,
    Sample,
    changed_by_hand,
    contradictions,
    first_problem,
    read_content,
    seal_of,
    validated,
)
from tasks import durable
from tasks.collector import waiting
from tasks.durable import open_in_place, sync_folder
from tasks.errors import RecordError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RUN, SAMPLES, RESULTS, OFFICIAL = "run.json", "samples.jsonl", "results.json", "official.json"
PAGE = "report.html"
SYNC_SECONDS = 1.0
TAIL = 1 << 16
write_atomic, locked = durable.write_atomic, durable.locked


def write_row(path: Path, row: Row) -> None:
    """Write one record file as JSON indented by two spaces, with a final newline."""
    write_atomic(path, json.dumps(row.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")


def read_row(path: Path, kind: type[RowT]) -> RowT:
    """Read one record file, of any version. Raises RecordError naming the file and the field at fault."""
    return validated(path, read_content(path), kind)


def read_run(folder: Path) -> Run:
    """Read the run's `run.json`."""
    return read_row(folder / RUN, Run)


def read_results(folder: Path) -> Results:
    """Read the run's `results.json`. Also raises RecordError if it was changed by hand or contradicts itself."""
    path = folder / RESULTS
    content = read_content(path)
    results = validated(path, content, Results)
    fault = changed_by_hand(content) or next(contradictions(results), None)
    if fault:
        command = command_of(results.task.name)
        again = "the same 'longvid ask …'" if command == "ask" else f"'longvid score {folder}'"
        msg = f"{path} is not as it was written: {fault}; {again} rewrites it"
        raise RecordError(msg)
    return results


def write_sealed(folder: Path, results: Results) -> Results:
    """Write `results.json` with the digest of its own content, and return the sealed results."""
    sealed = results.model_copy(update={"sha256": seal_of(results.model_dump(mode="json"))})
    write_row(folder / RESULTS, sealed)
    return sealed


def read_official(folder: Path) -> OfficialScore | None:
    """Read the server's score, if one was set."""
    path = folder / OFFICIAL
    return read_row(path, OfficialScore) if path.is_file() else None


def read_samples(folder: Path) -> dict[str, Sample]:
    """Read the last row of each id. A torn last line is an item in flight and is skipped; other faults are refused."""
    return SampleReader(folder).read()


class SampleReader:
    """Reads `samples.jsonl`, which only grows: when it is asked again, it reads the rows that were added meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SAMPLES
        self._begin()

    def _begin(self) -> None:
        self._found: dict[str, Sample] = {}
        self._lines = self._bytes = 0

    @waiting()
    def read(self) -> dict[str, Sample]:
        """Return the last row of each id, as `read_samples` does; the mapping is the same at every call."""
        size = self._path.stat().st_size if self._path.is_file() else 0
        if size < self._bytes:
            # Somebody cut or removed the file: only what is on disk counts.
            self._begin()
        if size == self._bytes:
            return self._found
        with self._path.open("rb") as file:
            file.seek(self._bytes)
            for number, line in enumerate(file, start=self._lines + 1):
                if not line.endswith(b"\n"):
                    # It was being written when the run was killed.
                    break
                try:
                    sample = Sample.model_validate_json(line)
                except ValidationError as error:
                    fault = first_problem(error)
                    msg = f"{self._path}, line {number} is damaged ({fault}); remove the line to continue without it"
                    raise RecordError(msg) from error
                self._found[sample.id] = sample
                self._lines, self._bytes = number, self._bytes + len(line)
        return self._found


class SampleLog:
    """Appends rows. Each is handed to the system before `append` returns, so that killing this process loses none.

    The log waits for the disk (fsync) at most once in SYNC_SECONDS, and at the end: an fsync per row took a tenth of a
    small encoder's run. `before_rows` is called before each write to store what rows refer to, so that after a crash
    no row refers to vectors that were lost.
    """

    def __init__(self, folder: Path, before_rows: Callable[[], None] = lambda: None) -> None:
        self._path = folder / SAMPLES
        self._before_rows = before_rows
        self._synced = -math.inf

    def __enter__(self) -> Self:
        self._file = durable.open_in_place(self._path, os.O_APPEND)
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
        """Write rows. Raises OSError if the disk is full, RecordError if the file was removed meanwhile."""
        if any(sample.vector_row is not None for sample in samples):
            self._before_rows()
        self._file.write("".join(f"{sample.model_dump_json()}\n" for sample in samples).encode())
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
        """Stop the run if its file was deleted: rows written to a deleted file are lost."""
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


VECTORS = "vectors.npy"
Vectors: TypeAlias = "NDArray[np.float32]"
AGAIN = "the same 'longvid … run' or 'import' command restores what is lost"


def header(rows: int, shape: tuple[int, ...]) -> bytes:
    """Return an .npy header; NumPy pads it so that its length does not change while the first axis grows."""
    from numpy.lib import format as npy

    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (rows, *shape)})
    return buffer.getvalue()


def row_shape(path: Path, file: IO[bytes]) -> tuple[int, ...]:
    """Read the shape of a row, leaving `file` at the first row. Raises RecordError for a damaged header."""
    import numpy as np
    from numpy.lib import format as npy

    try:
        npy.read_magic(file)
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    # NumPy lets some of its tokenizer's errors through.
    except (ValueError, SyntaxError, TokenError) as error:
        msg = f"{path} is damaged ({error}); {AGAIN}"
        raise RecordError(msg) from error
    if fortran or dtype != np.dtype("<f4") or len(shape) != 3 or shape[1] != 2 or shape[2] < 1:
        msg = f"{path} holds {dtype} {shape}, not float32 [rows, 2, D]; {AGAIN}"
        raise RecordError(msg)
    return tuple(shape[1:])


def read_vectors(folder: Path, samples: Mapping[str, Sample]) -> dict[str, Vectors]:
    """Read the vectors [2, D] of every sample that names a row. Raises RecordError if the file lacks one."""
    found = {}
    for key, vectors in checked_rows(folder, samples):
        if isinstance(vectors, str):
            msg = f"{vectors}; {AGAIN}"
            raise RecordError(msg)
        found[key] = vectors
    return found


def lost_vectors(folder: Path, samples: Mapping[str, Sample]) -> dict[str, str]:
    """Return the samples whose vectors are not in the file as they were written, each with the reason."""
    return {key: fault for key, fault in checked_rows(folder, samples) if isinstance(fault, str)}


def checked_rows(folder: Path, samples: Mapping[str, Sample]) -> Iterator[tuple[str, Vectors | str]]:
    """Yield the vectors of every sample that names a row, or why they are lost."""
    rows = {key: sample for key, sample in samples.items() if sample.vector_row is not None}
    if not rows:
        return
    import numpy as np

    path = folder / VECTORS
    try:
        with path.open("rb") as file:
            shape = row_shape(path, file)
            start, width = file.tell(), 4 * shape[0] * shape[1]
            whole = (file.seek(0, os.SEEK_END) - start) // width
            for key, sample in rows.items():
                row = sample.vector_row or 0
                if row >= whole:
                    yield key, f"{path} holds {whole} rows, but the record names row {row}: the file is damaged"
                    continue
                file.seek(start + row * width)
                data = file.read(width)
                fault = fault_in(data, sample.vectors_crc32)
                yield key, f"{path}, row {row}: {fault}" if fault else np.frombuffer(data, "<f4").reshape(shape).copy()
    except FileNotFoundError:
        yield from ((key, f"{path} is missing, where the vectors of item {key} were kept") for key in rows)
    except RecordError as error:
        yield from ((key, str(error).removesuffix(f"; {AGAIN}")) for key in rows)


def fault_in(data: bytes, checksum: int | None) -> str:
    """Say why a row is not what was written there; without a checksum (older records), why it can't be."""
    if checksum is not None:
        return "" if zlib.crc32(data) == checksum else "these are not the vectors that were written there"
    import numpy as np

    values = np.frombuffer(data, "<f4")
    if not np.isfinite(values).all():
        return "the vectors hold NaN or infinity"
    return "" if values.any() else "the vectors are all zeros: the file is damaged"


def as_bytes(vectors: Vectors) -> bytes:
    """Encode a row as in the file."""
    import numpy as np

    return np.ascontiguousarray(vectors, dtype="<f4").tobytes()


class VectorLog:
    """Appends rows; the file appears with the first one. The rows that `samples` name are kept."""

    def __init__(self, folder: Path, samples: Mapping[str, Sample]) -> None:
        self._path = folder / VECTORS
        self._rows = 1 + max((s.vector_row for s in samples.values() if s.vector_row is not None), default=-1)
        self._file: IO[bytes] | None = None
        self._shape: tuple[int, ...] = ()
        self._is_synced = True

    def __enter__(self) -> Self:
        if not self._rows:
            return self
        if not self._path.is_file():
            msg = f"{self._path} is missing: the record names {self._rows} rows of it"
            raise RecordError(msg)
        self._file = open_in_place(self._path)
        self._shape = row_shape(self._path, self._file)
        end = self._file.tell() + self._rows * 4 * math.prod(self._shape)
        # Never extend the file: the system would fill it with zeros, which are not vectors.
        if self._file.seek(0, os.SEEK_END) < end:
            msg = f"{self._path} is shorter than the {self._rows} rows that the record names"
            raise RecordError(msg)
        self._file.truncate(end)
        self._file.seek(0, os.SEEK_END)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.seek(0)
            self._file.write(header(self._rows, self._shape))
            self._file.close()

    def append(self, vectors: Vectors) -> int:
        """Write one row [2, D] and return its number. Raises RecordError on another shape."""
        if self._file is None:
            self._shape = vectors.shape
            self._file = open_in_place(self._path)
            self._file.truncate(0)
            self._file.write(header(0, self._shape))
            sync_folder(self._path.parent)
        if vectors.shape != self._shape:
            msg = f"{self._path} holds rows of {self._shape}, not {vectors.shape}: a model's vectors keep their length"
            raise RecordError(msg)
        self._file.write(as_bytes(vectors))
        self._file.flush()
        self._is_synced = False
        self._rows += 1
        return self._rows - 1

    def sync(self) -> None:
        """Wait until the disk has all rows."""
        if self._file is not None and not self._is_synced:
            os.fsync(self._file.fileno())
            self._is_synced = True
