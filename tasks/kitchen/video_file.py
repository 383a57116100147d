"""A plan as an H.264 file: the pictures of `render`, encoded."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.kitchen.plan import Plan
from tasks.kitchen.render import render
from tasks.video_files import local_address

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

SIDE = 128
AT_ONCE = 64
OPTIONS = {"preset": "veryfast", "crf": "20", "g": "8", "bf": "0", "threads": "1"}
"""Ours: a key frame every two seconds, so that sparse frames are reached quickly; one thread, so that bytes repeat."""


def write_video(plan: Plan, path: Path, side: int = SIDE) -> None:
    """Write the whole video to `path`; it appears there only when it is complete."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with av.open(local_address(unfinished), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=plan.config.fps, options=OPTIONS)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, plan.config.fps)
        encode(plan, container, stream)
    unfinished.replace(path)


def encode(plan: Plan, container: av.container.OutputContainer, stream: VideoStream) -> None:
    """Render and encode, a few pictures at a time, so that memory doesn't grow with the video."""
    import av

    fps = plan.config.fps
    count = ceil(plan.duration * fps)
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        for number, picture in zip(numbers, render(plan, [i / fps for i in numbers], stream.width), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
