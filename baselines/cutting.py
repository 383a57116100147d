"""How a clip is cut into segments to be captioned one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path

from baselines.segments import load_boundaries, uniform_boundaries
from encoders.video_file import MissingVideoError
from tasks.digests import file_sha256
from tasks.errors import DataError, ModelError
from tasks.task import Clip

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Cutting:
    """A rule with a name that says all that decides its segments."""

    name: str
    cut: Callable[[Clip], list[Span]]


def parse_cutting(text: str) -> Cutting:
    """`uniform:N` (seconds; paper: 16), `shots`, `shots:N`, `whole`, or a JSON file of given boundaries ("oracle").

    `shots:N` cuts shots longer than N seconds into equal pieces no longer than that (ours). Raises ModelError for
    anything else, DataError for a bad file.
    """
    kind, _, number = text.partition(":")
    if text == "whole":
        return Cutting("whole", lambda clip: [(clip.start, clip.end)])
    if kind == "uniform":
        seconds = _seconds(text, number)
        return Cutting(f"uniform {seconds:g} s", lambda clip: uniform_boundaries(clip, seconds))
    if kind == "shots":
        from encoders.shots import shot_rule  # a decoder, which given captions do without

        longest = _seconds(text, number) if number else None
        name = f"shots by {shot_rule()}" + (f", at most {longest:g} s" if longest else "")
        return Cutting(name, lambda clip: _shots(clip, longest))
    path = Path(text)
    if not path.is_file():
        raise ModelError(f"cut='{text}' is no rule and no file: uniform:N, shots, shots:N, whole, or a JSON file")
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
