"""Speech transcripts as captions: `asr_transcripts.json`, whose phrases follow time tokens in 96ths of the duration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from baselines.caption import Caption
from tasks.errors import DataError
from tasks.video_files import is_video_name

TIME_PARTS = 96
PHRASE = re.compile(r"<time_token_(\d+)>\s*<time_token_(\d+)>\s*([^<]*)")


def read_transcripts(path: Path, content: Mapping[str, Any]) -> dict[str, list[str | Caption]]:
    """Time-stamped phrases by video id; a video without speech has none. Raises DataError naming the video."""
    by_video: dict[str, list[str | Caption]] = {}
    rows = content["annotations"]
    for row in rows if isinstance(rows, list) else [rows]:
        try:
            name = str(row["image_id"])
            video = name.removesuffix(PurePosixPath(name).suffix) if is_video_name(PurePosixPath(name)) else name
            duration, speech = float(row["duration"]), str(row["asr_text"])
        except (KeyError, TypeError, ValueError) as error:
            name = row.get("image_id", "?") if isinstance(row, dict) else "?"
            msg = f"transcripts file {path}: '{name}' is malformed ({error!r})"
            raise DataError(msg) from error
        if video in by_video:
            msg = f"transcripts file {path}: '{video}' stands there twice"
            raise DataError(msg)
        by_video[video] = list(phrases(speech, duration))
    if not any(by_video.values()):
        msg = f"transcripts file {path} holds no speech"
        raise DataError(msg)
    return by_video


def phrases(speech: str, duration: float) -> list[Caption]:
    """The phrases with their times in seconds; a token past the end means the end."""
    return [
        Caption(
            min(int(start), TIME_PARTS) * duration / TIME_PARTS,
            min(int(end), TIME_PARTS) * duration / TIME_PARTS,
            " ".join(text.split()),
        )
        for start, end, text in PHRASE.findall(speech)
        if text.strip()
    ]
