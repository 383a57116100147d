"""A run directory survives kills, full disks and foreign files."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evals import store
from evals.record import OfficialScore, Run, Sample
from evals.store import (
    SampleLog,
    SampleReader,
    locked,
    read_official,
    read_results,
    read_row,
    read_run,
    read_samples,
    write_atomic,
    write_row,
)
from tasks.errors import RecordError
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.conftest import ROOT, ToyModel, run_toy


def sample(key: str, answer: int = 0) -> Sample:
    return Sample(id=key, cluster="video", answer=answer, raw=str(answer), rule="given")


def write_lines(folder: Path, *rows: Sample, tail: bytes = b"") -> Path:
    path = folder / "samples.jsonl"
    path.write_bytes(b"".join(row.model_dump_json().encode() + b"\n" for row in rows) + tail)
    return path


def test_samples_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [sample("a"), sample("b", 3)]
    with SampleLog(tmp_path) as log:
        for row in rows:
            log.append(row)
    assert list(read_samples(tmp_path).values()) == rows


def test_each_row_is_written_before_the_next_item(tmp_path: Path) -> None:
    with SampleLog(tmp_path) as log:
        for number in range(20):
            log.append(sample(str(number)))
            assert len(read_samples(tmp_path)) == number + 1


def test_the_disk_is_waited_for_once_a_second_and_at_the_end_behind_what_rows_refer_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, told = [100.0], list[str]()
    monkeypatch.setattr(store, "monotonic", lambda: now[0])
    monkeypatch.setattr(store.os, "fsync", lambda _file: told.append(f"rows at {now[0]:.1f}"))
    with SampleLog(tmp_path, lambda: told.append("vectors")) as log:
        for seconds in (0.0, 0.5, 0.4, 0.2, 0.3):
            now[0] += seconds
            log.append(sample(str(now[0])))
    assert told == ["vectors", "rows at 100.0", "vectors", "rows at 101.1", "vectors", "rows at 101.4"]


def test_a_folder_without_samples_reads_as_empty(tmp_path: Path) -> None:
    assert read_samples(tmp_path) == {}


def test_the_last_row_of_an_id_counts(tmp_path: Path) -> None:
    write_lines(tmp_path, sample("a", 1), sample("b", 2), sample("a", 4))
    assert read_samples(tmp_path)["a"].answer == 4


def test_a_reader_reads_no_row_twice_and_those_that_were_added_since(tmp_path: Path) -> None:
    reader = SampleReader(tmp_path)
    assert reader.read() == {}
    path = write_lines(tmp_path, sample("a", 1), sample("b", 2), tail=b'{"id": "c"')
    first = dict(reader.read())
    with SampleLog(tmp_path) as log:
        log.append(sample("a", 3), sample("c", 4))
    again = reader.read()
    assert again == read_samples(tmp_path)
    assert [again[key].answer for key in "abc"] == [3, 2, 4]
    assert again["b"] is first["b"]
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(RecordError, match=r"samples\.jsonl, line 5 is damaged"):
        reader.read()


def test_a_reader_of_rows_that_were_removed_meanwhile_has_those_that_are_left(tmp_path: Path) -> None:
    reader = SampleReader(tmp_path)
    path = write_lines(tmp_path, sample("a", 1), sample("b", 2))
    assert list(reader.read()) == ["a", "b"]
    write_lines(tmp_path, sample("b", 3))
    assert {key: row.answer for key, row in reader.read().items()} == {"b": 3}
    path.unlink()
    assert reader.read() == {}


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_last_line_is_dropped_on_reading(tmp_path: Path, cut: int) -> None:
    write_lines(tmp_path, sample("a"), tail=sample("b").model_dump_json().encode()[:cut])
    assert list(read_samples(tmp_path)) == ["a"]


def test_a_whole_row_without_its_line_end_counts_as_torn(tmp_path: Path) -> None:
    write_lines(tmp_path, sample("a"), tail=sample("b").model_dump_json().encode())
    assert list(read_samples(tmp_path)) == ["a"]


def test_a_torn_last_line_is_cut_off_before_appending(tmp_path: Path) -> None:
    path = write_lines(tmp_path, sample("a"), tail=b'{"id": "b", "clus')
    with SampleLog(tmp_path) as log:
        log.append(sample("c"))
    assert list(read_samples(tmp_path)) == ["a", "c"]
    assert path.read_bytes().count(b"\n") == 2


def test_a_first_line_that_is_torn_leaves_an_empty_file(tmp_path: Path) -> None:
    path = write_lines(tmp_path, tail=b'{"id": "a"')
    with SampleLog(tmp_path):
        pass
    assert path.read_bytes() == b""


@pytest.mark.parametrize("damage", [b'{"id": "b", "clus', b"", b"\xff\xfe", b'{"id": "b", "cluster": "v", "extra": 1}'])
def test_a_damaged_middle_line_is_refused_with_file_and_line(tmp_path: Path, damage: bytes) -> None:
    first, last = (sample(key).model_dump_json().encode() for key in "ac")
    (tmp_path / "samples.jsonl").write_bytes(b"\n".join([first, damage, last, b""]))
    with pytest.raises(RecordError, match=r"samples\.jsonl, line 2 is damaged"):
        read_samples(tmp_path)


def test_a_full_disk_is_an_error_on_append(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), SampleLog(tmp_path) as log:
        log.append(sample("a"))


def test_an_atomic_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "new, then a character that UTF-8 can't hold: \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_atomic_write_replaces_the_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_atomic(path, "old and longer")
    write_atomic(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_record_files_can_be_read_by_others(tmp_path: Path) -> None:
    write_atomic(tmp_path / "results.json", "x")
    assert stat.S_IMODE((tmp_path / "results.json").stat().st_mode) == 0o644


def test_a_run_comes_back_as_it_was_written(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(), tmp_path / "run", options={"choice": "é"})
    assert read_run(tmp_path / "run").model.options == {"choice": "é"}
    assert read_results(tmp_path / "run") == results


def test_no_official_score_reads_as_none(tmp_path: Path) -> None:
    assert read_official(tmp_path) is None


def test_a_missing_record_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"run\.json does not exist"):
        read_run(tmp_path)


def test_another_schema_version_is_refused_and_named(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(), tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 2}))
    with pytest.raises(RecordError, match=r"run\.json has schema version 2, this version of longvid reads 1"):
        read_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"results": {"acc": 1}}', "metric"),
        ('{"metric": "accuracy", "value": "high", "source": "x"}', "value"),
        ('{"metric": "accuracy", "value": 0.5, "source": "x", "note": 1}', "note"),
        ('{"metric": "accuracy", "value": 0.5', "damaged"),
        ('{"metric": "accuracy", "value": NaN, "source": "x"}', "NaN"),
        ("[]", "not a longvid record"),
        ("", "damaged"),
    ],
)
def test_a_foreign_file_is_refused_with_the_field_named(tmp_path: Path, content: str, named: str) -> None:
    path = tmp_path / "official.json"
    path.write_text(content)
    with pytest.raises(RecordError, match=named) as refusal:
        read_row(path, OfficialScore)
    assert str(path) in str(refusal.value)


def test_a_file_in_another_encoding_is_refused_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(b'{"name": "\xe9"}')
    with pytest.raises(RecordError, match="damaged"):
        read_row(path, Run)


def test_record_files_are_json_that_people_can_read(tmp_path: Path) -> None:
    path = tmp_path / "official.json"
    write_row(path, OfficialScore(metric="accuracy", value=0.5, source="Prüfstand"))
    assert path.read_text(encoding="utf-8").splitlines()[1] == '  "metric": "accuracy",'
    assert "Prüfstand" in path.read_text(encoding="utf-8")


def holder(folder: Path) -> subprocess.Popen[str]:
    """A second process that holds the folder's lock until it is killed."""
    code = (
        "import sys, time; from pathlib import Path; from evals.store import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_lock_keeps_a_second_process_out_and_dies_with_its_holder(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with pytest.raises(RecordError, match="in use by another longvid process"), locked(tmp_path):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
        with locked(tmp_path):
            pass
    finally:
        process.kill()
        process.communicate()


def test_the_lock_can_be_taken_again_after_an_error_inside(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), locked(tmp_path):
        raise ValueError("inside")
    with locked(tmp_path):
        pass


def test_vectors_reach_the_disk_before_the_row_that_names_them(tmp_path: Path) -> None:
    told: list[int] = []
    with SampleLog(tmp_path, lambda: told.append(len(read_samples(tmp_path)))) as log:
        log.append(sample("a").model_copy(update={"vector_row": 0}))
        log.append(sample("b").model_copy(update={"vector_row": 1}))
    assert told[0] == 0
    assert 1 in told[1:]


@pytest.mark.parametrize("name", [".lock", "samples.jsonl"])
def test_a_link_in_the_folder_does_not_empty_the_file_it_points_to(tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine, without a line end")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).symlink_to(precious)
    with pytest.raises(RecordError, match="is a link"), locked(folder), SampleLog(folder):
        pass
    assert precious.read_bytes() == b"mine, without a line end"


def test_a_lock_that_is_a_second_name_of_a_file_leaves_it_as_it_is(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    (tmp_path / ".lock").hardlink_to(precious)
    with locked(tmp_path):
        pass
    assert precious.read_bytes() == b"mine"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_lock_that_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / ".lock")
    with pytest.raises(RecordError, match="not a file"), locked(tmp_path):
        pass


def test_rows_written_to_a_deleted_folder_are_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SYNC_SECONDS", 0.0)
    log = SampleLog(tmp_path).__enter__()
    log.append(sample("a"))
    (tmp_path / "samples.jsonl").unlink()
    with pytest.raises(RecordError, match="deleted or replaced during the run"):
        log.append(sample("b"))


def test_a_long_torn_tail_is_cut_off(tmp_path: Path) -> None:
    path = write_lines(tmp_path, sample("a"), tail=b"x" * 200_000)
    with SampleLog(tmp_path):
        pass
    assert list(read_samples(tmp_path)) == ["a"]
    assert path.stat().st_size < 2_000
