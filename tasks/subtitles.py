"""Read subtitles from SRT, WebVTT or a benchmark's JSON.

JSON is a list of `{"start": "00:00:01.000", "end": …, "line": …}` or `{"timestamp": [1.0, 2.5], "text": …}`, as
LongVideoBench has both. A missing or empty file is an error, never a video without words.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import MaxLen, MinLen
from typing_extensions import TypedDict

from tasks.errors import DataError
from tasks.files import is_file, parse_json, read_text, shown, typed
from tasks.task import Clip

WHAT = "subtitles"
_TIMES = re.compile(r"\d+:\d+\S*\s*-{1,2}>\s*\S*\d+:\d+\S*")
FORMATS = {".srt": "srt", ".vtt": "vtt"}
LONGEST_TIMES, LOOKED_AHEAD = 200, 10
EXAMPLES = {"srt": "00:01:02,500 --> 00:01:04,000", "vtt": "00:01:02.500 --> 00:01:04.000"}
_CUE = {
    kind: re.compile(
        r"\s*" + r"\s*(?:-{1,2}>|[–—→])\s*".join(clock.format(which=which) for which in "ab") + r"(?:\s.*)?", re.ASCII
    )
    for kind, clock in (
        ("srt", r"(?P<{which}h>\d{{1,9}}):(?P<{which}m>\d{{1,2}}):(?P<{which}s>\d{{1,2}}[.,]\d{{1,9}})"),
        ("vtt", r"(?:(?P<{which}h>\d{{1,9}}):)?(?P<{which}m>\d{{1,2}}):(?P<{which}s>\d{{1,2}}\.\d{{1,9}})"),
    )
}
_MARKUP = re.compile(r"</?[A-Za-z][^<>]{0,300}>|<\d[\d:.]{0,30}>|\{\\[^{}]{0,300}\}")


@dataclass(frozen=True, slots=True)
class Line:
    """The words spoken between two times, in seconds of the video."""

    start: float
    end: float
    text: str


class Written(TypedDict):
    """A line with its times as texts."""

    start: str
    end: str
    line: str


class Stamped(TypedDict):
    """A line with its times as numbers; the last may have no end."""

    timestamp: Annotated[list[float | None], MinLen(2), MaxLen(2)]
    text: str


def lines_of(clip: Clip) -> tuple[Line, ...]:
    """Return the subtitles of a clip, in order of time.

    Raises DataError if the benchmark names no file, or the file is missing, damaged or has no words in the clip.
    """
    if clip.subtitles is None:
        raise DataError(f"'{clip.video_id}' has no subtitles: the benchmark names no file of them")
    read = read_subtitles(clip.subtitles)
    shifted = (Line(line.start - clip.subtitles_start, line.end - clip.subtitles_start, line.text) for line in read)
    inside = tuple(line for line in shifted if line.start < clip.end and line.end > clip.start)
    if not inside:
        raise DataError(f"{WHAT} {clip.subtitles}: nothing is said from {clip.start:g} to {clip.end:g} s of the video")
    return inside


def lines_at(lines: Iterable[Line], seconds: Sequence[float]) -> tuple[Line, ...]:
    """Return the lines spoken at one of the times, for example those of the frames shown."""
    return tuple(line for line in lines if any(line.start <= second <= line.end for second in seconds))


def count_words(lines: Iterable[Line]) -> int:
    """Count the words of lines."""
    return sum(len(line.text.split()) for line in lines)


def read_subtitles(path: Path) -> tuple[Line, ...]:
    """Read the lines of a file that have words, in order of time, on the file's own clock.

    Raises DataError for a file that is missing, of another kind, damaged, or without any word.
    """
    if not is_file(path):
        raise DataError(f"{WHAT} {path} are missing")
    text, suffix = read_text(path, WHAT), path.suffix.lower()
    if suffix == ".json":
        found = json_lines(text, f"{WHAT} {path}")
    elif suffix in FORMATS:
        found = timed_text(text, FORMATS[suffix], path)
    else:
        raise DataError(f"{WHAT} {path} must be a file {', '.join(FORMATS)} or .json")
    lines = sorted((line for line in found if line.text), key=lambda line: (line.start, line.end))
    if not lines:
        raise DataError(f"{WHAT} {path} hold no words")
    return tuple(lines)


def timed_text(text: str, kind: str, path: Path) -> list[Line]:
    """Parse the cues of SRT or WebVTT, without mark-up. Raises DataError naming a line that can't be read.

    WebVTT's notes, styles and identifiers are in blocks without times, or before them. SRT knows no blocks: empty lines
    may be part of its texts, or be left out between two cues, and a number before times is the cue's.
    """
    cues: list[tuple[float, float, list[str]]] = []
    rows = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    outside = True
    for number, row in enumerate(rows):
        if times := cue_times(row, kind, f"{WHAT} {path}, line {number + 1}"):
            cues.append((*times, []))
            outside = False
        elif kind == "vtt" and (not row or outside):
            outside = True
        elif not row.strip() or (row.strip().isdecimal() and (outside or is_number(rows, number, len(cues), kind))):
            continue
        elif outside:
            raise DataError(f"{WHAT} {path}, line {number + 1}: {shown(row)} stands before the first times")
        else:
            cues[-1][2].append(row)
    return [Line(start, end, plain(" ".join(words))) for start, end, words in cues]


def cue_times(row: str, kind: str, where: str) -> tuple[float, float] | None:
    """Return the start and end that a line of SRT or WebVTT holds, None if it is no line of times.

    Raises DataError for times that can't be read, and for an end before its start.
    """
    found = _CUE[kind].fullmatch(row)
    if found is None:
        if "-->" in row or ("->" in row and _TIMES.search(row[:LONGEST_TIMES])):
            raise DataError(f"{where}: {shown(row.strip())} are not times such as {EXAMPLES[kind]}")
        return None
    start, end = (
        3600 * int(found[f"{which}h"] or 0) + 60 * int(found[f"{which}m"]) + float(found[f"{which}s"].replace(",", "."))
        for which in "ab"
    )
    if end < start:
        raise DataError(f"{where}: {shown(row.strip())} ends before it starts")
    return start, end


def is_number(rows: Sequence[str], number: int, cues: int, kind: str) -> bool:
    """Whether a line of digits numbers the cue below it, and is no word of the cue before.

    Between it and the times there may be empty lines, where all line ends were doubled, if it counts the cue rightly.
    """
    below = next((rows[at] for at in range(number + 1, min(number + LOOKED_AHEAD, len(rows))) if rows[at].strip()), "")
    adjacent = number + 1 < len(rows) and bool(rows[number + 1].strip())
    return _CUE[kind].fullmatch(below) is not None and (adjacent or rows[number].strip() == str(cues + 1))


def plain(text: str) -> str:
    """Remove tags, times within the text, and positions from the words of a cue."""
    return " ".join(html.unescape(_MARKUP.sub("", text)).split())


def json_lines(text: str, where: str) -> list[Line]:
    """Parse the lines of a benchmark's JSON. Raises DataError naming the entry and the field at fault."""
    content = parse_json(text, where)
    lines = []
    for number, row in enumerate(typed(list[dict[str, object]], content, where), start=1):
        place = f"{where}, entry {number}"
        if "timestamp" in row:
            stamped = typed(Stamped, row, place)
            start, end = stamped["timestamp"]
            if start is None:
                raise DataError(f"{place}: field 'timestamp' must begin with a number, not null")
            lines.append(Line(start, float("inf") if end is None else end, " ".join(stamped["text"].split())))
            continue
        written = typed(Written, row, place)
        first, last = clock_seconds(written["start"], place, "start"), clock_seconds(written["end"], place, "end")
        lines.append(Line(first, last, " ".join(written["line"].split())))
    return lines


def clock_seconds(text: str, where: str, field: str) -> float:
    """Convert `h:mm:ss.fff` to seconds. Raises DataError."""
    parts = text.split(":")
    if len(parts) != 3 or not all(part.replace(".", "", 1).isdecimal() and part.isascii() for part in parts):
        raise DataError(f"{where}: field '{field}' must be a time such as 00:01:02.500, not {shown(text)}")
    hours, minutes, seconds = map(float, parts)
    return 3600 * hours + 60 * minutes + seconds
