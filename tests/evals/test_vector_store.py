"""Vectors beside a record: plain .npy for readers, and a kill loses no row that a sample names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evals.record import Sample
from evals.vector_store import VECTORS, VectorLog, read_vectors
from tasks.errors import RecordError


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 2, 5)).astype(np.float32)


def samples(count: int) -> dict[str, Sample]:
    return {f"i{n}": Sample(id=f"i{n}", cluster="c", vector_row=n) for n in range(count)}


def write(folder: Path, table: np.ndarray, done: int = 0) -> None:
    with VectorLog(folder, samples(done)) as log:
        for row in table[done:]:
            log.append(row)


def test_what_was_written_is_read_back_bit_by_bit(tmp_path: Path) -> None:
    write(tmp_path, rows(7))
    found = read_vectors(tmp_path, samples(7))
    assert all(np.array_equal(found[f"i{n}"], rows(7)[n]) for n in range(7))


def test_the_closed_file_is_a_plain_npy(tmp_path: Path) -> None:
    write(tmp_path, rows(7))
    assert np.array_equal(np.load(tmp_path / VECTORS, allow_pickle=False), rows(7))


def test_a_log_taken_up_again_goes_on_where_the_samples_end(tmp_path: Path) -> None:
    write(tmp_path, rows(3))
    write(tmp_path, rows(12), done=3)
    assert np.array_equal(np.load(tmp_path / VECTORS), rows(12))


@pytest.mark.parametrize("torn", [1, 20, 39, 40, 55])
def test_rows_that_no_sample_names_are_cut_off(tmp_path: Path, torn: int) -> None:
    write(tmp_path, rows(3))
    with (tmp_path / VECTORS).open("ab") as file:
        file.write(b"\xff" * torn)
    write(tmp_path, rows(5), done=3)
    assert np.array_equal(np.load(tmp_path / VECTORS), rows(5))


def test_a_killed_log_whose_header_was_never_closed_is_readable(tmp_path: Path) -> None:
    log = VectorLog(tmp_path, {}).__enter__()
    for row in rows(4):
        log.append(row)
    assert np.array_equal(read_vectors(tmp_path, samples(4))["i3"], rows(4)[3])


def test_a_row_that_the_file_lacks_is_refused(tmp_path: Path) -> None:
    write(tmp_path, rows(3))
    with pytest.raises(RecordError, match="holds 3 rows, but the record names row 3"):
        read_vectors(tmp_path, samples(4))


def test_a_lost_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=VECTORS):
        read_vectors(tmp_path, samples(1))


def test_a_damaged_header_is_named(tmp_path: Path) -> None:
    (tmp_path / VECTORS).write_bytes(b"no vectors at all")
    with pytest.raises(RecordError, match="damaged"):
        read_vectors(tmp_path, samples(1))


def test_vectors_that_change_their_length_are_refused(tmp_path: Path) -> None:
    with VectorLog(tmp_path, {}) as log:
        log.append(rows(1)[0])
        with pytest.raises(RecordError, match="keep their length"):
            log.append(np.zeros((2, 6), np.float32))


def test_a_record_without_vectors_has_no_file(tmp_path: Path) -> None:
    write(tmp_path, rows(0))
    assert not (tmp_path / VECTORS).exists()
    assert read_vectors(tmp_path, {"a": Sample(id="a", cluster="c")}) == {}
