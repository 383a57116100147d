"""Fetch a benchmark's official files into a plain local folder, checked against pinned digests."""

from __future__ import annotations

import hashlib
import logging
import tarfile
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.store import write_atomic
from evals.video_sources import check_source
from tasks.digests import file_sha256
from tasks.errors import DataError
from tasks.registry import Benchmark, RemoteFile

ARCHIVE = ".tar.gz"


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
        pooch.retrieve(url, known_hash=f"sha256:{remote.sha256}", fname=remote.name, path=folder)
    except (requests.RequestException, OSError) as error:
        msg = f"could not download {url} ({type(error).__name__}: {error}); put the file at {path} by hand"
        raise DataError(msg) from error
    except ValueError as error:
        msg = f"{url} gave a file whose SHA-256 is not the pinned one; nothing was kept ({error})".split("\n")[0]
        raise DataError(msg) from error
    return Fetched(path, downloaded=True)


def fetch_member(path: Path, url: str, sha256: str) -> Fetched:
    """A file published inside a .tar.gz: only the member of that name is read, and kept if its digest fits.

    Raises DataError when the archive can't be had or lacks the file.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory(prefix="longvid-") as folder:
            archive = pooch.retrieve(url, known_hash=None, fname="archive", path=folder)
            with tarfile.open(archive) as tar:
                member = next((m for m in tar if m.isfile() and Path(m.name).name == path.name), None)
                file = tar.extractfile(member) if member else None
                data = file.read() if file else b""
    except (requests.RequestException, OSError, EOFError, tarfile.TarError, zlib.error) as error:
        msg = f"could not get {path.name} out of {url} ({type(error).__name__}: {error}); put it at {path} by hand"
        raise DataError(msg) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        msg = f"{url} holds no {path.name} with the pinned SHA-256; nothing was kept"
        raise DataError(msg)
    write_atomic(path, data.decode("utf-8"))
    return Fetched(path, downloaded=True)
