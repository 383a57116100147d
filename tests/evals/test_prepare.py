"""Official files come from the network once, checked; nothing wrong is kept and nothing local is overwritten."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from evals.benchmarks import benchmark_folder
from evals.fetch import fetch
from tasks.digests import file_sha256
from tasks.errors import DataError
from tasks.registry import Benchmark, RemoteFile, benchmarks
from tests.evals.conftest import Handler, assert_one_line, longvid, serving

CONTENT = {"one.json": b'{"a": 1}', "two.json": b'{"b": 2}' * 1000}


class Mirror(Handler):
    """Serves `CONTENT`, and the official files of a folder where there is one."""

    folder: Path | None = None
    asked: list[str] = []  # noqa: RUF012 - one list for the class is meant: the test reads it

    def do_GET(self) -> None:  # noqa: N802 - the library's name
        name = self.path.rpartition("/")[2]
        self.asked.append(name)
        body = CONTENT.get(name)
        if body is None and self.folder is not None:
            body = (self.folder / name).read_bytes()
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")


@pytest.fixture
def mirror() -> Iterator[str]:
    """A mirror's address."""
    Mirror.asked.clear()
    with serving(Mirror) as address:
        yield address


def packed(**members: bytes) -> bytes:
    """A .tar.gz of the members, each in a folder of its own, as benchmarks publish them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(f"folder/{name}.json")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def in_archive(address: str, name: str = "one.json", sha256: str | None = None) -> Benchmark:
    """A benchmark whose one file is published inside an archive."""
    digest = sha256 or hashlib.sha256(CONTENT["one.json"]).hexdigest()
    return replace(benchmarks().entries["egoschema"], files=(RemoteFile(name, f"{address}/all.tar.gz", digest),))


def benchmark(mirror: str, *names: str) -> Benchmark:
    """A benchmark of the named files, with their true digests."""
    files = tuple(
        RemoteFile(name, f"{mirror}/{name}", hashlib.sha256(CONTENT.get(name, b"other")).hexdigest()) for name in names
    )
    return replace(benchmarks().entries["egoschema"], files=files)


def test_files_are_downloaded_as_they_are(mirror: str, tmp_path: Path) -> None:
    fetched = fetch(benchmark(mirror, *CONTENT), tmp_path / "data")
    assert [file.downloaded for file in fetched] == [True, True]
    assert {file.path.name: file.path.read_bytes() for file in fetched} == CONTENT
    assert {path.name for path in (tmp_path / "data").iterdir()} == set(CONTENT)


def test_a_second_time_needs_no_network(tmp_path: Path) -> None:
    with serving(Mirror) as address:
        wanted = benchmark(address, *CONTENT)
        fetch(wanted, tmp_path)
    assert [file.downloaded for file in fetch(wanted, tmp_path)] == [False, False]


def test_only_the_missing_file_is_downloaded(mirror: str, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_bytes(CONTENT["one.json"])
    fetch(benchmark(mirror, *CONTENT), tmp_path)
    assert Mirror.asked == ["two.json"]


def test_a_mirror_takes_the_place_of_the_official_address(mirror: str, tmp_path: Path) -> None:
    fetch(benchmark("http://127.0.0.1:1", *CONTENT), tmp_path, f"{mirror}/sub/")
    assert file_sha256(tmp_path / "two.json") == hashlib.sha256(CONTENT["two.json"]).hexdigest()


def test_a_file_with_the_wrong_digest_is_refused_and_not_kept(mirror: str, tmp_path: Path) -> None:
    wanted = benchmark(mirror, "one.json")
    wrong = replace(wanted, files=(replace(wanted.files[0], sha256="0" * 64),))
    with pytest.raises(DataError, match=r"one\.json gave a file whose SHA-256 is not the pinned one"):
        fetch(wrong, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_local_file_is_refused_and_not_overwritten(mirror: str, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_bytes(b"my notes")
    with pytest.raises(DataError, match=r"one\.json is not the official file"):
        fetch(benchmark(mirror, "one.json"), tmp_path)
    assert (tmp_path / "one.json").read_bytes() == b"my notes"
    assert Mirror.asked == []


def test_a_file_that_the_server_lacks_is_one_error_that_says_what_to_do(mirror: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"could not download .*none\.json .*404.*by hand"):
        fetch(benchmark(mirror, "none.json"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """An archive on the mirror that holds the file among others; random letters, so that packing them takes a while."""
    noise = bytes(Random(0).choices(range(97, 103), k=300_000))
    body = packed(zero=noise, one=CONTENT["one.json"], two=noise)
    monkeypatch.setitem(CONTENT, "all.tar.gz", body)
    return body


def test_a_file_is_taken_out_of_the_archive_it_is_published_in(mirror: str, archive: bytes, tmp_path: Path) -> None:
    assert [file.downloaded for file in fetch(in_archive(mirror), tmp_path)] == [True]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"one.json": CONTENT["one.json"]}


def test_a_member_with_the_wrong_digest_is_refused_and_not_kept(mirror: str, archive: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all\.tar\.gz holds no one\.json with the pinned SHA-256"):
        fetch(in_archive(mirror, sha256="0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_without_the_file_is_refused(mirror: str, archive: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all\.tar\.gz holds no other\.json"):
        fetch(in_archive(mirror, "other.json"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [10, 60_000, 150_000])
def test_a_truncated_archive_is_one_error_that_says_what_to_do(
    mirror: str, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setitem(CONTENT, "all.tar.gz", archive[:kept])
    wanted = in_archive(mirror, "two.json", hashlib.sha256(b"").hexdigest())
    with pytest.raises(DataError, match=r"could not get two\.json out of .*all\.tar\.gz .*by hand"):
        fetch(wanted, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_archive_is_one_error(
    mirror: str, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = archive[:150_000] + bytes(64) + archive[150_064:]
    monkeypatch.setitem(CONTENT, "all.tar.gz", damaged)
    with pytest.raises(DataError, match=r"two\.json"):
        fetch(in_archive(mirror, "two.json"), tmp_path)


def test_an_archive_that_is_none_is_one_error(mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONTENT, "all.tar.gz", b"<html>moved</html>")
    with pytest.raises(DataError, match=r"could not get one\.json"):
        fetch(in_archive(mirror), tmp_path)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("name", ["one", "other"])
def test_an_archive_that_unpacks_to_gigabytes_is_given_up(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, form: int
) -> None:
    """A few bytes claim 4 MiB where 1 MiB is allowed here: in the wanted file, or in one before it."""
    monkeypatch.setattr("evals.fetch.MOST_BYTES", 1 << 20)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=form) as tar:
        info = tarfile.TarInfo(f"folder/{name}.json")
        info.size = 4 << 20
        tar.addfile(info, io.BytesIO(bytes(4 << 20)))
    monkeypatch.setitem(CONTENT, "all.tar.gz", buffer.getvalue())
    with pytest.raises(DataError, match="it unpacks to more than 1 MiB"):
        fetch(in_archive(mirror), tmp_path)


def test_a_download_without_end_is_given_up(mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.fetch.MOST_BYTES", 1 << 16)
    monkeypatch.setitem(CONTENT, "one.json", bytes(1 << 20))
    with pytest.raises(DataError, match=r"could not download .*the download exceeds 0 MiB"):
        fetch(benchmark(mirror, "one.json"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["mirror.example/files", "ftp://mirror", "/local/folder"])
def test_a_mirror_that_is_no_web_address_is_refused_as_that(tmp_path: Path, source: str) -> None:
    with pytest.raises(DataError, match="is not a web address"):
        fetch(benchmark("http://127.0.0.1:1", "one.json"), tmp_path, source)


def test_an_unreachable_server_is_one_clear_line(tmp_path: Path) -> None:
    done = longvid("egoschema", "prepare", "--data", tmp_path, "--source", "http://127.0.0.1:1")
    assert_one_line(done, "could not download http://127.0.0.1:1/questions.json", "by hand")
    assert "(no connection: " in done.stderr
    assert "HTTPConnectionPool" not in done.stderr


def test_prepare_fetches_the_real_files_and_says_what_the_videos_need(
    mirror: str, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mirror, "folder", shared_data / "egoschema")
    done = longvid("egoschema", "prepare", "--data", tmp_path, "--source", mirror)
    assert done.returncode == 0, done.stderr
    assert "egoschema@500: 500 items, 0 with their video" in done.stdout
    assert "egoschema@5031: 5031 items" in done.stdout
    assert f"{tmp_path}/egoschema/videos/<q_uid>.mp4" in done.stdout
    assert sorted(Mirror.asked) == ["questions.json", "subset_answers.json", "uid_to_ego4d.json"]


def test_prepare_works_offline_from_a_folder_that_is_there(shared_data: Path) -> None:
    done = longvid("egoschema", "prepare", "--data", shared_data, "--source", "http://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("verified") == 3


def test_the_data_folder_is_found_by_option_before_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = benchmarks().entries["egoschema"]
    for root in ("given", "set"):
        (tmp_path / root / "egoschema").mkdir(parents=True)
        (tmp_path / root / "egoschema" / "questions.json").touch()
    monkeypatch.setenv("LONGVID_DATA", str(tmp_path / "set"))
    assert benchmark_folder(wanted, None) == tmp_path / "set" / "egoschema"
    assert benchmark_folder(wanted, tmp_path / "given") == tmp_path / "given" / "egoschema"


def test_missing_data_is_refused_with_the_places_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"no egoschema files in {tmp_path}/egoschema.*prepare.*LONGVID_DATA"):
        benchmark_folder(benchmarks().entries["egoschema"], tmp_path)


def test_of_files_that_are_the_users_to_get_it_is_said_where_from(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no cgbench files in .*cgbench_mini\.json.*https://huggingface\.co/datasets/CG-Bench"
    ):
        benchmark_folder(benchmarks().entries["cgbench"], tmp_path)
