"""From a clip and a policy to pixels: what everything that looks at a video goes through."""

from __future__ import annotations

from dataclasses import dataclass
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
    `share_of_clip` is the part of the clip that the policy covers, 1 unless it was cut off.
    """

    pixels: NDArray[np.uint8]
    seconds: tuple[float, ...]
    frame_seconds: tuple[float, ...]
    share_of_clip: float

    @property
    def seen(self) -> FramesSeen:
        """What a record keeps of them."""
        return FramesSeen(len(self.seconds), self.seconds, self.share_of_clip)


def read_frames(clip: Clip, policy: FramePolicy, *, threads: int = 1, backend: Backend = "pyav") -> Frames:
    """The frames that `policy` takes from `clip`, decoded by `threads` threads.

    At a time stamp the frame on screen then is taken: the last that appeared at or before it. Raises a
    VideoError that names the file and the cause, or FramePolicyError for a clip without length.
    """
    if clip.path is None:
        raise MissingVideoError(f"{clip.video_id}: the clip names no video file")
    stamps = sample(policy, clip.start, clip.end)
    if backend == "torchcodec":
        decoded = decode_torchcodec(clip.path, stamps.seconds, policy, threads)
    else:
        decoded = decode(clip.path, stamps.seconds, policy, threads)
    return Frames(decoded.pixels, stamps.seconds, decoded.frame_seconds, stamps.share_of_clip)
