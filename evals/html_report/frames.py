"""Small pictures of a clip, as data URIs: what the model was shown, where the video is at hand."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.task import Clip

STRIP = 6
WIDTH, HEIGHT = 160, 120
QUALITY = 60


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture and its second in the video."""

    src: str
    seconds: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Strip:
    """A clip's pictures, or why there are none; `seen` says whether they are at times that the model looked at."""

    frames: tuple[Frame, ...] = ()
    why_not: str = ""
    seen: bool = False

    @property
    def size(self) -> int:
        """Bytes in the page."""
        return sum(len(frame.src) for frame in self.frames)


def strip(clip: Clip, seen: Sequence[float], count: int = STRIP) -> Strip:
    """`count` frames of what the model looked at, by time stamp; of the clip itself where none are recorded."""
    if clip.path is None:
        return Strip(why_not="the video is not on this machine")
    try:
        from encoders.decode import decode
        from encoders.sampling import FramePolicy, sample
        from encoders.video_file import VideoError
    except ImportError:
        return Strip(why_not="the video packages are not installed")
    try:
        times = [t for t in seen if clip.start <= t <= clip.end]
        chosen = spread(times, count) if times else sample(FramePolicy(count=count), clip.start, clip.end).seconds
        pixels = decode(clip.path, tuple(chosen), FramePolicy(count=len(chosen), size=None)).pixels
    except VideoError as error:
        return Strip(why_not=f"the video can't be read ({error})")
    frames = tuple(frame_of(picture, at) for picture, at in zip(pixels, chosen, strict=True))
    return Strip(frames, seen=bool(times))


def spread(times: Sequence[float], count: int) -> list[float]:
    """`count` of the times, evenly over them, in order."""
    ordered = sorted(times)
    count = min(count, len(ordered))
    return [ordered[(2 * i + 1) * len(ordered) // (2 * count)] for i in range(count)]


def frame_of(picture: object, seconds: float) -> Frame:
    """A picture uint8 [H, W, 3] as a small JPEG."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.asarray(picture, dtype=np.uint8))
    image.thumbnail((WIDTH, HEIGHT))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Frame(f"data:image/jpeg;base64,{encoded}", seconds, image.width, image.height)
