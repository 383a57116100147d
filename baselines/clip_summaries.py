"""Summaries of a video's clips as captions: `egoschema_gpt4_summaries_4clips.json`, whose times are frame numbers.

`{video: {"clip_boundaries": [[first, last], …], "action_caption_summaries": [text, …], …}}`. The summaries of
actions are read, those of detected objects left out (ours). They were written with the question in sight, and some
say that it can't be answered: a result from them is not one of question-free captions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from baselines.caption import Caption
from tasks.errors import DataError

BOUNDARIES, TEXTS = "clip_boundaries", "action_caption_summaries"
FRAMES_PER_SECOND = 30.0
"""EgoSchema's clips: 5,400 frames in three minutes."""


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
        try:
            pairs, texts = entry[BOUNDARIES], entry[TEXTS]  # type: ignore[index]  # checked by what it raises
            by_video[video] = [
                Caption(
                    float(first) / FRAMES_PER_SECOND,
                    max(float(last), float(first) + 1) / FRAMES_PER_SECOND,
                    " ".join(text.split()),
                )
                for (first, last), text in zip(pairs, texts, strict=True)
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = f"captions file {path}: '{video}' must hold {BOUNDARIES} and as many {TEXTS} ({error!r})"
            raise DataError(msg) from error
    return by_video
