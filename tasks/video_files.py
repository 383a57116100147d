"""Locations and names of video files: one list of suffixes, and one way to pass a file name to FFmpeg."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from tasks.data_roots import other_places

VIDEOS = "videos"
VIDEO_SUFFIXES = (
    ".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".ogv", ".flv", ".wmv", ".mpg", ".mpeg", ".ts",
    ".m2ts", ".mts", ".vob", ".asf", ".3gp", ".3g2", ".mxf",
)  # fmt: skip
"""In lower case; a file's own suffix may have any case."""
MAC_SIDE_FILE = "._"
SETTLED_NS = 2_000_000_000
"""A folder changed longer ago than this gets a different modification time with its next change."""
_listings: dict[Path, tuple[tuple[int, int, int], Mapping[str, Sequence[str]]]] = {}


def video_path(folder: Path, video_id: str) -> Path | None:
    """Find the video's file `videos/<id>` with a known suffix, in the benchmark's folder or another data root."""
    for place in (folder / VIDEOS, *(other / VIDEOS for other in other_places(folder))):
        for name in _by_id(place).get(video_id, ()):
            if (place / name).is_file():
                return place / name
    return None


def _by_id(place: Path) -> Mapping[str, Sequence[str]]:
    """List a folder as `names_by_id` does.

    A benchmark asks for thousands of ids, and each could have dozens of names: the folder is listed once, and again if
    it has changed since.
    """
    try:
        status = place.stat()
        stamp = (status.st_dev, status.st_ino, status.st_mtime_ns)
        if (kept := _listings.get(place)) is not None and kept[0] == stamp:
            return kept[1]
        settled = time.time_ns() - status.st_mtime_ns > SETTLED_NS
    except OSError:
        return {}
    listing = names_by_id(place)
    if settled:
        _listings[place] = (stamp, listing)
    return listing


def names_by_id(place: Path) -> Mapping[str, Sequence[str]]:
    """List the names of a folder's videos by id, the usual suffixes first; nothing if it can't be listed."""
    try:
        names = [name for name in os.listdir(place) if is_video_name(PurePath(name))]  # noqa: PTH208 - names, not paths
    except (OSError, ValueError):
        return {}
    listing: dict[str, list[str]] = {}
    for name in sorted(names, key=_preference):
        listing.setdefault(os.path.splitext(name)[0], []).append(name)  # noqa: PTH122 - a name, of thousands
    return listing


def _preference(name: str) -> tuple[bool, int, str]:
    suffix = PurePath(name).suffix
    return suffix != suffix.lower(), VIDEO_SUFFIXES.index(suffix.lower()), name


def video_names(video_id: str) -> Iterator[str]:
    """Yield the possible file names of a video: `a` may be `a.mp4`, `a.MP4` or `a.Mp4`, and so on."""
    for suffix in VIDEO_SUFFIXES:
        yield f"{video_id}{suffix}"
    for suffix in VIDEO_SUFFIXES:
        yield f"{video_id}{suffix.upper()}"
        yield f"{video_id}.{suffix[1:].capitalize()}"


def is_video_name(name: PurePath) -> bool:
    """Whether a file is a video by its name; macOS's companion files have the same suffix."""
    return name.suffix.lower() in VIDEO_SUFFIXES and not name.name.startswith(MAC_SIDE_FILE)


def files_below(folder: Path) -> list[Path]:
    """List every file below a folder in order of its path, following links to folders.

    Each folder is entered once, by its own path rather than a link's, so that cycles of links end.
    """
    found: list[Path] = []
    links = [folder]
    entered: set[tuple[int, int]] = set()
    while links:
        behind: list[Path] = []
        for link in sorted(links):
            for name, folders, files in os.walk(link):
                at = Path(name)
                status = at.stat()
                if (status.st_dev, status.st_ino) in entered:
                    folders.clear()
                    continue
                entered.add((status.st_dev, status.st_ino))
                behind += (at / below for below in folders if (at / below).is_symlink())
                found += (at / file for file in files if (at / file).is_file())
        links = behind
    return sorted(found)


def local_address(path: Path) -> str:
    """Return a file's path in the form required by FFmpeg, which would take `a:b.mp4` or `http:…` for an address."""
    return f"file:{path}"
