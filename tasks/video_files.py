"""Where a benchmark's videos lie: `videos/<id>` with one of the known endings, in the benchmark's folder."""

from __future__ import annotations

from pathlib import Path

VIDEOS = "videos"
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm")


def video_path(folder: Path, video_id: str) -> Path | None:
    """The video's file, where it is there."""
    paths = (folder / VIDEOS / f"{video_id}{suffix}" for suffix in VIDEO_SUFFIXES)
    return next((path for path in paths if path.is_file()), None)
