"""The captions that a model read: from the sample's own notes, or from the caption file that the run names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from baselines.captions import CaptionFile, clean_caption
from evals.html_report.text import clipped
from evals.record import Sample
from tasks.errors import DataError
from tasks.task import Clip

NOTE, CAPTIONS_DIGEST = "captions", "captions_sha256"
SHOWN = 200
LETTERS = 300


@dataclass(frozen=True, slots=True)
class CaptionLine:
    """A caption and when it was; `seconds` is None where nobody says."""

    seconds: float | None
    text: str


def captions_of(sample: Sample, clip: Clip | None, file: CaptionFile | None) -> tuple[CaptionLine, ...]:
    """The sample's captions in order of time, at most `SHOWN` of them."""
    noted = sample.notes.get(NOTE)
    if isinstance(noted, list):
        return tuple(line for entry in noted[:SHOWN] if (line := noted_caption(entry)) is not None)
    if file is None or clip is None:
        return ()
    try:
        captions = file.of(clip)
    except DataError:
        return ()
    return tuple(
        CaptionLine(caption.start, clipped(clean_caption(caption.text), LETTERS)) for caption in captions[:SHOWN]
    )


def noted_caption(entry: object) -> CaptionLine | None:
    """A caption as notes may hold it: a text, or an object with `text` and perhaps `start`."""
    if isinstance(entry, str):
        return CaptionLine(None, clipped(entry, LETTERS))
    if not isinstance(entry, dict):
        return None
    row = cast("Mapping[str, object]", entry)
    text, start = row.get("text"), row.get("start")
    if not isinstance(text, str):
        return None
    return CaptionLine(float(start) if isinstance(start, int | float) else None, clipped(text, LETTERS))
