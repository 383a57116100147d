"""Read pixels of a clip by a frame policy; every video reader uses this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from encoders.decode import decode
from encoders.decode_torchcodec import decode_torchcodec
from encoders.sampling import FramePolicy, sample
from encoders.video_errors import MissingVideoError
from tasks.task import Clip, FramesSeen

Backend = Literal["pyav", "torchcodec"]


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Pixels uint8 [T, H, W, 3], upright RGB.

    `seconds` [T] are the policy's time stamps, `frame_seconds` [T] when each frame came on screen;
    `share_of_clip` is the part of the clip that the policy covers, 1 unless it was truncated.
    """

    pixels: NDArray[np.uint8]
    seconds: tuple[float, ...]
    frame_seconds: tuple[float, ...]
    share_of_clip: float

    @property
    def seen(self) -> FramesSeen:
        """Return what a record keeps of the frames."""
        return FramesSeen(len(self.seconds), self.seconds, self.share_of_clip)


def read_frames(clip: Clip, policy: FramePolicy, *, threads: int = 1, backend: Backend = "pyav") -> Frames:
    """Read the frames that `policy` takes from `clip`, decoded by `threads` threads.

    At each time stamp, the frame on screen is taken: the last that appeared at or before it. Raises a
    VideoError that names the file and the cause, or FramePolicyError for a clip without length.
    """
    if clip.path is None:
        raise MissingVideoError(f"{clip.video_id}: the clip names no video file")
    stamps = sample(policy, clip.start, clip.end)
    policy = policy.for_frames(len(stamps.seconds))
    if backend == "torchcodec":
        decoded = decode_torchcodec(clip.path, stamps.seconds, policy, threads)
    else:
        decoded = decode(clip.path, stamps.seconds, policy, threads)
    return Frames(decoded.pixels, stamps.seconds, decoded.frame_seconds, stamps.share_of_clip)


def read_together(clips: Sequence[Clip], policy: FramePolicy, *, threads: int = 1) -> list[Frames]:
    """Read the frames of each clip as `read_frames` does, but decode every file in one pass.

    For many short clips of few videos: all their pixels are held at once. Raises as `read_frames` does.
    """
    together: dict[tuple[Path, FramePolicy], list[int]] = {}
    stamps = []
    for number, clip in enumerate(clips):
        if clip.path is None:
            raise MissingVideoError(f"{clip.video_id}: the clip names no video file")
        stamps.append(sample(policy, clip.start, clip.end))
        shaped = policy.for_frames(len(stamps[number].seconds))
        together.setdefault((clip.path, shaped), []).append(number)
    frames: dict[int, Frames] = {}
    for (path, shaped), numbers in together.items():
        seconds = sorted({second for number in numbers for second in stamps[number].seconds})
        decoded = decode(path, tuple(seconds), shaped, threads)
        slots = {second: slot for slot, second in enumerate(seconds)}
        for number in numbers:
            own = [slots[second] for second in stamps[number].seconds]
            shown = tuple(decoded.frame_seconds[slot] for slot in own)
            frames[number] = Frames(decoded.pixels[own], stamps[number].seconds, shown, stamps[number].share_of_clip)
    return [frames[number] for number in range(len(clips))]
