"""How a clip is cut into segments, and which captions fall into each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Annotated

from annotated_types import Len

from baselines.captions import Caption, clean_caption
from encoders.video_errors import MissingVideoError
from tasks.data_roots import data_file
from tasks.digests import file_sha256
from tasks.errors import DataError, ModelError
from tasks.files import Seconds, read_json, typed
from tasks.task import Clip
from tasks.youcook2_annotations import read_annotations

Boundaries = dict[str, list[Annotated[list[Seconds], Len(2, 2)]]]


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of video (seconds) and its captions' texts, without immediate repeats."""

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
    path = data_file(path)
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
    """Make each caption a segment of its own; captions outside the clip are left out."""
    return [
        Segment(caption.start, caption.end, (text,) if (text := clean_caption(caption.text)) else ())
        for caption in captions
        if caption.start < clip.end and caption.end > clip.start
    ]


def group_captions(captions: Sequence[Caption], boundaries: Sequence[tuple[float, float]]) -> list[Segment]:
    """Assign each caption to the segment that holds its middle; captions outside every segment are left out."""
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
    """Write one line per segment with text: `[0:16-0:32] C washes a bowl; C picks a sponge`."""
    return "\n".join(
        f"[{clock(segment.start)}-{clock(segment.end)}] {'; '.join(segment.texts)}"
        for segment in segments
        if segment.texts
    )


def clock(seconds: float) -> str:
    """Format seconds as minutes and seconds, `2:05`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Cutting:
    """A cutting rule with a name that includes all that decides its segments."""

    name: str
    cut: Callable[[Clip], list[Span]]


def parse_cutting(text: str) -> Cutting:
    """Parse `uniform:N` (seconds; paper: 16), `shots`, `shots:N`, `whole`, or a JSON file of boundaries ("oracle").

    `shots:N` cuts shots longer than N seconds into equal pieces no longer than that (our choice). Raises ModelError for
    anything else, DataError for a bad file.
    """
    kind, _, number = text.partition(":")
    if text == "whole":
        return Cutting("whole", lambda clip: [(clip.start, clip.end)])
    if kind == "uniform":
        seconds = _seconds(text, number)
        return Cutting(f"uniform {seconds:g} s", lambda clip: uniform_boundaries(clip, seconds))
    if kind == "shots":
        from encoders.shots import shot_rule  # imports a decoder, which given captions don't need

        longest = _seconds(text, number) if number else None
        name = f"shots by {shot_rule()}" + (f", at most {longest:g} s" if longest else "")
        return Cutting(name, lambda clip: _shots(clip, longest))
    path = Path(text)
    if not path.is_file():
        raise ModelError(f"cut='{text}' is neither a rule nor a file: uniform:N, shots, shots:N, whole, or a JSON file")
    boundaries = load_boundaries(path)

    def given(clip: Clip) -> list[Span]:
        inside = [(a, b) for a, b in boundaries.get(clip.video_id, ()) if clip.start <= (a + b) / 2 <= clip.end]
        if not inside:
            raise DataError(f"{path} has no segment of '{clip.video_id}' from {clip.start:g} to {clip.end:g} s")
        return sorted((max(a, clip.start), min(b, clip.end)) for a, b in inside)

    return Cutting(f"boundaries {file_sha256(path)[:16]}", given)


def _seconds(text: str, number: str) -> float:
    try:
        seconds = float(number)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ModelError(f"cut='{text}' needs a number of seconds above 0, such as uniform:16")
    return seconds


def _shots(clip: Clip, longest: float | None) -> list[Span]:
    if clip.path is None:
        raise MissingVideoError(f"{clip.video_id}: the clip names no video file")
    from encoders.shots import detect_shots

    pieces: list[Span] = []
    for start, end in detect_shots(clip.path, clip.start, clip.end):
        count = max(1, ceil((end - start) / longest - 1e-9)) if longest else 1
        times = [start + (end - start) * i / count for i in range(count)]
        pieces += pairwise([*times, end])
    return pieces
