"""Dense-captioning files, `{"results": {video: [{"sentence", "timestamp"?}]}}`, as published outputs come.

Such a file knows videos and not items. Rule (ours) for placing its sentences on given segments: a sentence with a time
stamp belongs to the segment whose start and end are both within half a second (annotations are in whole seconds);
where a video's sentences have none, they belong to its segments in order, if there are as many. A video of which one
sentence finds no segment of its own is left out whole, with the reason: a score of the rest would flatter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from tasks.errors import DataError
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


def is_dense(content: object) -> bool:
    """Whether a JSON content is a dense-captioning file: no text of an id is ever an object."""
    return isinstance(content, dict) and isinstance(content.get("results"), dict)


def dense_captions(content: Mapping[str, object], path: Path) -> dict[str, tuple[Sentence, ...]]:
    """The sentences of every video. Raises DataError naming the file and the video at fault."""
    results = content["results"]
    if not isinstance(results, dict) or not results:
        msg = f"{path}: 'results' must be an object of videos to sentences, with at least one video"
        raise DataError(msg)
    return {str(video): sentences_of(rows, str(video), path) for video, rows in results.items()}


def sentences_of(rows: object, video: str, path: Path) -> tuple[Sentence, ...]:
    """One video's sentences in the file's order. Raises DataError naming the video."""
    if not isinstance(rows, list) or not rows:
        msg = f"{path}: video '{video}' needs a list of sentences"
        raise DataError(msg)
    sentences = []
    for row in rows:
        try:
            times = None if row.get("timestamp") is None else tuple(map(float, row["timestamp"]))
            text = row["sentence"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"{path}: video '{video}' has a malformed sentence ({error!r})"
            raise DataError(msg) from error
        if not isinstance(text, str) or (times is not None and (len(times) != 2 or not all(map(isfinite, times)))):
            msg = f"{path}: video '{video}' has a sentence that is no text, or a time stamp of other than two numbers"
            raise DataError(msg)
        sentences.append(Sentence(text, None if times is None else (times[0], times[1])))
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
