"""Where videos can be had: a local folder, a .zip on the web, a data set on the Hugging Face hub.

Each is a list of files. A video is one of them, or a member of one that is a .zip, known by its name: `<id>.mp4` and
the like.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from evals.web_file import open_web
from tasks.errors import DataError
from tasks.video_files import files_below, is_video_name

HUB = "hf:"
ARCHIVE = ".zip"
# Ours: a video is compressed already, and an archive makes nothing of it that grows like this again.


@dataclass(frozen=True, slots=True)
class Offer:
    """A file as a source offers it. `sha256` or `crc32` are known where the source publishes them.

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
        """The name without folders and ending: a video's id."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The ending, in lower case."""
        return PurePosixPath(self.name).suffix.lower()


def check_source(source: str) -> None:
    """Raise DataError on what is no source, before anything is fetched."""
    is_web_archive = source.startswith(("https://", "http://")) and urlsplit(source).path.endswith(ARCHIVE)
    is_hub = source.startswith(HUB) and source.partition("@")[0].count("/") == 1
    if not is_web_archive and not is_hub and not local_path(source).is_dir():
        msg = f"'{source}' is no source of videos: give a folder, https://….zip or {HUB}OWNER/DATASET[@REVISION]"
        raise DataError(msg)


def local_path(source: str) -> Path:
    """The folder that a path or a file:// address names."""
    return Path(unquote(urlsplit(source).path)) if source.startswith("file://") else Path(source).expanduser()


def files_of(source: str) -> list[Offer]:
    """Every file of a source. Raises OSError when it can't be reached."""
    if source.startswith(HUB):
        return hub_files(source.removeprefix(HUB))
    if source.startswith(("https://", "http://")):
        return [Offer(PurePosixPath(urlsplit(source).path).name, None, partial(open_web, source))]
    paths = files_below(local_path(source))
    return [Offer(path.name, path.stat().st_size, partial(open_local, path)) for path in paths]


def open_local(path: Path) -> IO[bytes]:
    """A local file, to be read."""
    return path.open("rb")


def hub_files(dataset: str) -> list[Offer]:
    """The files of a hub data set at a revision, with their SHA-256. Raises OSError, DataError without the library."""
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
        msg = f"{HUB}{dataset} is not asked while HF_HUB_OFFLINE is set"
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
    """The wanted videos that a source has; `wanted` may shrink meanwhile. Archives are opened last, one at a time.

    Raises OSError or zipfile.BadZipFile when the source or an archive can't be read.
    """
    files = files_of(source)
    yield from (file for file in files if is_video_name(PurePosixPath(file.name)) and file.stem in wanted)
    for file in files:
        if file.suffix != ARCHIVE or not wanted:
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
