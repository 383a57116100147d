"""Caption files: one captioning of the videos, read by any number of aggregators.

Five formats: a JSON object `{video id: [caption, …]}` whose captions are spread evenly over the clip (EgoSchema's
LaViLa files: one a second), JSON lines `{"video", "start", "end", "text", "captioner", …}` in seconds (what
`longvid caption` writes), speech transcripts (baselines.transcripts), summaries of clips (baselines.clip_summaries),
and YouCook2's annotation file: its own sentences, which no captioner can better.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NotRequired, Protocol

from annotated_types import Ge
from typing_extensions import TypedDict

from baselines.caption import Caption
from baselines.clip_summaries import are_clip_summaries, read_clip_summaries
from baselines.transcripts import read_transcripts
from tasks.errors import DataError
from tasks.files import Seconds, decoded, is_json_lines, json_rows, parse_json, read_bytes, typed, unicode_only
from tasks.task import Clip, TokenUsage
from tasks.video_files import video_names
from tasks.youcook2_annotations import read_annotations

ORACLE = "oracle: the annotations' own sentences"
TRANSCRIPT_KEYS = {"annotations", "info"}
WEARER_TAG = re.compile(r"^#\s*[CO]\s+")


class CaptionSource(Protocol):
    """Where a clip's captions come from, and what a record keeps of that."""

    @property
    def captioner(self) -> str: ...

    @property
    def sha256(self) -> str:
        """Digest of the captions, or of everything that decides them."""
        ...

    def of(self, clip: Clip) -> tuple[Caption, ...]:
        """The clip's captions in order of time, never none. Raises DataError."""
        ...


@dataclass(frozen=True, slots=True)
class CaptionFile:
    """A file's captions by video id: bare texts are untimed until a clip says how long it is."""

    path: Path
    sha256: str
    captioner: str
    by_video: Mapping[str, Sequence[str | Caption]]

    def find(self, video_id: str) -> str | None:
        """What the file calls a video that it has captions of: its id, or, captioned in a folder, its file's name."""
        names = (video_id, *video_names(video_id))
        return next((name for name in names if self.by_video.get(name)), None)

    def id_of(self, clip: Clip) -> str:
        """As `find`. Raises DataError when there are no captions: never a silent gap."""
        name = self.find(clip.video_id)
        if name is None:
            msg = f"no captions for '{clip.video_id}' in {self.path}"
            raise DataError(msg)
        return name

    def of(self, clip: Clip) -> tuple[Caption, ...]:
        """The clip's captions in order of time. Raises DataError when there are none."""
        entries = self.by_video[self.id_of(clip)]
        timeless = not all(isinstance(entry, Caption) for entry in entries)
        step = clip.known_duration / len(entries) if timeless else 0.0
        timed = [
            entry if isinstance(entry, Caption) else Caption(clip.start + i * step, clip.start + (i + 1) * step, entry)
            for i, entry in enumerate(entries)
        ]
        return tuple(sorted(timed, key=lambda caption: (caption.start, caption.end)))


class Timed(TypedDict):
    """What is read of a caption with its times; whatever else is told of it is left aside."""

    start: Seconds
    end: Seconds
    text: str
    seconds: NotRequired[Annotated[float, Ge(0)]]
    tokens: NotRequired[Tokens]


class Row(Timed):
    """A line of a captions file."""

    video: str | int
    captioner: NotRequired[str]


class Tokens(TypedDict, total=False):
    """What writing a caption took."""

    prompt: Annotated[int, Ge(0)]
    cached: Annotated[int, Ge(0)]
    completion: Annotated[int, Ge(0)]


def load_captions(path: Path) -> CaptionFile:
    """Read any of the formats. Raises DataError naming the file, and the line, id or field at fault."""
    where = f"captions file {path}"
    try:
        data = read_bytes(path, "captions file")
    except DataError as error:
        raise DataError(f"{error}; check -M captions=") from None
    digest = hashlib.sha256(data).hexdigest()
    name = unicode_only(path.stem)
    if is_json_lines(path):
        by_video, captioner = read_caption_lines(where, data, name)
        return CaptionFile(path, digest, captioner, by_video)
    content = parse_json(decoded(data, where), where)
    if not isinstance(content, dict) or not content:
        msg = f"{where} must hold an object of video ids to lists of captions"
        raise DataError(msg)
    if set(content) == {"database"}:
        return CaptionFile(path, digest, ORACLE, annotated_steps(path))
    if "annotations" in content and set(content) <= TRANSCRIPT_KEYS:
        return CaptionFile(path, digest, name, read_transcripts(path, content))
    if are_clip_summaries(content):
        return CaptionFile(path, digest, name, read_clip_summaries(path, content))
    return CaptionFile(path, digest, name, typed(dict[str, list[str]], content, where))


def annotated_steps(path: Path) -> dict[str, list[str | Caption]]:
    """The sentences of an annotation file with their times, by video. Raises DataError naming the file."""
    return {
        video.id: [Caption(step.start, step.end, step.sentence) for step in video.segments]
        for video in read_annotations(path)
    }


def read_caption_lines(where: str, data: bytes, captioner: str) -> tuple[dict[str, list[str | Caption]], str]:
    """Captions by video and the captioners' names, from JSON lines; `captioner` where a line names none."""
    by_video: dict[str, list[str | Caption]] = {}
    captioners: set[str] = set()
    for number, row in json_rows(data, Row, where):
        by_video.setdefault(str(row["video"]), []).append(caption_of(row, f"{where}, line {number}"))
        captioners.add(row.get("captioner", captioner))
    return by_video, "+".join(sorted(captioners))


def caption_of(row: Timed, where: str) -> Caption:
    """A caption from its row. Raises DataError that begins with `where`."""
    start, end = row["start"], row["end"]
    if end < start:
        raise DataError(f"{where}: the caption ends at {end:g} s, before it starts at {start:g} s")
    return Caption(start, end, row["text"], row.get("seconds", 0.0), TokenUsage(**row.get("tokens", {})))


def clean_caption(text: str) -> str:
    """Drop LaViLa's actor tag (`#C`, `#O`), doubled spaces and the final full stop."""
    return " ".join(WEARER_TAG.sub("", text.strip()).split()).removesuffix(".")
