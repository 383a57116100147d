"""Segments of a video and the captions that fall into each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Annotated

from annotated_types import Len

from baselines.caption import Caption
from baselines.captions import clean_caption
from tasks.errors import DataError
from tasks.files import Seconds, read_json, typed
from tasks.task import Clip
from tasks.youcook2_annotations import read_annotations

Boundaries = dict[str, list[Annotated[list[Seconds], Len(2, 2)]]]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of video (seconds) and what its captions say, without immediate repeats."""

    start: float
    end: float
    texts: tuple[str, ...]


def uniform_boundaries(clip: Clip, seconds: float) -> list[tuple[float, float]]:
    """Cut a clip every `seconds`; the last piece is what remains (paper: 16 s)."""
    count = max(1, ceil(clip.known_duration / seconds - 1e-9))
    starts = [clip.start + i * seconds for i in range(count)]
    return list(zip(starts, [*starts[1:], clip.end], strict=True))


def load_boundaries(path: Path) -> Mapping[str, list[tuple[float, float]]]:
    """Read `{video id: [[start, end], …]}` in seconds, or the steps of YouCook2's annotation file ("oracle").

    Raises DataError naming file and id.
    """
    where = f"boundaries file {path}"
    content = read_json(path, "boundaries file")
    if isinstance(content, dict) and set(content) == {"database"}:
        return {video.id: [(step.start, step.end) for step in video.segments] for video in read_annotations(path)}
    boundaries: dict[str, list[tuple[float, float]]] = {}
    for video, pairs in typed(Boundaries, content, where).items():
        boundaries[video] = [(start, end) for start, end in pairs]
        if not pairs or any(not 0 <= start < end for start, end in pairs):
            msg = f"{where}: '{video}' has no segment, or one that ends before it starts, or starts before 0 s"
            raise DataError(msg)
    if not boundaries:
        raise DataError(f"{where} must hold {{video id: [[start, end], …]}} in seconds, with at least one video")
    return boundaries


def own_segments(captions: Sequence[Caption], clip: Clip) -> list[Segment]:
    """Each caption as a segment of its own; those outside the clip are left out."""
    return [
        Segment(caption.start, caption.end, (text,) if (text := clean_caption(caption.text)) else ())
        for caption in captions
        if caption.start < clip.end and caption.end > clip.start
    ]


def group_captions(captions: Sequence[Caption], boundaries: Sequence[tuple[float, float]]) -> list[Segment]:
    """Give each caption to the segment that holds its middle; captions outside every segment are left out."""
    segments = []
    for start, end in boundaries:
        texts: list[str] = []
        for caption in captions:
            if start <= (caption.start + caption.end) / 2 < end:
                text = clean_caption(caption.text)
                if text and (not texts or texts[-1] != text):
                    texts.append(text)
        segments.append(Segment(start, end, tuple(texts)))
    return segments


def thin(segments: Sequence[Segment], keep_every: int) -> list[Segment]:
    """Keep every `keep_every`-th text, counted over the whole video, starting with the first."""
    thinned = []
    position = 0
    for segment in segments:
        kept = [text for i, text in enumerate(segment.texts, start=position) if i % keep_every == 0]
        position += len(segment.texts)
        thinned.append(Segment(segment.start, segment.end, tuple(kept)))
    return thinned


def render(segments: Sequence[Segment]) -> str:
    """One line per segment that says something: `[0:16-0:32] C washes a bowl; C picks a sponge`."""
    return "\n".join(
        f"[{clock(segment.start)}-{clock(segment.end)}] {'; '.join(segment.texts)}"
        for segment in segments
        if segment.texts
    )


def clock(seconds: float) -> str:
    """Minutes and seconds, `2:05`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
