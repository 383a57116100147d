"""Vectors beside a record: plain .npy for readers, and a kill loses no row that a sample names."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from evals.record import Sample
from evals.store import VECTORS, VectorLog, lost_vectors, read_vectors
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


def checked(count: int) -> dict[str, Sample]:
    """Samples with the checksum of their row, as runs write them."""
    sums = [zlib.crc32(row.tobytes()) for row in rows(count)]
    return {key: s.model_copy(update={"vectors_crc32": sums[s.vector_row or 0]}) for key, s in samples(count).items()}


@pytest.mark.parametrize("has_checksums", [True, False])
def test_cut_anywhere_a_file_lacks_just_the_rows_behind_the_cut(tmp_path: Path, has_checksums: bool) -> None:
    write(tmp_path, rows(4))
    whole = (tmp_path / VECTORS).read_bytes()
    named = checked(4) if has_checksums else samples(4)
    start = len(whole) - 4 * 40
    for size in range(0, len(whole), 7):
        (tmp_path / VECTORS).write_bytes(whole[:size])
        left = max(0, (size - start) // 40)
        assert set(lost_vectors(tmp_path, named)) == {f"i{n}" for n in range(left, 4)}, size


@pytest.mark.parametrize("damage", [b"\x00" * 40, np.full(10, np.nan, "<f4").tobytes()], ids=["zeros", "nan"])
@pytest.mark.parametrize("has_checksums", [True, False])
def test_what_a_power_cut_left_in_place_of_a_row_is_lost(tmp_path: Path, damage: bytes, has_checksums: bool) -> None:
    write(tmp_path, rows(3))
    content = (tmp_path / VECTORS).read_bytes()
    (tmp_path / VECTORS).write_bytes(content[:-80] + damage + content[-40:])
    assert list(lost_vectors(tmp_path, checked(3) if has_checksums else samples(3))) == ["i1"]


def test_another_items_vectors_are_not_taken_for_ones_own(tmp_path: Path) -> None:
    write(tmp_path, rows(3)[::-1])
    assert set(lost_vectors(tmp_path, checked(3))) == {"i0", "i2"}


@pytest.mark.parametrize("content", [b"", b"no vectors at all", b"\x93NUMPY"])
def test_with_a_broken_or_missing_file_all_rows_are_lost(tmp_path: Path, content: bytes) -> None:
    (tmp_path / VECTORS).write_bytes(content)
    assert set(lost_vectors(tmp_path, checked(2))) == {"i0", "i1"}
    (tmp_path / VECTORS).unlink()
    assert set(lost_vectors(tmp_path, checked(2))) == {"i0", "i1"}


def test_a_log_never_fills_a_shorter_file_up(tmp_path: Path) -> None:
    write(tmp_path, rows(3))
    with pytest.raises(RecordError, match="shorter than the 5 rows"), VectorLog(tmp_path, samples(5)):
        pass
    assert (tmp_path / VECTORS).stat().st_size == 128 + 3 * 40


def test_a_file_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    (tmp_path / VECTORS).symlink_to(precious)
    with pytest.raises(RecordError, match="is a link"), VectorLog(tmp_path, {}) as log:
        log.append(rows(1)[0])
    assert precious.read_bytes() == b"mine"
