"""Videos in files with what is said of them, read from a manifest, a folder or tar shards.

A manifest is JSONL, one video a line, paths relative to the manifest:
    {"video": "a.mp4", "caption": "…" or ["…", "…"], "false_captions": ["…"],
     "start": 0.0, "end": 60.0, "segments": [{"start": 0.0, "end": 9.5, "caption": "…"}],
     "statements": [{"text": "…", "false": ["…"], "kind": "order"}]}
All but `video` and one of `caption` and `segments` may be absent. In a folder, and in tar shards
laid out as WebDataset has them, `NAME.txt` holds a video's captions, one a line, or `NAME.json` its
line of a manifest without `video`.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NotRequired, cast

from annotated_types import MinLen
from typing_extensions import TypedDict

from encoders.embed_folder import find_videos
from encoders.pretrain.samples import TextView, View
from tasks.errors import DataError
from tasks.files import Seconds, decoded, parse_json, read_rows, read_text, text_lines, typed, unicode_only
from tasks.video_files import MAC_SIDE_FILE, VIDEO_SUFFIXES

TEXT_SUFFIXES: tuple[str, ...] = (".json", ".txt")


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside of an uncompressed tar: `size` bytes from `offset` on."""

    tar: Path
    offset: int
    size: int
    suffix: str

    def read(self) -> bytes:
        """The file's bytes. Raises DataError when the tar has been cut since."""
        with self.tar.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) != self.size:
            raise DataError(f"{self.tar} is shorter than when it was listed")
        return data


@dataclass(frozen=True, slots=True)
class Entry:
    """A stretch of a video (seconds; `end` None for its own end) and the texts of it."""

    key: str
    video: Path | Member
    start: float
    end: float | None
    captions: tuple[TextView, ...]
    statements: tuple[TextView, ...] = ()


class SegmentRow(TypedDict):
    """A segment of a row."""

    start: Seconds
    end: Seconds
    caption: str | list[str]
    false_captions: NotRequired[list[str]]


class StatementRow(TypedDict):
    """A statement of a row."""

    text: str
    false: list[str]
    kind: NotRequired[str]


class Row(TypedDict):
    """What is said of a video."""

    caption: NotRequired[str | list[str]]
    false_captions: NotRequired[list[str]]
    start: NotRequired[Seconds]
    end: NotRequired[Seconds | None]
    segments: NotRequired[list[SegmentRow]]
    statements: NotRequired[list[StatementRow]]


class ManifestRow(Row):
    """A line of a manifest."""

    video: Annotated[str, MinLen(1)]


def read_manifest(path: Path, view: View) -> list[Entry]:
    """The entries of a manifest. Raises DataError naming file, line and key."""
    entries: list[Entry] = []
    for number, row in read_rows(path, ManifestRow, "manifest"):
        name = row["video"]
        entries += entries_of(row, name, path.parent / name, view, f"manifest {path}, line {number}")
    return entries


def read_folder(path: Path, view: View) -> list[Entry]:
    """The entries of a folder of videos. Raises DataError naming a video that has no texts beside it."""
    entries: list[Entry] = []
    for key, video in find_videos(path).items():
        beside = {suffix: video.with_suffix(suffix) for suffix in TEXT_SUFFIXES}
        texts = {suffix: read_text(file, "") for suffix, file in beside.items() if file.is_file()}
        entries += entries_of(_row_beside(texts, str(video)), unicode_only(key), video, view, str(video))
    return entries


def read_shards(path: Path, view: View) -> list[Entry]:
    """The entries of tar shards: one .tar, or all of a folder. Only their headers and texts are read."""
    tars = sorted(path.glob("*.tar")) if path.is_dir() else [path]
    if not tars or not all(tar.is_file() for tar in tars):
        raise DataError(f"no tar shards at {path}")
    entries: list[Entry] = []
    for tar in tars:
        for key, members in _samples_of(tar):
            where = f"{tar}: {key}"
            videos = [member for member in members.values() if member.suffix in VIDEO_SUFFIXES]
            if len(videos) != 1:
                raise DataError(f"{where}: {len(videos)} videos; a sample has exactly one")
            texts = {s: decoded(members[s].read(), f"{where}{s}") for s in TEXT_SUFFIXES if s in members}
            entries += entries_of(_row_beside(texts, where), f"{tar.name}/{key}", videos[0], view, where)
    if not entries:
        raise DataError(f"{path} holds no videos")
    return entries


def entries_of(row: Row, key: str, video: Path | Member, view: View, where: str) -> Iterator[Entry]:
    """The entries of one video: itself, or its segments where clips and images are looked at and there are some."""
    segments = row.get("segments", [])
    for number, segment in enumerate(segments, start=1):
        _check_times(segment["start"], segment["end"], f"{where}: segment {number}")
    if segments and view != "video":
        for number, segment in enumerate(segments):
            captions = _captions(segment, f"{where}: segment {number + 1}")
            yield Entry(f"{key}#{number}", video, segment["start"], segment["end"], captions)
        return
    start, end = float(row.get("start", 0.0)), row.get("end")
    if end is not None:
        _check_times(start, end, where)
    told = {"caption": " ".join(_one_text(segment, where) for segment in segments)} if segments else {}
    statements = tuple(
        TextView(statement["text"], tuple(statement["false"]), statement.get("kind", ""))
        for statement in row.get("statements", [])
    )
    captions = _captions(cast("Row", {**told, **row}), where)
    yield Entry(key, video, start, None if end is None else float(end), captions, statements)


def _check_times(start: float, end: float, where: str) -> None:
    if end <= start:
        raise DataError(f"{where}: the end, {end:g} s, must be after the start, {start:g} s")


def _one_text(segment: SegmentRow, where: str) -> str:
    if not isinstance(segment["caption"], str):
        raise DataError(f"{where}: the segments of a video seen as a whole need one caption each, not a list")
    return segment["caption"]


def _captions(row: Row | SegmentRow, where: str) -> tuple[TextView, ...]:
    found, false = row.get("caption"), tuple(row.get("false_captions", []))
    texts = [found] if isinstance(found, str) else found
    if not texts or not all(text.strip() for text in (*texts, *false)):
        raise DataError(f"{where}: field 'caption' must hold texts that aren't empty")
    return tuple(TextView(text, false) for text in texts)


def _row_beside(texts: Mapping[str, str], where: str) -> Row:
    if ".json" in texts:
        place = f"{where}: its .json"
        return typed(Row, parse_json(texts[".json"], place), place)
    if ".txt" in texts:
        return {"caption": [line for line in text_lines(texts[".txt"]) if line.strip()]}
    raise DataError(f"{where} has no captions: put a .txt or .json of the same name beside it")


def _samples_of(tar: Path) -> Iterator[tuple[str, dict[str, Member]]]:
    """Files of one name but different suffixes are one sample, as WebDataset has it.

    What macOS keeps beside a file is none; a name that UTF-8 can't hold is read with U+FFFD.
    """
    samples: dict[str, dict[str, Member]] = {}
    try:
        with tarfile.open(tar, "r:") as file:
            for info in file:
                path = Path(unicode_only(info.name))
                if not info.isfile() or path.name.startswith(MAC_SIDE_FILE):
                    continue
                member = Member(tar, info.offset_data, info.size, path.suffix.lower())
                members = samples.setdefault(path.with_suffix("").as_posix(), {})
                if member.suffix in members:
                    raise DataError(f"{tar} has two files of the name '{path.as_posix()}'")
                members[member.suffix] = member
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"{tar} is not an uncompressed tar file: {error}") from error
    yield from samples.items()
