"""Videos in files as a source (a manifest, a folder, tar shards), decoded ahead by the project's own decoder."""

from __future__ import annotations

import tarfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Annotated, NotRequired, cast

from annotated_types import MinLen
from typing_extensions import TypedDict

from encoders.decode_ahead import AheadPolicy, DecodedClip, decode_ahead
from encoders.embed import find_videos
from encoders.pretrain.data import Sample, Source, TextView, View
from encoders.pretrain.kitchen import KitchenSource
from encoders.pretrain.settings import DataSettings, FileSettings
from encoders.pretrain.step import BadSample, Request
from encoders.sampling import FramePolicy
from encoders.video_file import probe
from tasks.errors import DataError, LongvidError, ModelError
from tasks.files import Seconds, decoded, parse_json, read_rows, read_text, text_lines, typed, unicode_only
from tasks.task import Clip, JsonValue
from tasks.video_files import MAC_SIDE_FILE, VIDEO_SUFFIXES

TEXT_SUFFIXES: tuple[str, ...] = (".json", ".txt")


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside an uncompressed tar: `size` bytes from `offset` on."""

    tar: Path
    offset: int
    size: int
    suffix: str

    def read(self) -> bytes:
        """Read the file's bytes. Raises DataError if the tar has become shorter."""
        with self.tar.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) != self.size:
            raise DataError(f"{self.tar} is shorter than when it was listed")
        return data


@dataclass(frozen=True, slots=True)
class Entry:
    """A segment of a video (seconds; `end` is None for the video's end) and its texts."""

    key: str
    video: Path | Member
    start: float
    end: float | None
    captions: tuple[TextView, ...]
    statements: tuple[TextView, ...] = ()


class SegmentRow(TypedDict):
    """A segment in a row."""

    start: Seconds
    end: Seconds
    caption: str | list[str]
    false_captions: NotRequired[list[str]]


class StatementRow(TypedDict):
    """A statement in a row."""

    text: str
    false: list[str]
    kind: NotRequired[str]


class Row(TypedDict):
    """The texts of a video."""

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
    """Read the entries of a manifest. Raises DataError naming file, line and key."""
    entries: list[Entry] = []
    for number, row in read_rows(path, ManifestRow, "manifest"):
        name = row["video"]
        entries += entries_of(row, name, path.parent / name, view, f"manifest {path}, line {number}")
    return entries


def read_folder(path: Path, view: View) -> list[Entry]:
    """Read the entries of a folder of videos. Raises DataError naming a video without texts beside it."""
    entries: list[Entry] = []
    for key, video in find_videos(path).items():
        beside = {suffix: video.with_suffix(suffix) for suffix in TEXT_SUFFIXES}
        texts = {suffix: read_text(file, "") for suffix, file in beside.items() if file.is_file()}
        entries += entries_of(_row_beside(texts, str(video)), unicode_only(key), video, view, str(video))
    return entries


def read_shards(path: Path, view: View) -> list[Entry]:
    """Read the entries of tar shards: one .tar, or all of a folder. Only headers and texts are read."""
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
    """Yield the entries of one video: the video, or its segments, if it has some and clips or images are read."""
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
        raise DataError(f"{where}: the segments of a video that is read as a whole need one caption each, not a list")
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
    """Yield the samples of a tar: files of one name with different suffixes, as in WebDataset.

    macOS companion files are skipped; bytes of a name that are not UTF-8 are read as U+FFFD.
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


class FileSource:
    """Entries read as frames, as clips of `frames / fps` seconds or as a whole.

    A clip's window and an image's moment are drawn within the entry, or are in the middle if `centred`.
    A video shorter than its clip, or one read as a whole, has its frames spread evenly over it; with
    `beyond="cut"` only its first `frames / fps` seconds are read (the paper's 256 frames at 1 FPS).
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        settings: FileSettings,
        view: View,
        *,
        frames: int,
        fps: float,
        size: int,
        centred: bool = False,
    ) -> None:
        self._entries, self._settings, self._view = entries, settings, view
        self._length, self._centred = frames / fps, centred
        self._policy = FramePolicy(count=1 if view == "image" else frames, size=size, fit=settings.fit)
        self.facts: dict[str, JsonValue] = {"path": settings.path, "view": view, "samples": len(entries)}

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, requests: Iterable[Request]) -> Iterator[Sample | BadSample]:
        ahead = AheadPolicy(workers=self._settings.decoders, ahead=2 * self._settings.decoders)
        asked: deque[Entry | BadSample] = deque()
        with TemporaryDirectory(prefix="longvid-") as scratch:
            clips = self._clips(requests, Path(scratch), asked)
            with closing(decode_ahead(clips, self._policy, ahead)) as decoded:
                for clip in decoded:
                    yield self._sample(asked.popleft(), clip, Path(scratch))

    def texts(self) -> Iterator[str]:
        for entry in self._entries:
            for view in (*entry.captions, *entry.statements):
                yield view.text
                yield from view.false

    def _clips(self, requests: Iterable[Request], scratch: Path, asked: deque[Entry | BadSample]) -> Iterator[Clip]:
        """Yield a clip for each request, and append its entry, or why there is none, to `asked`."""
        for number, request in enumerate(requests):
            entry = self._entries[request.index]
            try:
                clip = self._clip(entry, Random(request.draw), scratch / str(number))
                asked.append(entry)
            except LongvidError as error:
                # A clip without a file keeps the sample's place in the queue.
                clip = Clip(entry.key, 0.0, 1.0)
                asked.append(BadSample(entry.key, str(error)))
            yield clip

    def _clip(self, entry: Entry, rng: Random, unpacked: Path) -> Clip:
        path = _on_disk(entry.video, unpacked)
        end = entry.end if entry.end is not None else probe(path).duration
        start, end = self._stretch(entry.start, end, rng)
        return Clip(entry.key, start, end, path)

    def _stretch(self, start: float, end: float, rng: Random) -> tuple[float, float]:
        """Choose the segment of an entry to read, in seconds."""
        if self._view == "video":
            cut = self._settings.beyond == "cut"
            return start, min(end, start + self._length) if cut else end
        length = min(self._length, end - start) if self._view == "clip" else 0.0
        share = 0.5 if self._centred else rng.random()
        if self._view == "image":
            # One frame is taken at the middle of a segment, so this is a short one around the drawn moment.
            moment = start + share * (end - start)
            half = min(0.05, (end - start) / 4)
            return max(start, moment - half), min(end, moment + half)
        begin = start + share * (end - start - length)
        return begin, begin + length

    def _sample(self, entry: Entry | BadSample, clip: DecodedClip, scratch: Path) -> Sample | BadSample:
        path = clip.clip.path
        if path is not None and path.parent == scratch:
            path.unlink()
        if isinstance(entry, BadSample):
            return entry
        if clip.frames is None:
            return BadSample(entry.key, str(clip.error))
        return Sample(entry.key, clip.frames.pixels, entry.captions, entry.statements)


def _on_disk(video: Path | Member, target: Path) -> Path:
    """Return the video's path, or unpack a tar's member as `target`, because the decoder reads files."""
    if isinstance(video, Path):
        return video
    path = target.with_suffix(video.suffix)
    path.write_bytes(video.read())
    return path


READERS = {"manifest": read_manifest, "folder": read_folder, "shards": read_shards}


def open_source(data: DataSettings, size: int, *, held_out: bool = False) -> Source:
    """Open the one source that `data` names, with frames as squares of `size` pixels.

    A held-out source is read the same way each time: moments are central instead of drawn.
    """
    view = data.view or "video"
    if data.kitchen is not None:
        return KitchenSource(data.kitchen, view, frames=data.frames, fps=data.fps, size=size, centred=held_out)
    if view == "facts":
        raise ModelError("data: view 'facts': only data.kitchen knows what is true of a video")
    for name, read in READERS.items():
        files = getattr(data, name)
        if files is not None:
            entries = read(Path(files.path), view)
            return FileSource(entries, files, view, frames=data.frames, fps=data.fps, size=size, centred=held_out)
    raise ModelError("data: no source is named")
