"""Read and check YouCook2's annotation file: whatever is not as published is refused by name.

Rule (our choice): nothing is repaired or skipped. Missing keys, repeated ids, a segment that is reversed, empty or
outside its video, and an empty sentence each refuse the file, with the ids at fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from tasks.errors import DataError
from tasks.files import read_json

IDS_SHOWN = 5
LONGEST = 10_000_000  # seconds, as in tasks.files
SUBSETS = ("training", "validation", "testing")


@dataclass(frozen=True, slots=True)
class Segment:
    """One step of a recipe: seconds in the video and its sentence; `number` counts from 0."""

    number: int
    start: float
    end: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Video:
    """A video with its segments in order of time; `recipe_type` is the published code."""

    id: str
    subset: str
    duration: float
    recipe_type: str
    segments: tuple[Segment, ...]

    @property
    def paragraph(self) -> str:
        """All sentences in order, joined by spaces."""
        return " ".join(segment.sentence for segment in self.segments)


def read_annotations(path: Path) -> list[Video]:
    """Read all videos in the file's order. Raises DataError naming the file and the ids at fault."""
    if not path.is_file():
        msg = f"{path} is missing or not a file: run 'longvid youcook2-summary prepare'"
        raise DataError(msg)
    content = read_json(path, "")
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict) or not database:
        msg = f"{path} must hold an object 'database' of video ids to annotations"
        raise DataError(msg)
    videos, faults = [], []
    for name, row in database.items():
        try:
            video = read_video(name, row)
        except (KeyError, TypeError, ValueError) as error:
            faults.append(f"'{name}' lacks a key or has one of the wrong kind ({error!r})")
            continue
        videos.append(video)
        faults += video_faults(video, [segment["id"] for segment in row["annotations"]])
    if faults:
        more = f" and {len(faults) - IDS_SHOWN} more" if len(faults) > IDS_SHOWN else ""
        msg = f"{path} is refused: {'; '.join(faults[:IDS_SHOWN])}{more}"
        raise DataError(msg)
    return videos


def read_video(name: str, row: Mapping[str, Any]) -> Video:
    """Read one entry of the database. Raises KeyError, TypeError or ValueError."""
    segments = []
    for segment in row["annotations"]:
        start, end = (number(time) for time in segment["segment"])
        if type(segment["id"]) is not int:
            msg = f"segment id {segment['id']!r} is not a whole number"
            raise TypeError(msg)
        segments.append(Segment(segment["id"], start, end, text(segment["sentence"]).strip()))
    if row["subset"] not in SUBSETS:
        msg = f"subset {row['subset']!r} is not one of {', '.join(SUBSETS)}"
        raise ValueError(msg)
    return Video(name, row["subset"], number(row["duration"]), text(row["recipe_type"]), tuple(segments))


def number(value: object) -> float:
    """Check a JSON number. Raises TypeError for anything else, such as a digit in quotes or `true`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{value!r} is not a number"
        raise TypeError(msg)
    return float(value)


def text(value: object) -> str:
    """Check a JSON string. Raises TypeError for anything else."""
    if not isinstance(value, str):
        msg = f"{value!r} is not a text"
        raise TypeError(msg)
    return value


def video_faults(video: Video, ids: Sequence[object]) -> list[str]:
    """Describe faults of a video's segments."""
    faults = [f"'{video.id}' repeats segment ids {list(ids)}"] if len(set(ids)) < len(ids) else []
    if not 0 < video.duration <= LONGEST:
        faults.append(f"'{video.id}' has no valid duration ({video.duration:g} s)")
    if not video.segments:
        faults.append(f"'{video.id}' has no segments")
    for segment in video.segments:
        where = f"'{video.id}' segment {segment.number}"
        if not isfinite(segment.start) or not isfinite(segment.end) or segment.start < 0:
            faults.append(f"{where} has no valid times ({segment.start:g}–{segment.end:g} s)")
        elif segment.end <= segment.start:
            faults.append(f"{where} is reversed or empty ({segment.start:g}–{segment.end:g} s)")
        elif segment.end > video.duration:
            faults.append(f"{where} ends at {segment.end:g} s, after the video's end at {video.duration:g} s")
        if not segment.sentence:
            faults.append(f"{where} has an empty sentence")
    return faults
