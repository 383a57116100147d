"""Caption files: one captioning of the videos, read by any number of aggregators.

Five formats: a JSON object `{video id: [caption, …]}` whose captions are spread evenly over the clip (EgoSchema's
LaViLa files: one a second), JSON lines `{"video", "start", "end", "text", "captioner", …}` in seconds (what
`longvid caption` writes), speech transcripts (baselines.transcripts), summaries of clips (baselines.clip_summaries),
and YouCook2's annotation file: its own sentences, which no captioner can better.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from baselines.caption import Caption
from baselines.clip_summaries import are_clip_summaries, read_clip_summaries
from baselines.transcripts import read_transcripts
from tasks.errors import DataError
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
        step = clip.duration / len(entries)
        timed = [
            entry if isinstance(entry, Caption) else Caption(clip.start + i * step, clip.start + (i + 1) * step, entry)
            for i, entry in enumerate(entries)
        ]
        return tuple(sorted(timed, key=lambda caption: (caption.start, caption.end)))


def load_captions(path: Path) -> CaptionFile:
    """Read any of the formats. Raises DataError naming the file, and the line or id at fault."""
    if not path.is_file():
        msg = f"captions file {path} does not exist; check -M captions="
        raise DataError(msg)
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    try:
        text = data.decode("utf-8")
        if path.suffix == ".jsonl":
            by_video, captioner = read_caption_lines(path, text)
            return CaptionFile(path, digest, captioner, by_video)
        content = json.loads(text)
    except ValueError as error:
        msg = f"captions file {path} is damaged or truncated ({error}); get it again"
        raise DataError(msg) from error
    if not isinstance(content, dict) or not content:
        msg = f"captions file {path} must hold an object of video ids to lists of captions"
        raise DataError(msg)
    if set(content) == {"database"}:
        return CaptionFile(path, digest, ORACLE, annotated_steps(path))
    if "annotations" in content and set(content) <= TRANSCRIPT_KEYS:
        return CaptionFile(path, digest, path.stem, read_transcripts(path, content))
    if are_clip_summaries(content):
        return CaptionFile(path, digest, path.stem, read_clip_summaries(path, content))
    for video, entries in content.items():
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            msg = f"captions file {path}: '{video}' is not a list of texts"
            raise DataError(msg)
    return CaptionFile(path, digest, path.stem, content)


def annotated_steps(path: Path) -> dict[str, list[str | Caption]]:
    """The sentences of an annotation file with their times, by video. Raises DataError naming the file."""
    return {
        video.id: [Caption(step.start, step.end, step.sentence) for step in video.segments]
        for video in read_annotations(path)
    }


def read_caption_lines(path: Path, text: str) -> tuple[dict[str, list[str | Caption]], str]:
    """Captions by video and the captioners' names, from JSON lines."""
    by_video: dict[str, list[str | Caption]] = {}
    captioners: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            by_video.setdefault(str(row["video"]), []).append(caption_of(row))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            msg = f"captions file {path}, line {number} is damaged or truncated ({error!r})"
            raise DataError(msg) from error
        captioners.add(str(row.get("captioner", path.stem)))
    if not by_video:
        msg = f"captions file {path} is empty"
        raise DataError(msg)
    return by_video, "+".join(sorted(captioners))


def caption_of(row: Mapping[str, Any]) -> Caption:
    """A caption from its JSON row. Raises KeyError, TypeError or ValueError where it is malformed."""
    usage = TokenUsage(**{name: int(count) for name, count in row.get("tokens", {}).items()})
    seconds = float(row.get("seconds", 0.0))
    return Caption(float(row["start"]), float(row["end"]), str(row["text"]), seconds, usage)


def clean_caption(text: str) -> str:
    """Drop LaViLa's actor tag (`#C`, `#O`), doubled spaces and the final full stop."""
    return " ".join(WEARER_TAG.sub("", text.strip()).split()).removesuffix(".")
