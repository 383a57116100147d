"""Opening a video file, choosing its stream, and what its header says."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from encoders.video_errors import (
    CoverArtOnlyError,
    DamagedVideoError,
    EmptyVideoError,
    MissingVideoError,
    NoStreamsError,
    NoVideoStreamError,
    UnreadableVideoError,
    UnsupportedCodecError,
)

_MICROSECONDS = Fraction(1, 1_000_000)
# Matroska rounds to milliseconds, so equal gaps come out one tick apart; some writers are off by one more.
_ROUNDED_TICKS = 2
_SAME_RATE = 0.001


@dataclass(frozen=True, slots=True)
class OpenVideo:
    """An open file with its video stream; `origin` is what second 0 is in the file's own time (seconds)."""

    path: Path
    container: InputContainer
    stream: VideoStream
    origin: Fraction

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of the stream's time stamps."""
        return self.stream.time_base or _MICROSECONDS

    def seconds(self, ticks: int) -> float:
        """Seconds since the file's beginning of a time stamp in ticks."""
        return round(float(ticks * self.time_base - self.origin), 6) + 0.0


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video file is; `width` and `height` are those of the upright picture.

    `rotation` (degrees, counter-clockwise) is what brings the stored picture upright.

    `duration` (seconds) ends with the last frame and counts from the file's beginning, `start` is where the
    first frame appears; `fps` is None where the rate varies, `frame_count` where the header has none.
    """

    path: Path
    duration: float
    start: float
    width: int
    height: int
    rotation: int
    codec: str
    fps: float | None
    frame_count: int | None


@contextmanager
def open_video(path: Path, threads: int = 1) -> Iterator[OpenVideo]:
    """Open `path` and choose its video stream as FFmpeg does; raises a VideoError of its own per cause."""
    if not path.is_file():
        raise MissingVideoError(f"{path}: no such video file")
    if path.stat().st_size == 0:
        raise EmptyVideoError(f"{path}: the file is empty (0 bytes); download it again")
    try:
        container = av.open(path)
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UnreadableVideoError(f"{path}: not a readable media file ({reason})") from error
    with container:
        stream = _choose_stream(path, container)
        for other in container.streams:
            other.discard = Discard.default if other.index == stream.index else Discard.all
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "FRAME" if threads > 1 else "NONE"
        yield OpenVideo(path, container, stream, _origin(container, stream))


def _choose_stream(path: Path, container: InputContainer) -> VideoStream:
    if not len(container.streams):
        raise NoStreamsError(f"{path}: the container holds no streams")
    if not container.streams.video:
        kinds = ", ".join(sorted({stream.type for stream in container.streams}))
        raise NoVideoStreamError(f"{path}: no video stream, only {kinds}")
    stills = Disposition.attached_pic | Disposition.timed_thumbnails
    if all(stream.disposition & stills for stream in container.streams.video):
        raise CoverArtOnlyError(f"{path}: its only picture is cover art, not a video")
    best = container.streams.best("video")
    if not isinstance(best, VideoStream) or best.disposition & stills:
        best = next(stream for stream in container.streams.video if not stream.disposition & stills)
    if best.codec_context is None:
        raise UnsupportedCodecError(f"{path}: no decoder for its video stream {best.index}")
    return best


def _origin(container: InputContainer, stream: VideoStream) -> Fraction:
    # As players and the ffmpeg program count: from the earliest stream's start, not from the clock's zero.
    start: int | None = container.start_time
    if start is not None:
        return start * _MICROSECONDS
    if stream.start_time is not None and stream.time_base is not None:
        return stream.start_time * stream.time_base
    return Fraction(0)


def probe(path: Path) -> VideoInfo:
    """Describe the video at `path`: its packets are read and one frame is decoded."""
    with open_video(path) as video:
        stream = video.stream
        count = stream.frames or None
        codec = stream.codec_context.codec.canonical_name
        declared = stream.duration
        start_time = stream.start_time or 0
        ticks, last_length = _packet_times(video)
        if declared is not None:
            end = video.seconds(start_time + declared)
        else:
            end = video.seconds(int(ticks[-1]) + last_length) if ticks.size else 0.0
        fps = _constant_rate(ticks, video)
    with open_video(path) as video:
        first = _first_frame(video)
        start = video.seconds(first.pts or 0)
    rotation = quarter_turns(first) * 90
    width, height = (first.height, first.width) if rotation in {90, 270} else (first.width, first.height)
    return VideoInfo(path, end, start, width, height, rotation, codec, fps, count)


def _packet_times(video: OpenVideo) -> tuple[NDArray[np.int64], int]:
    """Time stamps in order of display, and how long the last of them lasts (ticks)."""
    times, last_length = array("q"), 0
    demuxed = video.container.demux(video.stream)
    # A file that breaks off is described as far as it goes.
    with suppress(av.error.FFmpegError):
        for packet in demuxed:
            if packet.pts is None or packet.is_discard:
                continue
            if not times or packet.pts >= max(times[-1], times[0]):
                last_length = packet.duration or 0
            times.append(packet.pts)
    return np.sort(np.array(times, dtype=np.int64)), last_length


def _constant_rate(ticks: NDArray[np.int64], video: OpenVideo) -> float | None:
    """Frames per second where all gaps are equal but for the rounding of time stamps to ticks."""
    gaps = np.diff(ticks)
    if not gaps.size or gaps.max() - gaps.min() > _ROUNDED_TICKS:
        return None
    measured = gaps.size / (int(ticks[-1] - ticks[0]) * video.time_base)
    declared = video.stream.average_rate
    # The header's rate is free of the rounding, where it is the rate at all.
    return float(declared if declared and abs(declared / measured - 1) < _SAME_RATE else measured)


def _first_frame(video: OpenVideo) -> VideoFrame:
    try:
        for frame in video.container.decode(video.stream):
            return frame
    except av.error.FFmpegError as error:
        raise DamagedVideoError(f"{video.path}: cannot decode its first frame ({error.strerror})") from error
    raise DamagedVideoError(f"{video.path}: the video stream holds no frame that can be decoded")


def quarter_turns(frame: VideoFrame) -> int:
    """Counter-clockwise quarter turns that bring the stored picture of `frame` upright (0 to 3)."""
    return round(frame.rotation / 90) % 4
