"""Small videos made for a test, and plain ways to read a video that ours must agree with."""

from __future__ import annotations

import bisect
import functools
import struct
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from tasks.task import Clip

NATURAL = (
    "bikes_10s.mp4",
    "bottles_40s.mp4",
    "car_park_30s.mp4",
    "charades_31s.mp4",
    "drummer_36s_portrait.mp4",
    "ego_frying_2s.mp4",
    "ego_kitchen_41s.mp4",
    "epic_wall_h264_720p60_10s.mp4",
    "epic_wall_vp9_720p60_10s.webm",
    "flipping_a_pancake_10s.mkv",
    "nasa_13s.mp4",
    "person_139s_10fps.mp4",
    "scrambled_eggs_70s.mp4",
)
ODD_BUT_WHOLE = (
    "av1_5s.mkv",
    "bbb_5s.mp4",
    "fire_rot180_10.5fps.mp4",
    "hevc10_hdr_13s.mp4",
    "no_duration_vp9.webm",
    "nonzero_start.mp4",
    "odd_321x241_vp9.mp4",
    "rot0.mov",
    "rot90.mov",
    "rot180.mov",
    "vfr_vp8_45s.webm",
)


def clip(path: Path, start: float, end: float) -> Clip:
    return Clip(path.stem, start, end, path)


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    assert one.shape == other.shape
    error = float(np.mean((one.astype(np.float32) - other) ** 2))
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def write_video(
    path: Path,
    seconds: list[float],
    *,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    levels: list[int] | None = None,
) -> None:
    """Write frames shown from `seconds` on (to the millisecond); frame i is uniformly grey of `level(i)` or as told."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=30, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for i, second in enumerate(seconds):
            grey = np.full((size[1], size[0], 3), levels[i] if levels else level(i), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = round(second * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def level(i: int) -> int:
    return 20 + 5 * (i * 17 % 41)


@dataclass(frozen=True)
class PlainRead:
    """Every frame of a file, decoded one after the other: when it appears, and its pixels squashed to 48."""

    seconds: list[float]
    pixels: NDArray[np.uint8]

    def shown_at(self, second: float) -> int:
        return max(0, bisect.bisect_right(self.seconds, second + 1e-6) - 1)


@functools.cache
def plain_read(path: Path, until: float = float("inf")) -> PlainRead:
    seconds, pictures = [], []
    with av.open(path) as container:
        stream = container.streams.best("video")
        origin = Fraction(container.start_time or 0, 1_000_000)
        for frame in container.decode(stream):
            seconds.append(float(frame.pts * stream.time_base - origin))
            picture = frame.reformat(48, 48, "rgb24", interpolation=Interpolation.BICUBIC).to_ndarray()
            pictures.append(np.rot90(picture, round(frame.rotation / 90)))
            if seconds[-1] > until:
                break
    return PlainRead(seconds, np.stack(pictures))


def ffmpeg_frame(path: Path, second: float, width: int, height: int) -> NDArray[np.uint8]:
    """The first frame that the ffmpeg program puts out from `second` on, as stored: uint8 [H, W, 3]."""
    command = ["ffmpeg", "-v", "error", "-ss", f"{second:.6f}", "-i", str(path), "-frames:v", "1"]
    raw = subprocess.run(
        [*command, "-pix_fmt", "rgb24", "-f", "rawvideo", "-"], capture_output=True, check=True, timeout=60
    ).stdout
    return np.frombuffer(raw, dtype=np.uint8).reshape(height, width, 3)


# Display matrices by name: x' = ax + cy, y' = bx + dy, of a, b, c, d.
MATRICES = {
    "as stored": (1, 0, 0, 1),
    "mirrored": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
    "turned by 180": (-1, 0, 0, -1),
    "turned to the right": (0, 1, -1, 0),
    "turned to the left": (0, -1, 1, 0),
    "rows for columns": (0, 1, 1, 0),
    "rows for columns, turned": (0, -1, -1, 0),
    "nothing": (0, 0, 0, 0),
}


def with_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a display matrix into the track header of an MP4 file."""
    a, b, c, d = (value << 16 for value in matrix)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
