"""Fetch videos one by one: whole or not at all, taken up again where they broke off, checked where that is possible."""

from __future__ import annotations

import errno
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from evals.video_sources import Offer, videos_of
from tasks.digests import file_sha256
from tasks.files import unpacks_too_far
from tasks.video_files import VIDEOS, video_path

CHUNK = 1 << 20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True, slots=True)
class VideoReport:
    """Which videos came, which are still missing, and what went wrong, by video or source."""

    fetched: tuple[str, ...]
    missing: tuple[str, ...]
    faults: dict[str, str]


def fetch_videos(
    wanted: Sequence[str], folder: Path, sources: Sequence[str], done: Callable[[str], None]
) -> VideoReport:
    """Put the videos that `folder`/videos lacks there, from the first source that has each.

    A source or a video that fails is told, and the next source is tried.
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
    """Copy one video into place; what went wrong, or nothing.

    The part that came is kept under a hidden name that holds its digest, and the next try goes on behind it: only the
    same file, and only one that can be checked, is ever taken up again. Raises OSError when the disk takes no more.
    """
    if offer.size is not None and offer.packed is not None and unpacks_too_far(offer.size, offer.packed):
        return f"{offer.packed} bytes of the archive would unpack to {offer.size}: no video does"
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
    except (EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
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
    """Copy the rest of a file, and at most one byte more than its size, which tells that there are too many."""
    while chunk := source.read(CHUNK if size is None else min(CHUNK, size + 1 - target.tell())):
        target.write(chunk)


def difference(path: Path, offer: Offer) -> str:
    """How a file differs from what was offered, in words; nothing where it is that."""
    size = path.stat().st_size
    if offer.size is not None and size != offer.size:
        return f"{size} bytes came where {offer.size} are due"
    if offer.sha256 is not None and file_sha256(path) != offer.sha256:
        return "its SHA-256 is not the published one"
    if offer.crc32 is not None and file_crc32(path) != offer.crc32:
        return "its CRC-32 is not the archive's"
    return ""


def file_crc32(path: Path) -> int:
    """CRC-32 of a file's bytes, as archives record it."""
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            value = zlib.crc32(chunk, value)
    return value
