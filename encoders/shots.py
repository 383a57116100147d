"""Shot boundaries by PySceneDetect: where the picture changes more than within one shot."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import av.error

from encoders.decode import find_wanted, frames_between
from encoders.video_errors import DamagedVideoError
from encoders.video_file import blame_file, open_video, probe
from tasks.errors import ModelError

DETECTOR = "ContentDetector"
"""PySceneDetect's own default: a change of mean HSV difference past its default threshold."""


def detect_shots(path: Path, start: float, end: float) -> list[tuple[float, float]]:
    """Detect the shots of a video from `start` to `end` in seconds, without gaps; one shot if nothing changes.

    Frames come through PyAV by time stamp: the OpenCV reader misplaces them at varying rates and lacks codecs.
    Raises ModelError without PySceneDetect, a VideoError for a file that can't be read.
    """
    scenedetect = _scenedetect()
    probe(path)
    detector = getattr(scenedetect, DETECTOR)()
    if find_wanted(path, (start,)).index.timed:
        cuts = _cuts(scenedetect, detector, path, start, end)
    else:
        cuts = _cuts_in_order(scenedetect, detector, path, start, end)
    times = [start, *(cut for cut in sorted(cuts) if start < cut < end), end]
    return list(pairwise(times))


def _cuts(scenedetect: Any, detector: Any, path: Path, start: float, end: float) -> set[float]:  # noqa: ANN401
    try:
        found = scenedetect.detect(
            str(path.absolute()), detector, start_time=start, end_time=end, start_in_scene=True, backend="pyav"
        )
    except (av.error.FFmpegError, scenedetect.VideoOpenFailure) as error:
        if isinstance(error, av.error.FFmpegError):
            blame_file(path, error)
        raise DamagedVideoError(f"{path}: shot detection can't decode it ({error})") from error
    return {float(first.seconds) for first, _ in found}


def _cuts_in_order(scenedetect: Any, detector: Any, path: Path, start: float, end: float) -> set[float]:  # noqa: ANN401
    """Find cuts in files whose packets lack presentation times, for which PySceneDetect would use invented ones."""
    import cv2  # a dependency of PySceneDetect

    with open_video(path) as video:
        rate = float(video.rate)
    cuts: set[float] = set()
    for second, frame in frames_between(path, start, end):
        # As PySceneDetect itself scales them.
        factor = scenedetect.scene_manager.compute_downscale_factor(max(frame.width, frame.height))
        size = round(frame.width / factor), round(frame.height / factor)
        small = cv2.resize(frame.to_ndarray(format="bgr24"), size, interpolation=cv2.INTER_LINEAR)
        found = detector.process_frame(scenedetect.FrameTimecode(second, fps=rate), small)
        cuts.update(float(cut.seconds) for cut in found)
    return cuts


def shot_rule() -> str:
    """Return detector and version for the record."""
    return f"{DETECTOR} of scenedetect {_scenedetect().__version__}"


def _scenedetect() -> Any:  # noqa: ANN401 - an untyped library
    try:
        import scenedetect
    except ImportError as error:
        raise ModelError("shot boundaries need PySceneDetect: pip install 'longvid[shots]'") from error
    return scenedetect
