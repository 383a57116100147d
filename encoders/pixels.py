"""From a decoded frame to upright RGB of the policy's size, written where it belongs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from encoders.sampling import FramePolicy
from encoders.video_file import quarter_turns


class Canvas:
    """Pixels uint8 [T, H, W, 3] of `count` frames, allocated once, when the first frame tells their size.

    Scaling and colour conversion are one pass of swscale from the decoder's own format, bicubic as the ffmpeg
    program's default (its kernel widens with the reduction, so nothing aliases).
    """

    def __init__(self, count: int, policy: FramePolicy) -> None:
        self._count = count
        self._policy = policy
        self._reformatter = VideoReformatter()
        self._native: tuple[int, int] | None = None
        self._pixels: NDArray[np.uint8] | None = None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """What was drawn; uint8 [0, 0, 0, 3] before the first frame."""
        return np.empty((0, 0, 0, 3), dtype=np.uint8) if self._pixels is None else self._pixels

    def draw(self, frame: VideoFrame, slots: Sequence[int]) -> None:
        """Convert `frame` and write it to every one of `slots`."""
        width, height = self._stored_size(frame)
        scaled = self._reformatter.reformat(
            frame, width, height, "rgb24", interpolation=Interpolation.BICUBIC, threads=1
        )
        plane = scaled.planes[0]
        # Planes export the buffer protocol; PyAV's stubs don't say so.
        stored = np.frombuffer(plane, np.uint8, height * plane.line_size)  # type: ignore[call-overload]
        rows = stored.reshape(height, plane.line_size)
        picture = np.rot90(rows[:, : width * 3].reshape(height, width, 3), quarter_turns(frame))
        picture = centre_crop(picture, self._policy)
        if self._pixels is None:
            self._pixels = np.empty((self._count, *picture.shape), dtype=np.uint8)
        self._pixels[slots[0]] = picture
        for slot in slots[1:]:
            self._pixels[slot] = self._pixels[slots[0]]

    def _stored_size(self, frame: VideoFrame) -> tuple[int, int]:
        if self._policy.size is not None:
            return scaled_size(frame.width, frame.height, self._policy)
        # A stream may change its size midway; the pixels handed on may not.
        self._native = self._native or (frame.width, frame.height)
        return self._native


def scaled_size(width: int, height: int, policy: FramePolicy) -> tuple[int, int]:
    """Width and height to which a whole picture is scaled under `policy`, before any crop."""
    size = policy.size
    if size is None:
        return width, height
    if policy.fit == "squash":
        return size, size
    # torchvision's Resize, which open_clip uses, rounds the long side down.
    return (size, size * height // width) if width <= height else (size * width // height, size)


def centre_crop(picture: NDArray[np.uint8], policy: FramePolicy) -> NDArray[np.uint8]:
    """The centre square of a picture [H, W, 3] that `scaled_size` made; all of it where none is cropped."""
    if policy.size is None or policy.fit == "squash":
        return picture
    top = round((picture.shape[0] - policy.size) / 2)
    left = round((picture.shape[1] - policy.size) / 2)
    return picture[top : top + policy.size, left : left + policy.size]
