"""Fetch files and videos into a local folder; each file is written atomically.

Official files are checked against pinned digests; videos come from mirrors, archives and the hub.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import logging
import os
import re
import tarfile
import tempfile
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from evals.store import write_atomic
from tasks.digests import file_sha256
from tasks.errors import DataError
from tasks.files import unpacks_too_far
from tasks.registry import Benchmark, RemoteFile
from tasks.video_files import VIDEOS, files_below, is_video_name, video_path

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from pooch.typing import Downloader


PIECE = 8 << 20
CHUNK = 1 << 20
TIMEOUT = (30, 120)
ATTEMPTS = 3
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class WebFile(io.RawIOBase):
    """A seekable file read by HTTP ranges; `size` is the server's.

    Raises OSError if the server has no range requests.
    """

    def __init__(self, url: str, headers: Mapping[str, str] = NO_HEADERS) -> None:
        import requests
        from requests.adapters import HTTPAdapter

        super().__init__()
        self._url = url
        self._session = requests.Session()
        self._session.headers.update(headers)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=ATTEMPTS))
        self._position = 0
        self.size = self._total()

    def _total(self) -> int:
        content_range = self._range(0, 1)[1]
        total = content_range.rpartition("/")[2]
        if not total.isdigit():
            msg = f"{self._url} does not report its size"
            raise OSError(msg)
        return int(total)

    def _range(self, start: int, end: int) -> tuple[bytes, str]:
        """Return bytes [start, end) and the server's Content-Range header."""
        wanted = {"Range": f"bytes={start}-{end - 1}"}
        response = self._session.get(self._url, headers=wanted, timeout=TIMEOUT, stream=True)
        with response:
            response.raise_for_status()
            if response.status_code != 206:
                msg = f"{self._url} is on a server that only sends whole files (HTTP {response.status_code})"
                raise OSError(msg)
            data = bytearray()
            for chunk in response.iter_content(CHUNK):
                data += chunk
                if len(data) > end - start:
                    msg = f"{self._url} is on a server that sends more than it is asked for"
                    raise OSError(msg)
            return bytes(data), response.headers.get("Content-Range", "")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._position + len(view), self.size)
        if end <= self._position:
            return 0
        data, _ = self._range(self._position, end)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._session.close()
        super().close()


def open_web(url: str, headers: Mapping[str, str] = NO_HEADERS) -> IO[bytes]:
    """Open a file of the web, read in pieces of 8 MiB. Raises OSError."""
    return io.BufferedReader(WebFile(url, headers), PIECE)


HUB = "hf:"
ZIP = ".zip"
TAR_PART = re.compile(r"(?P<whole>.+\.tar)(?:[._-]?part[._-]?(?P<part>\w+)|\.(?P<number>\d+|[a-z]{2}))?", re.IGNORECASE)
"""A .tar, or a part of one: `videos.tar`, `videos.tar.part.aa`, `videos.tar.001`."""
# Our choice: videos are already compressed, so no honest archive of them unpacks to many times its size.


@dataclass(frozen=True, slots=True)
class Offer:
    """A file that a source offers. `sha256` and `crc32` are known if the source publishes them.

    `packed` is the size of a member within its archive.
    """

    name: str
    size: int | None
    open: Callable[[], IO[bytes]]
    sha256: str | None = None
    crc32: int | None = None
    packed: int | None = None

    @property
    def stem(self) -> str:
        """The name without folders and suffix: a video's id."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix, in lower case."""
        return PurePosixPath(self.name).suffix.lower()


def check_source(source: str) -> None:
    """Raise DataError for an invalid source, before anything is fetched."""
    is_web_archive = source.startswith(("https://", "http://")) and urlsplit(source).path.endswith(ZIP)
    is_hub = source.startswith(HUB) and source.partition("@")[0].count("/") == 1
    if not is_web_archive and not is_hub and not local_path(source).is_dir() and not is_local_archive(source):
        msg = (
            f"'{source}' is not a source of videos: give a folder, a .zip, a .tar (in parts: the folder that holds "
            f"the parts), https://….zip or {HUB}OWNER/DATASET[@REVISION]"
        )
        raise DataError(msg)


def is_local_archive(source: str) -> bool:
    """Whether a source is a single file that holds videos."""
    path = local_path(source)
    return path.is_file() and (path.suffix.lower() == ZIP or TAR_PART.fullmatch(path.name) is not None)


def local_path(source: str) -> Path:
    """Return the folder that a path or a file:// address names."""
    return Path(unquote(urlsplit(source).path)) if source.startswith("file://") else Path(source).expanduser()


def files_of(source: str) -> list[Offer]:
    """List every file of a source. Raises OSError if it can't be reached."""
    if source.startswith(HUB):
        return hub_files(source.removeprefix(HUB))
    if source.startswith(("https://", "http://")):
        return [Offer(PurePosixPath(urlsplit(source).path).name, None, partial(open_web, source))]
    place = local_path(source)
    paths = [place] if place.is_file() else files_below(place)
    return [Offer(path.name, path.stat().st_size, partial(open_local, path)) for path in paths]


def open_local(path: Path) -> IO[bytes]:
    """Open a local file for reading."""
    return path.open("rb")


def hub_files(dataset: str) -> list[Offer]:
    """List the files of a hub data set at a revision, with their SHA-256.

    Raises OSError, DataError without the library.
    """
    try:
        from huggingface_hub import HfApi, constants, hf_hub_url
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # whichever library it uses
        from huggingface_hub.hf_api import RepoFile
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]
    except ImportError as error:
        msg = f"{HUB}{dataset} needs huggingface_hub: pip install 'longvid[llm]'"
        raise DataError(msg) from error
    name, _, revision = dataset.partition("@")
    if constants.HF_HUB_OFFLINE:
        msg = f"{HUB}{dataset} can't be listed while HF_HUB_OFFLINE is set"
        raise OSError(msg)
    at = revision or None
    try:
        tree = list(HfApi().list_repo_tree(name, recursive=True, repo_type="dataset", revision=at))
    except HTTPError as error:
        msg = f"{HUB}{dataset} can't be listed ({type(error).__name__}: {error})"
        raise OSError(msg) from error
    entries = [entry for entry in tree if isinstance(entry, RepoFile)]
    headers = build_hf_headers()
    return [
        Offer(
            entry.path,
            entry.size,
            partial(open_web, hf_hub_url(name, entry.path, repo_type="dataset", revision=at), headers),
            entry.lfs.sha256 if entry.lfs else None,
        )
        for entry in entries
    ]


def videos_of(source: str, wanted: Collection[str]) -> Iterator[Offer]:
    """Yield the wanted videos that a source has; `wanted` may shrink meanwhile. Archives come last, one at a time.

    Raises OSError or zipfile.BadZipFile if the source or an archive can't be read.
    """
    files = files_of(source)
    yield from (file for file in files if is_video_name(PurePosixPath(file.name)) and file.stem in wanted)
    for file in files:
        if file.suffix != ZIP or not wanted:
            continue
        with closing(file.open()) as stream, zipfile.ZipFile(stream) as archive:
            for info in archive.infolist():
                member = Offer(
                    info.filename,
                    info.file_size,
                    partial(archive.open, info),
                    crc32=info.CRC,
                    packed=info.compress_size,
                )
                if is_video_name(PurePosixPath(member.name)) and member.stem in wanted:
                    yield member
    for parts in tars_among(files):
        if wanted:
            yield from members_of_tar(parts, wanted)


def tars_among(files: Sequence[Offer]) -> list[list[Offer]]:
    """Return the .tar archives among files, each as its parts in order."""
    found: dict[str, dict[tuple[int, str], Offer]] = {}
    for file in files:
        if named := TAR_PART.fullmatch(file.name):
            part = named["part"] or named["number"] or ""
            found.setdefault(named["whole"].lower(), {})[(len(part), part)] = file
    return [[parts[key] for key in sorted(parts)] for parts in found.values()]


def members_of_tar(parts: Sequence[Offer], wanted: Collection[str]) -> Iterator[Offer]:
    """Yield the wanted videos of a .tar; of other members only the headers are read.

    Raises OSError if it can't be read or is truncated.
    """
    try:
        with Joined(parts) as joined, tarfile.open(fileobj=joined, mode="r:") as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if not wanted:
                    return
                if member.isfile() and is_video_name(name) and name.stem in wanted:
                    yield Offer(member.name, member.size, partial(open_member, tar, member))
    except (tarfile.TarError, EOFError) as error:
        msg = f"{parts[0].name}: {error}: it is damaged, or a part is missing after {parts[-1].name}"
        raise OSError(msg) from error


def open_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """Open a member of a .tar. Raises OSError."""
    file = tar.extractfile(member)
    if file is None:
        raise OSError(f"{member.name} is not a file")
    return file


class Joined(io.RawIOBase):
    """The parts of a split file, read as one file. Raises OSError if a part can't be opened."""

    def __init__(self, parts: Sequence[Offer]) -> None:
        super().__init__()
        self._files = [part.open() for part in parts]
        sizes = [file.seek(0, io.SEEK_END) for file in self._files]
        self._ends = list(accumulate(sizes))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ends[-1]}[whence]
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        wanted = self._ends[-1] - self._position if size < 0 else size
        read: list[bytes] = []
        while wanted > 0 and self._position < self._ends[-1]:
            at = bisect_right(self._ends, self._position)
            file = self._files[at]
            file.seek(self._position - (self._ends[at - 1] if at else 0))
            data = file.read(min(wanted, self._ends[at] - self._position))
            if not data:
                break
            read.append(data)
            self._position += len(data)
            wanted -= len(data)
        return b"".join(read)

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True, slots=True)
class VideoReport:
    """Which videos were fetched, which are still missing, and what went wrong, by video or source."""

    fetched: tuple[str, ...]
    missing: tuple[str, ...]
    faults: dict[str, str]


def fetch_videos(
    wanted: Sequence[str], folder: Path, sources: Sequence[str], done: Callable[[str], None]
) -> VideoReport:
    """Fetch the videos missing in `folder`/videos, each from the first source that has it.

    A source or a video that fails is reported, and the next source is tried.
    """
    missing = {key: None for key in wanted if video_path(folder, key) is None}
    fetched: list[str] = []
    faults: dict[str, str] = {}
    for source in sources:
        if not missing:
            break
        try:
            for offer in videos_of(source, missing.keys()):
                fault = take(offer, folder / VIDEOS)
                if fault:
                    faults[f"{offer.stem} from {source}"] = fault
                    continue
                del missing[offer.stem]
                fetched.append(offer.stem)
                done(offer.stem)
        except (OSError, zipfile.BadZipFile) as error:
            faults[source] = f"{type(error).__name__}: {error}"
    return VideoReport(tuple(fetched), tuple(missing), faults)


def take(offer: Offer, folder: Path) -> str:
    """Copy one video into place; return what went wrong, or an empty text.

    The part received is kept under a hidden name that holds the file's digest, and the next try continues it: only the
    same file, and only one that can be verified, is ever continued. Raises OSError if the disk is full.
    """
    if offer.size is not None and offer.packed is not None and unpacks_too_far(offer.size, offer.packed):
        return f"{offer.packed} bytes of the archive would unpack to {offer.size}, which no video does"
    folder.mkdir(parents=True, exist_ok=True)
    digest = offer.sha256 or (None if offer.crc32 is None else f"{offer.crc32:08x}")
    part = folder / f".{offer.stem}{offer.suffix}.{digest or 'unchecked'}.part"
    if digest is None:
        part.unlink(missing_ok=True)
    try:
        with offer.open() as source, part.open("ab") as target:
            source.seek(target.tell())
            copy(source, target, offer.size)
            target.flush()
            os.fsync(target.fileno())
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        return f"{type(error).__name__}: {error}"
    except (EOFError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        # a damaged member, or (RuntimeError) one that is encrypted or packed in a way Python can't read
        part.unlink(missing_ok=True)
        return f"{type(error).__name__}: {error}"
    fault = difference(part, offer)
    if fault:
        part.unlink()
        return fault
    part.replace(folder / f"{offer.stem}{offer.suffix}")
    return ""


def copy(source: IO[bytes], target: IO[bytes], size: int | None) -> None:
    """Copy the rest of a file, but at most one byte beyond its size, which shows that it is too long."""
    while chunk := source.read(CHUNK if size is None else min(CHUNK, size + 1 - target.tell())):
        target.write(chunk)


def difference(path: Path, offer: Offer) -> str:
    """Say how a file differs from what was offered; empty if it is the same."""
    size = path.stat().st_size
    if offer.size is not None and size != offer.size:
        return f"{size} bytes came instead of {offer.size}"
    if offer.sha256 is not None and file_sha256(path) != offer.sha256:
        return "its SHA-256 is not the published one"
    if offer.crc32 is not None and file_crc32(path) != offer.crc32:
        return "its CRC-32 is not the archive's"
    return ""


def file_crc32(path: Path) -> int:
    """Return the CRC-32 of a file's bytes, as archives record it."""
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            value = zlib.crc32(chunk, value)
    return value


TAR = ".tar.gz"
# Our choice: the largest annotation file known has 7 MB.
MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is now in place, and whether it had to be downloaded."""

    path: Path
    downloaded: bool


def fetch(benchmark: Benchmark, folder: Path, source: str | None = None) -> list[Fetched]:
    """Fetch every official file into `folder`; files already there with the right digest need no network.

    `source` is a mirror's base URL, used instead of the official place. Raises DataError if a file can't be fetched or
    is not the official one; a wrong local file is never overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [fetch_file(folder, remote, source) for remote in benchmark.files]


def video_sources(benchmark: Benchmark, *, official: bool, mirrors: Sequence[str]) -> list[str]:
    """List the sources of videos, in order. Raises DataError for an invalid one, or if there is no official one."""
    if official and not benchmark.video_archive:
        msg = f"{benchmark.name} has no videos that need no account: see 'longvid {benchmark.name} prepare'"
        raise DataError(msg)
    for mirror in mirrors:
        check_source(mirror)
    return [*([benchmark.video_archive] if official else []), *mirrors]


def fetch_file(folder: Path, remote: RemoteFile, source: str | None) -> Fetched:
    """Verify one file if it is present, else download it."""
    path = folder / remote.name
    if path.is_file():
        if file_sha256(path) != remote.sha256:
            msg = f"{path} is not the official file (its SHA-256 differs); move it away and prepare again"
            raise DataError(msg)
        return Fetched(path, downloaded=False)
    url = f"{source.rstrip('/')}/{remote.name}" if source else remote.url
    if not url.startswith(("https://", "http://")):
        msg = f"'{source}' is not a web address; a mirror begins with https:// or http://"
        raise DataError(msg)
    if url.endswith(TAR):
        return fetch_member(path, url, remote.sha256)
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    try:
        pooch.retrieve(
            url, known_hash=f"sha256:{remote.sha256}", fname=remote.name, path=folder, downloader=bounded_downloader()
        )
    except (requests.RequestException, OSError) as error:
        raise DataError(f"could not download {url} ({reason(error)}); or put the file at {path} by hand") from error
    except ValueError as error:
        msg = f"{url} gave a file whose SHA-256 is not the pinned one; nothing was kept ({error})".split("\n")[0]
        raise DataError(msg) from error
    return Fetched(path, downloaded=True)


def reason(error: Exception) -> str:
    """Say why a download failed; where there is no connection at all, in a few words and what to do."""
    import requests

    if type(error) is not requests.ConnectionError:
        return f"{type(error).__name__}: {error}"
    innermost = getattr(error.args[0], "reason", error.args[0]) if error.args else error
    return f"no connection: {str(innermost).rpartition('): ')[2]}; try again with the network"


class Bound:
    """Limits a download's size, by way of the progress bar that pooch accepts."""

    def __init__(self) -> None:
        self.total = self.come = 0

    def update(self, count: int) -> None:
        """Count more bytes. Raises OSError if there are too many."""
        self.come += count
        if max(self.total, self.come) > MOST_BYTES + count:
            msg = f"the download exceeds {MOST_BYTES >> 20} MiB, more than any benchmark's annotations"
            raise OSError(msg)

    def reset(self) -> None:
        """Start again: pooch's last update counts everything once more."""
        self.total = self.come = 0

    def close(self) -> None:
        """Do nothing; pooch requires it."""


def bounded_downloader() -> Downloader:
    """Return an HTTP downloader with a size limit, which a server can't exceed."""
    import pooch

    return pooch.HTTPDownloader(progressbar=Bound())


class Unpacked(io.RawIOBase):
    """The content of a .gz file. Raises OSError if it is too large: a small file can unpack to any size."""

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
    """Read the first file of that name in a .tar.gz, in any folder; empty if there is none.

    Raises OSError, EOFError, tarfile.TarError or zlib.error for an archive that is damaged or too large.
    """
    with Unpacked(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
        for member in tar:
            if member.isfile() and Path(member.name).name == name:
                file = tar.extractfile(member)
                return file.read() if file else b""
    return b""


def fetch_member(path: Path, url: str, sha256: str) -> Fetched:
    """Fetch a file published inside a .tar.gz: only the member of that name is read, and kept if its digest matches.

    Raises DataError if the archive can't be fetched or lacks the file.
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
        msg = f"could not get {path.name} out of {url} ({reason(error)}); or put it at {path} by hand"
        raise DataError(msg) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        msg = f"{url} holds no {path.name} with the pinned SHA-256; nothing was kept"
        raise DataError(msg)
    write_atomic(path, data.decode("utf-8"))
    return Fetched(path, downloaded=True)
