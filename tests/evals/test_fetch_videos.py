"""Videos come from the first place that has them, whole and checked, and what is missing is named."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from evals.fetch import Offer, VideoReport, check_source, fetch_videos, hub_files, open_local, open_web, take
from tasks.errors import DataError
from tests.evals.conftest import Handler, assert_one_line, longvid, serving

CONTENT = {name: name.encode() * 50_000 for name in ("one", "two", "-three_")}


def ignore(key: str) -> None:
    """No progress to show."""


def fetched(target: Path, *sources: object) -> VideoReport:
    return fetch_videos(list(CONTENT), target, [str(source) for source in sources], ignore)


def contents(target: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (target / "videos").iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two of the three videos, one of them deeper down and with another ending."""
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "one.mp4").write_bytes(CONTENT["one"])
    (source / "deep" / "two.MKV").write_bytes(CONTENT["two"])
    (source / "stranger.mp4").write_bytes(b"x")
    return source


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A .zip with all three videos, stored as packers of videos do, among other files."""
    path = tmp_path / "served" / "all.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        for name, data in CONTENT.items():
            file.writestr(f"val/{name}.mp4", data)
            file.writestr(f"__MACOSX/val/._{name}.mp4", b"side file")
        file.writestr("stranger.mp4", b"x")
    return path


class Ranges(Handler):
    """Serves a folder by ranges, as video hosts do; breaks off after `patience` bytes of each answer."""

    root = Path()
    whole_files_only = False
    sent: list[int] = []  # noqa: RUF012 - one list for the class is meant: the test reads it

    def do_GET(self) -> None:  # noqa: N802 - the library's name
        path = self.root / self.path.lstrip("/")
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not path.is_file() or wanted is None:
            self.send_error(404)
            return
        data = path.read_bytes()
        first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
        body = data if self.whole_files_only else data[first : last + 1]
        self.sent.append(len(body))
        self.send_response(200 if self.whole_files_only else 206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def web(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The archive's address."""
    monkeypatch.setattr(Ranges, "root", archive.parent)
    monkeypatch.setattr(Ranges, "sent", [])
    with serving(Ranges) as address:
        yield f"{address}/all.zip"


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_folder_gives_what_it_has_and_the_rest_is_named(folder: Path, tmp_path: Path, form: str) -> None:
    report = fetched(tmp_path, form.format(folder))
    assert (set(report.fetched), report.missing, report.faults) == ({"one", "two"}, ("-three_",), {})
    assert contents(tmp_path) == {"one.mp4": CONTENT["one"], "two.mkv": CONTENT["two"]}


def test_what_is_there_is_left_as_it_is(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "one.webm").write_bytes(b"mine")
    assert fetched(tmp_path, folder).fetched == ("two",)
    assert contents(tmp_path) == {"one.webm": b"mine", "two.mkv": CONTENT["two"]}


def test_a_later_source_fills_the_gaps_of_an_earlier_one(folder: Path, web: str, tmp_path: Path) -> None:
    report = fetched(tmp_path, folder, web)
    assert (report.fetched[-1], report.missing) == ("-three_", ())
    assert contents(tmp_path)["-three_.mp4"] == CONTENT["-three_"]


def test_of_a_web_archive_only_the_wanted_members_travel(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evals.fetch.PIECE", 1 << 12)
    assert fetch_videos(["two"], tmp_path, [web], ignore).fetched == ("two",)
    assert contents(tmp_path) == {"two.mp4": CONTENT["two"]}
    assert sum(Ranges.sent) < len(CONTENT["two"]) + (1 << 16)


def test_archives_inside_a_folder_are_looked_into(archive: Path, tmp_path: Path) -> None:
    assert set(fetched(tmp_path, archive.parent).fetched) == set(CONTENT)


@pytest.fixture
def tar(tmp_path: Path) -> bytes:
    """A .tar with all three videos among other files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as file:
        for name, data in {"val/notes.txt": b"x", **{f"val/{n}.mp4": d for n, d in CONTENT.items()}}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("val/four.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    return made.getvalue()


@pytest.mark.parametrize(
    "names",
    [
        ["videos.tar"],
        ["videos.tar.part.aa", "videos.tar.part.ab", "videos.tar.part.ac"],
        ["videos.tar.partaa", "videos.tar.partab"],
        [f"videos.tar.{number}" for number in range(8, 12)],
        ["videos.tar.001", "videos.tar.002"],
    ],
)
def test_a_tar_is_read_whole_or_in_parts(tar: bytes, names: list[str], tmp_path: Path) -> None:
    source = tmp_path / "tars"
    source.mkdir()
    size = -(-len(tar) // len(names))
    for number, name in enumerate(names):
        (source / name).write_bytes(tar[number * size : (number + 1) * size])
    report = fetch_videos([*CONTENT, "four"], tmp_path / "to", [str(source)], lambda _: None)
    assert contents(tmp_path / "to") == {f"{name}.mp4": data for name, data in CONTENT.items()}
    assert report.missing == ("four",)


def test_a_tar_that_lacks_a_part_is_told_and_what_it_had_is_kept(tar: bytes, tmp_path: Path) -> None:
    source = tmp_path / "tars"
    source.mkdir()
    (source / "videos.tar.part.aa").write_bytes(tar[:1800])
    report = fetch_videos([*CONTENT], tmp_path / "to", [str(source)], lambda _: None)
    assert "a part is missing after videos.tar.part.aa" in "".join(report.faults.values())
    assert set(report.fetched).isdisjoint(report.missing)
    assert set(contents(tmp_path / "to")) == {f"{name}.mp4" for name in report.fetched}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_may_be_named_itself(tar: bytes, archive: Path, kind: str, tmp_path: Path) -> None:
    (tmp_path / "v.tar").write_bytes(tar)
    source = str({"zip": archive, "tar": tmp_path / "v.tar"}[kind])
    check_source(source)
    assert not fetch_videos([*CONTENT], tmp_path / "to", [source], lambda _: None).missing


def test_a_damaged_member_is_told_and_the_next_source_tried(folder: Path, archive: Path, tmp_path: Path) -> None:
    data = archive.read_bytes()
    archive.write_bytes(data.replace(CONTENT["one"], b"x" + CONTENT["one"][1:]))
    report = fetched(tmp_path, archive.parent, folder)
    assert (report.missing, list(report.faults)) == ((), [f"one from {archive.parent}"])
    assert contents(tmp_path)["one.mp4"] == CONTENT["one"]


def test_a_truncated_archive_is_told_and_the_next_source_tried(folder: Path, archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:100_000])
    report = fetched(tmp_path, archive.parent, folder)
    assert set(report.fetched) == {"one", "two"}
    assert "BadZipFile" in report.faults[str(archive.parent)]


def test_a_server_without_ranges_is_told(web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ranges, "whole_files_only", True)
    report = fetched(tmp_path, web)
    assert report.missing == tuple(CONTENT)
    assert "only sends whole files" in report.faults[web]


def test_an_unreachable_source_is_told_and_the_next_one_tried(folder: Path, tmp_path: Path) -> None:
    gone = "http://127.0.0.1:1/all.zip"
    report = fetched(tmp_path, gone, folder)
    assert (set(report.fetched), list(report.faults)) == ({"one", "two"}, [gone])


class BreaksOff:
    """A reader whose connection is lost after some bytes of each opening; it remembers where reading began."""

    def __init__(self, path: Path, after: int) -> None:
        self.path, self.after, self.starts = path, after, list[int]()

    def __call__(self) -> Any:
        file = open_local(self.path)
        read, limit = file.read, self.after

        class Reader:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *error: object) -> None:
                file.close()

            def seek(_, offset: int) -> int:  # noqa: N805 - the outer self is needed
                self.starts.append(offset)
                return file.seek(offset)

            def read(_, size: int) -> bytes:  # noqa: N805
                if file.tell() - self.starts[-1] >= limit:
                    raise ConnectionResetError("lost")
                return read(min(size, limit))

        return Reader()


def test_a_broken_download_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    data = CONTENT["one"]
    reader = BreaksOff(folder / "one.mp4", 60_000)
    offer = Offer("one.mp4", len(data), reader, sha256=hashlib.sha256(data).hexdigest())
    target = tmp_path / "videos"
    assert "ConnectionResetError" in take(offer, target)
    assert not (target / "one.mp4").exists()
    assert "ConnectionResetError" in take(offer, target)
    assert take(offer, target) == ""
    assert reader.starts == [0, 60_000, 120_000]
    assert contents(tmp_path) == {"one.mp4": data}


def test_a_part_that_cannot_be_checked_is_begun_anew(folder: Path, tmp_path: Path) -> None:
    reader = BreaksOff(folder / "one.mp4", 60_000)
    offer = Offer("one.mp4", len(CONTENT["one"]), reader)
    assert [take(offer, tmp_path / "videos") for _ in range(2)] == ["ConnectionResetError: lost"] * 2
    assert reader.starts == [0, 0]


@pytest.mark.parametrize(
    ("known", "fault"), [({"sha256": "0" * 64}, "SHA-256"), ({"crc32": 1}, "CRC-32"), ({"size": 7}, "instead of 7")]
)
def test_a_video_that_is_not_the_published_one_is_not_kept(
    folder: Path, tmp_path: Path, known: dict[str, Any], fault: str
) -> None:
    offer = Offer("one.mp4", **{"size": None, "open": lambda: open_local(folder / "one.mp4"), **known})
    assert fault in take(offer, tmp_path / "videos")
    assert contents(tmp_path) == {}


class Hub(Ranges):
    """The two addresses of a hub that listing and reading a data set take."""

    def do_GET(self) -> None:  # noqa: N802 - the library's name
        path = self.path.partition("?")[0]
        if path == "/api/datasets/some/cooking/tree/v2":
            self.answer(tree(self.root))
        elif path.startswith("/datasets/some/cooking/resolve/v2/"):
            self.path = path.removeprefix("/datasets/some/cooking/resolve/v2/")
            super().do_GET()
        else:
            self.send_error(404)

    def answer(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def tree(root: Path) -> list[dict[str, Any]]:
    rows = []
    for path in sorted(root.rglob("*")):
        if path.is_file():
            size, digest = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
            lfs = {"oid": digest, "size": size, "pointerSize": 130}
            rows.append(
                {"type": "file", "oid": "a" * 40, "size": size, "path": str(path.relative_to(root)), "lfs": lfs}
            )
    return rows


@pytest.fixture
def hub(folder: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A hub data set with the folder's videos and the archive."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="pip install 'longvid[llm]'")
    archive.rename(folder / "all.zip")
    monkeypatch.setattr(Hub, "root", folder)
    with serving(Hub) as address:
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield "hf:some/cooking@v2"


def test_a_hub_data_set_gives_single_videos_and_those_of_its_archives(hub: str, tmp_path: Path) -> None:
    report = fetched(tmp_path, hub)
    assert (report.missing, report.faults) == ((), {})
    assert contents(tmp_path) == {
        "one.mp4": CONTENT["one"],
        "two.mkv": CONTENT["two"],
        "-three_.mp4": CONTENT["-three_"],
    }


def test_a_hub_data_set_tells_its_files_digests(hub: str) -> None:
    digests = {offer.name: offer.sha256 for offer in hub_files(hub.removeprefix("hf:"))}
    assert digests["one.mp4"] == hashlib.sha256(CONTENT["one"]).hexdigest()


def test_a_hub_data_set_that_is_not_there_is_told(hub: str, tmp_path: Path) -> None:
    report = fetched(tmp_path, "hf:some/other")
    assert report.missing == tuple(CONTENT)
    assert "hf:some/other" in report.faults["hf:some/other"]


def test_a_hub_data_set_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DataError, match=r"needs huggingface_hub: pip install"):
        hub_files("some/cooking")


@pytest.mark.parametrize("source", ["/no/such/folder", "ftp://mirror/all.zip", "https://mirror/page", "hf:dataset"])
def test_what_is_no_source_is_refused_before_anything_is_fetched(source: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a source of videos"):
        check_source(source)
    assert_one_line(longvid("egoschema", "prepare", "--data", tmp_path, "--mirror", source), "not a source of videos")
    assert list(tmp_path.iterdir()) == []


def test_a_benchmark_without_an_open_place_says_so(tmp_path: Path) -> None:
    assert_one_line(longvid("egoschema", "prepare", "--data", tmp_path, "--videos"), "need no account")


def test_a_web_file_reads_like_the_file_itself(web: str, archive: Path) -> None:
    with open_web(web) as file:
        assert file.seek(0, 2) == archive.stat().st_size
        file.seek(1000)
        assert file.read(5000) == archive.read_bytes()[1000:6000]
        file.seek(-10, 2)
        assert file.read() == archive.read_bytes()[-10:]


def test_prepare_fetches_from_a_mirror_and_names_what_is_missing(shared_data: Path, tmp_path: Path) -> None:
    data, source = tmp_path / "data", tmp_path / "videos"
    (data / "youcook2").mkdir(parents=True)
    for path in (shared_data / "youcook2").glob("*_*.*"):
        (data / "youcook2" / path.name).symlink_to(path)
    source.mkdir()
    (source / "sv8jRCmi3Ro.mp4").write_bytes(b"a video")
    done = longvid("youcook2-summary", "prepare", "--data", data, "--mirror", source)
    assert done.returncode == 0, done.stderr
    assert (data / "youcook2" / "videos" / "sv8jRCmi3Ro.mp4").read_bytes() == b"a video"
    last = done.stdout.splitlines()[-1]
    assert last.startswith("456 of 457 videos are missing (https://www.youtube.com/watch?v={id}): ")
    assert "Jtusyjv7GiY" in last
    assert "sv8jRCmi3Ro" not in last


def test_a_member_that_claims_a_thousand_times_its_size_is_not_unpacked(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with zipfile.ZipFile(source / "all.zip", "w", zipfile.ZIP_DEFLATED) as file, file.open("one.mp4", "w") as member:
        for _ in range(80):
            member.write(bytes(1 << 20))
    report = fetch_videos(["one"], tmp_path / "data", [str(source)], ignore)
    assert report.missing == ("one",)
    assert "would unpack to 83886080" in next(iter(report.faults.values()))
    assert not (tmp_path / "data" / "videos").exists()


def test_a_server_that_sends_more_than_the_range_is_not_read_on(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(handler: Ranges) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", "bytes 0-0/1000")
        handler.end_headers()
        with suppress(OSError):
            while True:
                handler.wfile.write(bytes(1 << 16))

    monkeypatch.setattr(Ranges, "do_GET", endless)
    report = fetch_videos(["one"], tmp_path, [web], ignore)
    assert "sends more than it is asked for" in report.faults[web]


@pytest.mark.parametrize("mirror", ["http://127.0.0.1:1/all.zip", "{empty}"], ids=["unreachable", "has none"])
def test_prepare_does_not_end_well_where_every_source_failed(shared_data: Path, tmp_path: Path, mirror: str) -> None:
    data, empty = tmp_path / "data", tmp_path / "empty"
    (data / "youcook2").mkdir(parents=True)
    empty.mkdir()
    for path in (shared_data / "youcook2").glob("*_*.*"):
        (data / "youcook2" / path.name).symlink_to(path)
    done = longvid("youcook2-summary", "prepare", "--data", data, "--mirror", mirror.format(empty=empty))
    assert done.returncode == 1
    assert "error: videos are missing" in done.stderr
