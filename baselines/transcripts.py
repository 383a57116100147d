"""Speech transcripts as captions: `asr_transcripts.json`, whose phrases follow time tokens in 96ths of the duration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated

from annotated_types import Gt
from typing_extensions import TypedDict

from baselines.caption import Caption
from tasks.errors import DataError
from tasks.files import Seconds, typed
from tasks.video_files import is_video_name

TIME_PARTS = 96
PHRASE = re.compile(r"<time_token_(\d+)>\s*<time_token_(\d+)>\s*([^<]*)")


class Row(TypedDict):
    """What is read of a video's entry."""

    image_id: str
    duration: Annotated[Seconds, Gt(0)]
    asr_text: str


def read_transcripts(path: Path, content: Mapping[str, object]) -> dict[str, list[str | Caption]]:
    """Time-stamped phrases by video id; a video without speech has none. Raises DataError naming the entry."""
    by_video: dict[str, list[str | Caption]] = {}
    rows = content["annotations"]
    for number, entry in enumerate(rows if isinstance(rows, list) else [rows], start=1):
        row = typed(Row, entry, f"transcripts file {path}, entry {number} of 'annotations'")
        name = row["image_id"]
        video = name.removesuffix(PurePosixPath(name).suffix) if is_video_name(PurePosixPath(name)) else name
        if video in by_video:
            msg = f"transcripts file {path}: '{video}' is there twice"
            raise DataError(msg)
        by_video[video] = list(phrases(row["asr_text"], row["duration"]))
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
