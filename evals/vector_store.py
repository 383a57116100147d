"""A run's vectors: one plain `vectors.npy`, float32 [rows, 2, D], grown row by row.

A row is written before the sample that names it is; a kill leaves rows that no sample names, and the next run cuts
them off. The header's row count is set when a log closes: until then the file's length counts, so a reader here never
trusts the header for more than D.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from evals.record import Sample
from tasks.errors import RecordError

VECTORS = "vectors.npy"
Vectors = NDArray[np.float32]


def header(rows: int, shape: tuple[int, ...]) -> bytes:
    """An .npy header; NumPy pads it so that its length does not change while the first axis grows."""
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (rows, *shape)})
    return buffer.getvalue()


def row_shape(path: Path, file: IO[bytes]) -> tuple[int, ...]:
    """The shape of a row, leaving `file` at the first row. Raises RecordError on a damaged header."""
    try:
        npy.read_magic(file)
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    except ValueError as error:
        msg = f"{path} is damaged ({error})"
        raise RecordError(msg) from error
    if fortran or dtype != np.dtype("<f4") or len(shape) != 3 or shape[1] != 2:
        msg = f"{path} holds {dtype} {shape}, not float32 [rows, 2, D]"
        raise RecordError(msg)
    return tuple(shape[1:])


def read_vectors(folder: Path, samples: Mapping[str, Sample]) -> dict[str, Vectors]:
    """The vectors [2, D] of every sample that names a row. Raises RecordError when the file lacks one."""
    rows = {key: sample.vector_row for key, sample in samples.items() if sample.vector_row is not None}
    if not rows:
        return {}
    path = folder / VECTORS
    if not path.is_file():
        msg = f"{path} is missing: the record's vectors were kept there; run again"
        raise RecordError(msg)
    with path.open("rb") as file:
        shape = row_shape(path, file)
        start = file.tell()
    whole = (path.stat().st_size - start) // (4 * shape[0] * shape[1])
    if max(rows.values()) >= whole:
        msg = f"{path} holds {whole} rows, but the record names row {max(rows.values())}: the file is damaged"
        raise RecordError(msg)
    table = np.memmap(path, dtype="<f4", mode="r", offset=start, shape=(whole, *shape))
    return {key: np.array(table[row]) for key, row in rows.items()}


class VectorLog:
    """Appends rows; the file appears with the first one. `kept` rows of an earlier run stay."""

    def __init__(self, folder: Path, samples: Mapping[str, Sample]) -> None:
        self._path = folder / VECTORS
        self._rows = 1 + max((s.vector_row for s in samples.values() if s.vector_row is not None), default=-1)
        self._file: IO[bytes] | None = None
        self._shape: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        if self._path.is_file() and self._rows:
            self._file = self._path.open("r+b")
            self._shape = row_shape(self._path, self._file)
            self._file.truncate(self._file.tell() + self._rows * 4 * int(np.prod(self._shape)))
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
            self._file = self._path.open("w+b")
            self._file.write(header(0, self._shape))
        if vectors.shape != self._shape:
            msg = f"{self._path} holds rows of {self._shape}, not {vectors.shape}: a model's vectors keep their length"
            raise RecordError(msg)
        self._file.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
        self._file.flush()
        self._rows += 1
        return self._rows - 1

    def sync(self) -> None:
        """Wait until the disk has all rows."""
        if self._file is not None:
            os.fsync(self._file.fileno())
