"""Shot boundaries by PySceneDetect: where the picture changes too much for one camera."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import av.error

from encoders.video_errors import DamagedVideoError
from encoders.video_file import blame_file, probe
from tasks.errors import ModelError

DETECTOR = "ContentDetector"
"""PySceneDetect's own default: a change of mean HSV difference past its default threshold."""


def detect_shots(path: Path, start: float, end: float) -> list[tuple[float, float]]:
    """The shots of a video from `start` to `end` in seconds, without gaps; one where nothing changes.

    Frames come through PyAV by time stamp: the OpenCV reader misplaces them at varying rates and lacks codecs.
    Raises ModelError without PySceneDetect, a VideoError for a file that can't be read.
    """
    scenedetect = _scenedetect()
    probe(path)
    detector = getattr(scenedetect, DETECTOR)()
    try:
        found = scenedetect.detect(
            str(path.absolute()), detector, start_time=start, end_time=end, start_in_scene=True, backend="pyav"
        )
    except (av.error.FFmpegError, scenedetect.VideoOpenFailure) as error:
        if isinstance(error, av.error.FFmpegError):
            blame_file(path, error)
        raise DamagedVideoError(f"{path}: shot detection can't decode it ({error})") from error
    cuts = sorted({float(first.seconds) for first, _ in found})
    times = [start, *(cut for cut in cuts if start < cut < end), end]
    return list(pairwise(times))


def shot_rule() -> str:
    """Detector and version, as a record keeps them."""
    return f"{DETECTOR} of scenedetect {_scenedetect().__version__}"


def _scenedetect() -> Any:  # noqa: ANN401 - an untyped library
    try:
        import scenedetect
    except ImportError as error:
        raise ModelError("shot boundaries need PySceneDetect: pip install 'longvid[shots]'") from error
    return scenedetect
