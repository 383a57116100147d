"""Summaries of a video's clips as captions: `egoschema_gpt4_summaries_4clips.json`, whose times are frame numbers.

`{video: {"clip_boundaries": [[first, last], …], "action_caption_summaries": [text, …], …}}`. The summaries of
actions are read, those of detected objects left out (ours). They were written with the question in sight, and some
say that it can't be answered: a result from them is not one of question-free captions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

from annotated_types import Len
from typing_extensions import TypedDict

from baselines.caption import Caption
from tasks.errors import DataError
from tasks.files import typed

BOUNDARIES: Final = "clip_boundaries"
TEXTS: Final = "action_caption_summaries"
FRAMES_PER_SECOND = 30.0
"""EgoSchema's clips: 5,400 frames in three minutes."""


class Summaries(TypedDict):
    """What is read of a video's entry."""

    clip_boundaries: list[Annotated[list[float], Len(2, 2)]]
    action_caption_summaries: list[str]


def are_clip_summaries(content: Mapping[str, object]) -> bool:
    """Whether a captions file has this format, by its first video."""
    first = next(iter(content.values()), None)
    return isinstance(first, dict) and BOUNDARIES in first


def read_clip_summaries(path: Path, content: Mapping[str, object]) -> dict[str, list[str | Caption]]:
    """One caption a clip; a clip without length, as some files have at the end, lasts one frame.

    Raises DataError naming the video.
    """
    by_video: dict[str, list[str | Caption]] = {}
    for video, entry in content.items():
        where = f"captions file {path}, '{video}'"
        row = typed(Summaries, entry, where)
        pairs, texts = row[BOUNDARIES], row[TEXTS]
        if len(pairs) != len(texts):
            raise DataError(f"{where} has {len(pairs)} {BOUNDARIES} and {len(texts)} {TEXTS}")
        by_video[video] = [caption_of(pair, text, where) for pair, text in zip(pairs, texts, strict=True)]
    return by_video


def caption_of(pair: Sequence[float], text: str, where: str) -> Caption:
    """A clip's summary as a caption. Raises DataError that begins with `where`."""
    first, last = pair
    if not 0 <= first <= last:
        raise DataError(f"{where} has a clip from frame {first:g} to frame {last:g}")
    return Caption(first / FRAMES_PER_SECOND, max(last, first + 1) / FRAMES_PER_SECOND, " ".join(text.split()))
