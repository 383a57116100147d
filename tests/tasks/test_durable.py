"""Files appear whole or not at all, and are readable for everybody."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tasks.durable import whole_file, write_atomic


def test_a_file_that_could_not_be_written_whole_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    write_atomic(path, "before")

    def write_half() -> None:
        with whole_file(path) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert [file.name for file in tmp_path.iterdir()] == ["figures.json"]
    assert path.read_text() == "before"


def test_a_whole_file_takes_the_place_of_the_one_before_and_can_be_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_text("before")
    with whole_file(path, tmp_path) as unfinished:
        unfinished.write_bytes(b"after")
        assert path.read_text() == "before"
    assert path.read_bytes() == b"after"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_disk_that_is_full_is_told_with_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"

    def write() -> None:
        with whole_file(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as caught:
        write()
    assert caught.value.filename == str(path)


def test_a_folder_that_is_not_there_is_told_with_the_files_name_and_no_temporary_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_atomic(tmp_path / "none" / "figures.json", "x")
    assert caught.value.filename == str(tmp_path / "none" / "figures.json")
