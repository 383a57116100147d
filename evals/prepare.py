"""Fetch a benchmark's official files into a plain local folder, checked against pinned digests."""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import tarfile
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evals.store import write_atomic
from evals.video_sources import check_source
from tasks.digests import file_sha256
from tasks.errors import DataError
from tasks.registry import Benchmark, RemoteFile

if TYPE_CHECKING:
    from pooch.typing import Downloader

ARCHIVE = ".tar.gz"
# Ours: the largest file of annotations known here has 7 MB.
MOST_BYTES = 256 << 20
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is now in place, and whether it had to be downloaded."""

    path: Path
    downloaded: bool


def fetch(benchmark: Benchmark, folder: Path, source: str | None = None) -> list[Fetched]:
    """Put every official file into `folder`; files already there with the right digest need no network.

    `source` replaces the official place by a mirror (a base URL). Raises DataError when a file can't be had
    or is not the official one; a wrong local file is never overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [fetch_file(folder, remote, source) for remote in benchmark.files]


def video_sources(benchmark: Benchmark, *, official: bool, mirrors: Sequence[str]) -> list[str]:
    """Where to look for videos, in order. Raises DataError on what is no source, or where there is no official one."""
    if official and not benchmark.video_archive:
        msg = f"{benchmark.name} has no place of videos that needs no account: see 'longvid {benchmark.name} prepare'"
        raise DataError(msg)
    for mirror in mirrors:
        check_source(mirror)
    return [*([benchmark.video_archive] if official else []), *mirrors]


def fetch_file(folder: Path, remote: RemoteFile, source: str | None) -> Fetched:
    """One file: verified if present, downloaded if not."""
    path = folder / remote.name
    if path.is_file():
        if file_sha256(path) != remote.sha256:
            msg = f"{path} is not the official file (its SHA-256 differs); move it away and prepare again"
            raise DataError(msg)
        return Fetched(path, downloaded=False)
    url = f"{source.rstrip('/')}/{remote.name}" if source else remote.url
    if not url.startswith(("https://", "http://")):
        msg = f"'{source}' is not a web address; a mirror's begins with https:// or http://"
        raise DataError(msg)
    if url.endswith(ARCHIVE):
        return fetch_member(path, url, remote.sha256)
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    try:
        pooch.retrieve(
            url, known_hash=f"sha256:{remote.sha256}", fname=remote.name, path=folder, downloader=bounded_downloader()
        )
    except (requests.RequestException, OSError) as error:
        msg = f"could not download {url} ({type(error).__name__}: {error}); put the file at {path} by hand"
        raise DataError(msg) from error
    except ValueError as error:
        msg = f"{url} gave a file whose SHA-256 is not the pinned one; nothing was kept ({error})".split("\n")[0]
        raise DataError(msg) from error
    return Fetched(path, downloaded=True)


class Bound:
    """Counts a download's bytes, as pooch lets a progress bar do, and ends it where they are too many."""

    def __init__(self) -> None:
        self.total = self.come = 0

    def update(self, count: int) -> None:
        """Take note of more bytes. Raises OSError."""
        self.come += count
        if max(self.total, self.come) > MOST_BYTES + count:
            msg = f"more than {MOST_BYTES >> 20} MiB come where a benchmark's annotations are due"
            raise OSError(msg)

    def reset(self) -> None:
        """Called before the last update, which counts everything once more."""
        self.total = self.come = 0

    def close(self) -> None:
        """Nothing to put away."""


def bounded_downloader() -> Downloader:
    """A download by HTTP that a server can't go on with for ever."""
    import pooch

    return pooch.HTTPDownloader(progressbar=Bound())


class Unpacked(io.RawIOBase):
    """What a .gz file unpacks to. Raises OSError where that is too much: a small file can claim any size."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = gzip.open(path)  # noqa: SIM115 - closed by `close`
        self._left = MOST_BYTES

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(CHUNK if size < 0 else min(size, CHUNK))
        self._left -= len(data)
        if self._left < 0:
            msg = f"it unpacks to more than {MOST_BYTES >> 20} MiB"
            raise OSError(msg)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


def member_of(archive: Path, name: str) -> bytes:
    """The first file of that name in a .tar.gz, whatever its folder; nothing where there is none.

    Raises OSError, EOFError, tarfile.TarError or zlib.error for an archive that is damaged or too large.
    """
    with Unpacked(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
        for member in tar:
            if member.isfile() and Path(member.name).name == name:
                file = tar.extractfile(member)
                return file.read() if file else b""
    return b""


def fetch_member(path: Path, url: str, sha256: str) -> Fetched:
    """A file published inside a .tar.gz: only the member of that name is read, and kept if its digest fits.

    Raises DataError when the archive can't be had or lacks the file.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory(prefix="longvid-") as folder:
            archive = pooch.retrieve(
                url, known_hash=None, fname="archive", path=folder, downloader=bounded_downloader()
            )
            data = member_of(Path(archive), path.name)
    except (requests.RequestException, OSError, EOFError, tarfile.TarError, zlib.error) as error:
        msg = f"could not get {path.name} out of {url} ({type(error).__name__}: {error}); put it at {path} by hand"
        raise DataError(msg) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        msg = f"{url} holds no {path.name} with the pinned SHA-256; nothing was kept"
        raise DataError(msg)
    write_atomic(path, data.decode("utf-8"))
    return Fetched(path, downloaded=True)
