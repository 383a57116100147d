"""Caption files: one captioning of the videos, read by any number of aggregators.

Five formats: a JSON object `{video id: [caption, …]}` whose captions are spread evenly over the clip (EgoSchema's
LaViLa files: one per second), JSON lines `{"video", "start", "end", "text", "captioner", …}` in seconds (what
`longvid caption` writes), speech transcripts (baselines.captions), summaries of clips (baselines.captions),
and YouCook2's annotation file: its own sentences, an upper bound for captioners.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, NotRequired, Protocol

from annotated_types import Ge, Gt, Len
from typing_extensions import TypedDict

from tasks.data_roots import data_file, data_roots
from tasks.errors import DataError
from tasks.files import Seconds, decoded, is_json_lines, json_rows, parse_json, read_bytes, typed, unicode_only
from tasks.task import Clip, TokenUsage
from tasks.video_files import is_video_name, video_names
from tasks.youcook2_annotations import read_annotations

SAID = "said: "
"""Marks speech among captions of what is seen."""


@dataclass(frozen=True, slots=True)
class Caption:
    """What is seen, or `spoken`, between two times (seconds), and what writing it cost, if known."""

    start: float
    end: float
    text: str
    seconds: float = 0.0
    usage: TokenUsage = field(default_factory=TokenUsage)
    spoken: bool = False


TIME_PARTS = 96
PHRASE = re.compile(r"<time_token_(\d+)>\s*<time_token_(\d+)>\s*([^<]*)")


class Transcript(TypedDict):
    """The fields read from a video's entry."""

    image_id: str
    duration: Annotated[Seconds, Gt(0)]
    asr_text: str


def read_transcripts(path: Path, content: Mapping[str, object]) -> dict[str, list[str | Caption]]:
    """Read time-stamped phrases by video id; a video without speech has none. Raises DataError naming the entry."""
    by_video: dict[str, list[str | Caption]] = {}
    rows = content["annotations"]
    for number, entry in enumerate(rows if isinstance(rows, list) else [rows], start=1):
        row = typed(Transcript, entry, f"transcripts file {path}, entry {number} of 'annotations'")
        name = row["image_id"]
        video = name.removesuffix(PurePosixPath(name).suffix) if is_video_name(PurePosixPath(name)) else name
        if video in by_video:
            msg = f"transcripts file {path}: '{video}' is listed twice"
            raise DataError(msg)
        by_video[video] = list(phrases(row["asr_text"], row["duration"]))
    if not any(by_video.values()):
        msg = f"transcripts file {path} holds no speech"
        raise DataError(msg)
    return by_video


def phrases(speech: str, duration: float) -> list[Caption]:
    """Return the phrases with their times in seconds; a time token past the end means the end."""
    return [
        Caption(
            min(int(start), TIME_PARTS) * duration / TIME_PARTS,
            min(int(end), TIME_PARTS) * duration / TIME_PARTS,
            " ".join(text.split()),
        )
        for start, end, text in PHRASE.findall(speech)
        if text.strip()
    ]


BOUNDARIES: Final = "clip_boundaries"
TEXTS: Final = "action_caption_summaries"
FRAMES_PER_SECOND = 30.0
"""EgoSchema's clips: 5,400 frames in three minutes."""


class Summaries(TypedDict):
    """The fields read from a video's entry."""

    clip_boundaries: list[Annotated[list[float], Len(2, 2)]]
    action_caption_summaries: list[str]


def are_clip_summaries(content: Mapping[str, object]) -> bool:
    """Whether a captions file has this format, by its first video."""
    first = next(iter(content.values()), None)
    return isinstance(first, dict) and BOUNDARIES in first


def read_clip_summaries(path: Path, content: Mapping[str, object]) -> dict[str, list[str | Caption]]:
    """Read one caption per clip; an empty clip, as some files have at the end, lasts one frame.

    Raises DataError naming the video.
    """
    by_video: dict[str, list[str | Caption]] = {}
    for video, entry in content.items():
        where = f"captions file {path}, '{video}'"
        row = typed(Summaries, entry, where)
        pairs, texts = row[BOUNDARIES], row[TEXTS]
        if len(pairs) != len(texts):
            raise DataError(f"{where} has {len(pairs)} {BOUNDARIES} and {len(texts)} {TEXTS}")
        by_video[video] = [clip_caption(pair, text, where) for pair, text in zip(pairs, texts, strict=True)]
    return by_video


def clip_caption(pair: Sequence[float], text: str, where: str) -> Caption:
    """Turn a clip's summary into a caption. Raises DataError that begins with `where`."""
    first, last = pair
    if not 0 <= first <= last:
        raise DataError(f"{where} has a clip from frame {first:g} to frame {last:g}")
    return Caption(first / FRAMES_PER_SECOND, max(last, first + 1) / FRAMES_PER_SECOND, " ".join(text.split()))


ORACLE = "oracle: the annotations' own sentences"
TRANSCRIPT_KEYS = {"annotations", "info"}
WEARER_TAG = re.compile(r"^#\s*[CO]\s+")


class CaptionSource(Protocol):
    """A source of clips' captions, and what a record keeps of it."""

    @property
    def captioner(self) -> str: ...

    @property
    def sha256(self) -> str:
        """Digest of the captions, or of all that decides them."""
        ...

    def of(self, clip: Clip) -> tuple[Caption, ...]:
        """Return the clip's captions in order of time. Raises DataError if there are none."""
        ...


@dataclass(frozen=True, slots=True)
class CaptionFile:
    """A file's captions by video id: bare texts have no times until the clip's length is known."""

    path: Path
    sha256: str
    captioner: str
    by_video: Mapping[str, Sequence[str | Caption]]

    def find(self, video_id: str) -> str | None:
        """Return the file's name for a video: its id or, if captioned from a folder, its file name; None if absent."""
        names = (video_id, *video_names(video_id))
        return next((name for name in names if self.by_video.get(name)), None)

    def id_of(self, clip: Clip) -> str:
        """Return the same as `find`. Raises DataError if there are no captions, so that no gap is silent."""
        name = self.find(clip.video_id)
        if name is None:
            msg = f"no captions for '{clip.video_id}' in {self.path}"
            raise DataError(msg)
        return name

    def of(self, clip: Clip) -> tuple[Caption, ...]:
        """Return the clip's captions in order of time. Raises DataError if there are none."""
        entries = self.by_video[self.id_of(clip)]
        timeless = not all(isinstance(entry, Caption) for entry in entries)
        step = clip.known_duration / len(entries) if timeless else 0.0
        timed = [
            entry if isinstance(entry, Caption) else Caption(clip.start + i * step, clip.start + (i + 1) * step, entry)
            for i, entry in enumerate(entries)
        ]
        return tuple(sorted(timed, key=lambda caption: (caption.start, caption.end)))


class Timed(TypedDict):
    """The fields read from a caption with times; all others are ignored."""

    start: Seconds
    end: Seconds
    text: str
    seconds: NotRequired[Annotated[float, Ge(0)]]
    tokens: NotRequired[Tokens]


class CaptionRow(Timed):
    """A line of a captions file."""

    video: str | int
    captioner: NotRequired[str]


class Tokens(TypedDict, total=False):
    """The tokens that writing a caption took."""

    prompt: Annotated[int, Ge(0)]
    cached: Annotated[int, Ge(0)]
    completion: Annotated[int, Ge(0)]


def load_captions(path: Path) -> CaptionFile:
    """Read any of the formats, from the path or a data root. Raises DataError naming the line, id or field at fault."""
    path = data_file(path)
    where = f"captions file {path}"
    try:
        data = read_bytes(path, "captions file")
    except DataError as error:
        roots = "" if path.is_absolute() else f", nor is it in {', '.join(map(str, data_roots()))}"
        raise DataError(f"{error}{roots if not path.exists() else ''}") from None
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
    """Read the sentences of an annotation file with their times, by video. Raises DataError naming the file."""
    return {
        video.id: [Caption(step.start, step.end, step.sentence) for step in video.segments]
        for video in read_annotations(path)
    }


def read_caption_lines(where: str, data: bytes, captioner: str) -> tuple[dict[str, list[str | Caption]], str]:
    """Read captions by video and the captioners' names from JSON lines; `captioner` is used if a line names none."""
    by_video: dict[str, list[str | Caption]] = {}
    captioners: set[str] = set()
    for number, row in json_rows(data, CaptionRow, where):
        by_video.setdefault(str(row["video"]), []).append(caption_of(row, f"{where}, line {number}"))
        captioners.add(row.get("captioner", captioner))
    return by_video, "+".join(sorted(captioners))


def caption_of(row: Timed, where: str) -> Caption:
    """Make a caption from its row. Raises DataError that begins with `where`."""
    start, end = row["start"], row["end"]
    if end < start:
        raise DataError(f"{where}: the caption ends at {end:g} s, before it starts at {start:g} s")
    return Caption(start, end, row["text"], row.get("seconds", 0.0), TokenUsage(**row.get("tokens", {})))


def clean_caption(text: str) -> str:
    """Drop LaViLa's actor tag (`#C`, `#O`), doubled spaces and the final full stop."""
    return " ".join(WEARER_TAG.sub("", text.strip()).split()).removesuffix(".")
