"""Record which clip an item was answered about, so that the answer is never used for another clip."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from evals.record import ClipRow
from tasks.digests import file_sha256
from tasks.task import Clip

WHOLE, SAMPLED = "sha256", "sha256-of-samples"
PIECES, PIECE = 16, 1 << 16
FILES_KNOWN = 1 << 14


def looked_at(clip: Clip) -> ClipRow:
    """Describe the clip and the current state of its file, without reading it; its subtitles are read.

    Raises OSError if a file can't be examined.
    """
    spoken = subtitles_of(clip)
    file: dict[str, Any] = {}
    if clip.path is not None and clip.path.is_file():
        found = clip.path.stat()
        file = {"bytes": found.st_size, "stamp": stamp_of(found)}
    return ClipRow(video=clip.video_id, start=clip.start, end=known_end(clip), subtitles=spoken, **file)


def subtitles_of(clip: Clip) -> str | None:
    """Return the digest of the clip's subtitle file, None without one. Raises OSError."""
    if clip.subtitles is None or not clip.subtitles.is_file():
        return None
    return content_of(clip.subtitles, stamp_of(clip.subtitles.stat()), WHOLE)


def known_end(clip: Clip) -> float | None:
    """Return where the clip ends in seconds; None for the end of a video of unknown length."""
    return clip.end if isfinite(clip.end) else None


def same_stretch(one: ClipRow, video: str, start: float, end: float | None) -> bool:
    """Whether a row is about this segment of a video; an unknown end matches any."""
    return (one.video, one.start) == (video, start) and (one.end == end or None in {one.end, end})


def stamp_of(found: os.stat_result) -> str:
    """Return a stamp that changes whenever the file is written to, touched or replaced."""
    return f"{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_ino}"


def with_content(row: ClipRow, clip: Clip, *, frames_seen: bool) -> ClipRow:
    """Add the digest of the file's content to the row: of the whole file if frames of it were looked at."""
    if row.bytes is None or row.stamp is None or clip.path is None:
        return row
    return row.model_copy(update={"content": content_of(clip.path, row.stamp, WHOLE if frames_seen else SAMPLED)})


@lru_cache(maxsize=FILES_KNOWN)
def content_of(path: Path, stamp: str, method: str) -> str:  # noqa: ARG001 - the stamp is part of the cache key
    """Return the digest of a file's content, prefixed with the name of its method. Raises OSError."""
    return f"{method}:{file_sha256(path) if method == WHOLE else sampled_sha256(path)}"


def sampled_sha256(path: Path) -> str:
    """Digest a file's size and samples spread over all of it; small files are read whole.

    Our choice: a model that never looks should not wait until every video has been read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest.update(size.to_bytes(8, "big"))
        last = max(0, size - PIECE)
        for place in dict.fromkeys(number * last // (PIECES - 1) for number in range(PIECES)):
            file.seek(place)
            digest.update(file.read(PIECE))
    return digest.hexdigest()


def difference(row: ClipRow | None, clip: Clip, look: Callable[[Clip], ClipRow] = looked_at) -> str:
    """Say in words how a row's clip differs from the current one; empty if it is the same as far as is known.

    Records from before December 2026 don't say, and a missing video contradicts nothing. `look` describes the current
    clip; a caller with many items may look at each clip once. Raises OSError.
    """
    if row is None:
        return ""
    if not same_stretch(row, clip.video_id, clip.start, known_end(clip)):
        was = stretch_text(row.start, row.end)
        return (
            f"it was answered about {row.video} {was}, and now is about {clip.video_id} "
            f"{stretch_text(clip.start, known_end(clip))}"
        )
    if clip.path is None and clip.subtitles is None:
        return ""
    now = look(clip)
    if other_subtitles(row, now):
        return f"{clip.subtitles} holds other subtitles than when it was answered"
    if row.bytes is None or now.bytes is None or clip.path is None or row.stamp == now.stamp:
        return ""
    method = WHOLE if row.content is None else row.content.partition(":")[0]
    how = ""
    if row.bytes != now.bytes:
        how = f"{now.bytes} bytes, not {row.bytes}"
    elif row.content != content_of(clip.path, now.stamp or "", method):
        how = "its content differs"
    return how and f"{clip.path} is another file than the one it was answered about ({how})"


def other_subtitles(one: ClipRow, other: ClipRow) -> bool:
    """Whether two answers had subtitles that differ; a file that one of them lacked contradicts nothing."""
    return one.subtitles != other.subtitles and None not in (one.subtitles, other.subtitles)


def stretch_text(start: float, end: float | None) -> str:
    """Describe a segment of a video in words."""
    return f"from {start:g} s to its end" if end is None else f"from {start:g} to {end:g} s"


def told_of(row: ClipRow) -> tuple[object, ...]:
    """Return what a row says of its clip, but for the file's stamp, which differs between copies of a file."""
    return (row.video, row.start, row.end, row.bytes, row.content, row.subtitles)


def same_clip(one: ClipRow | None, other: ClipRow | None) -> bool:
    """Whether two runs' answers are about the same clip, as far as both records say."""
    if one is None or other is None or told_of(one) == told_of(other):
        return True
    if not same_stretch(one, other.video, other.start, other.end) or other_subtitles(one, other):
        return False
    if one.bytes is None or other.bytes is None:
        return True
    methods = {row.content.partition(":")[0] for row in (one, other) if row.content is not None}
    return one.bytes == other.bytes and (len(methods) != 1 or one.content == other.content)
