"""Dense-captioning files, `{"results": {video: [{"sentence", "timestamp"?}]}}`, as published outputs come.

Such a file knows videos and not items. Rule (ours) for placing its sentences on given segments: a sentence with a time
stamp belongs to the segment whose start and end are both within half a second (annotations are in whole seconds);
where a video's sentences have none, they belong to its segments in order, if there are as many. A video of which one
sentence finds no segment of its own is left out whole, with the reason: a score of the rest would flatter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NotRequired

from annotated_types import Len
from typing_extensions import TypedDict

from tasks.errors import DataError
from tasks.files import Seconds, typed
from tasks.task import Clip

TOLERANCE = 0.5
BY_TIME, BY_ORDER = "placed by time stamp", "placed by order"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence about part of a video; `times` are its start and end in seconds, where the file has them."""

    text: str
    times: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A video's sentences by segment, or why they have no places; `rule` says how they found them."""

    texts: Mapping[int, str]
    rule: str = ""
    fault: str = ""


class Row(TypedDict):
    """A sentence in the file."""

    sentence: str
    timestamp: NotRequired[Annotated[list[Seconds], Len(2, 2)] | None]


def is_dense(content: object) -> bool:
    """Whether a JSON content is a dense-captioning file: no text of an id is ever an object."""
    return isinstance(content, dict) and isinstance(content.get("results"), dict)


def dense_captions(content: Mapping[str, object], path: Path) -> dict[str, tuple[Sentence, ...]]:
    """The sentences of every video. Raises DataError naming the file and the video at fault."""
    results = typed(dict[str, list[Row]], content["results"], f"{path}: 'results'")
    if not results:
        msg = f"{path}: 'results' must be an object of videos to sentences, with at least one video"
        raise DataError(msg)
    return {video: sentences_of(rows, f"{path}: video '{video}'") for video, rows in results.items()}


def sentences_of(rows: Sequence[Row], where: str) -> tuple[Sentence, ...]:
    """One video's sentences in the file's order. Raises DataError that begins with `where`."""
    if not rows:
        msg = f"{where} needs a list of sentences"
        raise DataError(msg)
    sentences = []
    for row in rows:
        stamp = row.get("timestamp")
        times = (stamp[0], stamp[1]) if stamp else None
        if times and times[1] < times[0]:
            raise DataError(f"{where} has a sentence that ends at {times[1]:g} s, before it starts at {times[0]:g} s")
        sentences.append(Sentence(row["sentence"], times))
    return tuple(sentences)


def paragraph(sentences: Sequence[Sentence]) -> str:
    """A video's sentences joined by spaces: in order of their time stamps if all have one, else as they stand."""
    stamps = [sentence.times for sentence in sentences if sentence.times is not None]
    if len(stamps) == len(sentences):
        sentences = [sentences[i] for i in sorted(range(len(stamps)), key=stamps.__getitem__)]
    return " ".join(sentence.text.strip() for sentence in sentences)


def place(sentences: Sequence[Sentence], clips: Sequence[Clip]) -> Placed:
    """Give each sentence its segment, by this module's rule; `clips` are one video's, in the task's order."""
    timed = [sentence.times is not None for sentence in sentences]
    if not any(timed):
        if len(sentences) != len(clips):
            fault = f"{len(sentences)} sentences without time stamps for {len(clips)} segments"
            return Placed({}, fault=fault)
        return Placed({i: sentence.text for i, sentence in enumerate(sentences)}, BY_ORDER)
    if not all(timed):
        return Placed({}, fault=f"{timed.count(False)} of {len(sentences)} sentences have no time stamp")
    texts: dict[int, str] = {}
    for sentence in sentences:
        start, end = sentence.times or (0.0, 0.0)
        free = (i for i, clip in enumerate(clips) if i not in texts and near(clip, start, end))
        segment = next(free, None)
        if segment is None:
            return Placed(
                {}, fault=f"the sentence at {start:g}–{end:g} s fits no segment, or one that has its sentence"
            )
        texts[segment] = sentence.text
    return Placed(texts, BY_TIME)


def near(clip: Clip, start: float, end: float) -> bool:
    """Whether times are those of the clip, within the tolerance."""
    return abs(clip.start - start) <= TOLERANCE and abs(clip.end - end) <= TOLERANCE
