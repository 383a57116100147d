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

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.embed_folder import find_videos
from encoders.pretrain.samples import TextView, View
from tasks.errors import DataError
from tasks.video_files import VIDEO_SUFFIXES

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


def read_manifest(path: Path, view: View) -> list[Entry]:
    """The entries of a manifest. Raises DataError naming file, line and key."""
    if not path.is_file():
        raise DataError(f"no manifest at {path}")
    entries: list[Entry] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            row = _json(line, where)
            name = _get(row, "video", str, where)
            entries += entries_of(row, name, path.parent / name, view, where)
    return _some(entries, path)


def read_folder(path: Path, view: View) -> list[Entry]:
    """The entries of a folder of videos. Raises DataError naming a video that has no texts beside it."""
    entries: list[Entry] = []
    for key, video in find_videos(path).items():
        beside = {suffix: video.with_suffix(suffix) for suffix in TEXT_SUFFIXES}
        texts = {suffix: file.read_text(encoding="utf-8") for suffix, file in beside.items() if file.is_file()}
        entries += entries_of(_row_beside(texts, str(video)), key, video, view, str(video))
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
            texts = {s: members[s].read().decode() for s in TEXT_SUFFIXES if s in members}
            entries += entries_of(_row_beside(texts, where), f"{tar.name}/{key}", videos[0], view, where)
    return _some(entries, path)


def entries_of(row: Mapping[str, Any], key: str, video: Path | Member, view: View, where: str) -> Iterator[Entry]:
    """The entries of one video: itself, or its segments where clips and images are looked at and there are some."""
    segments = _get(row, "segments", list, where, [])
    if segments and view != "video":
        for number, segment in enumerate(segments):
            here = f"{where}: segment {number}"
            begin, stop = (float(_get(segment, name, int | float, here)) for name in ("start", "end"))
            yield Entry(f"{key}#{number}", video, begin, stop, _captions(segment, here))
        return
    start = float(_get(row, "start", int | float, where, 0.0))
    end = row.get("end")
    told = " ".join(str(_get(s, "caption", str, where)) for s in segments)
    captions = _captions({"caption": told, **row} if told else row, where)
    statements = tuple(
        TextView(_get(s, "text", str, where), tuple(_get(s, "false", list, where)), str(s.get("kind", "")))
        for s in _get(row, "statements", list, where, [])
    )
    yield Entry(key, video, start, None if end is None else float(end), captions, statements)


def _captions(row: Mapping[str, Any], where: str) -> tuple[TextView, ...]:
    found = _get(row, "caption", str | list, where)
    false = tuple(_get(row, "false_captions", list, where, []))
    texts = [found] if isinstance(found, str) else found
    if not texts or not all(isinstance(text, str) and text.strip() for text in (*texts, *false)):
        raise DataError(f"{where}: 'caption' must hold texts that aren't empty")
    return tuple(TextView(text, false) for text in texts)


def _row_beside(texts: Mapping[str, str], where: str) -> Mapping[str, Any]:
    if ".json" in texts:
        return _json(texts[".json"], f"{where}: its .json")
    if ".txt" in texts:
        return {"caption": [line for line in texts[".txt"].splitlines() if line.strip()]}
    raise DataError(f"{where} has no captions: put a .txt or .json of the same name beside it")


def _samples_of(tar: Path) -> Iterator[tuple[str, dict[str, Member]]]:
    """Files of one name but different suffixes are one sample, as WebDataset has it."""
    samples: dict[str, dict[str, Member]] = {}
    try:
        with tarfile.open(tar, "r:") as file:
            for info in file:
                if info.isfile():
                    path = Path(info.name)
                    member = Member(tar, info.offset_data, info.size, path.suffix.lower())
                    samples.setdefault(path.with_suffix("").as_posix(), {})[member.suffix] = member
    except tarfile.TarError as error:
        raise DataError(f"{tar} is not an uncompressed tar file: {error}") from error
    yield from samples.items()


def _json(text: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where} is not a JSON object")
    return row


def _get(row: Any, name: str, kind: Any, where: str, default: Any = None) -> Any:  # noqa: ANN401 - JSON has no type
    value = row.get(name, default) if isinstance(row, dict) else None
    if value is None or not isinstance(value, kind):
        raise DataError(f"{where}: key '{name}' is missing or of the wrong type")
    return value


def _some(entries: list[Entry], path: Path) -> list[Entry]:
    if not entries:
        raise DataError(f"{path} holds no videos")
    return entries
