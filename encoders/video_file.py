"""Open a video file, choose its stream, read its header, and report unreadable files."""

from __future__ import annotations

import errno
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import SupportsBytes, cast

import av
import av.error
import numpy as np
from av.container import Flags, InputContainer
from av.packet import Packet
from av.sidedata.sidedata import Type as SideData
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from encoders.cut_off import breaks_at, is_cut_off, tells_length
from encoders.video_errors import (
    CoverArtOnlyError,
    DamagedVideoError,
    EmptyVideoError,
    MissingVideoError,
    NoStreamsError,
    NoVideoStreamError,
    ResourcesError,
    TruncatedVideoError,
    UnreadableVideoError,
    UnsupportedCodecError,
)
from tasks.video_files import local_address

_MICROSECONDS = Fraction(1, 1_000_000)
# Matroska rounds to milliseconds, so equal gaps differ by one tick; some writers are off by one more.
_ROUNDED_TICKS = 2
_SAME_RATE = 0.001
_USUAL_RATE = Fraction(25)
_NOT_OF_THE_FILE = {errno.ENOMEM, errno.EMFILE, errno.ENFILE}


@dataclass(frozen=True, slots=True)
class OpenVideo:
    """An open file with its video stream; `origin` is the time of second 0 on the file's own clock (seconds)."""

    path: Path
    container: InputContainer
    stream: VideoStream
    origin: Fraction

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of the stream's time stamps."""
        return self.stream.time_base or _MICROSECONDS

    @property
    def rate(self) -> Fraction:
        """Frames per second according to the header, or a guess."""
        return self.stream.guessed_rate or self.stream.average_rate or _USUAL_RATE

    @property
    def pixel_shape(self) -> float:
        """The width of a stored pixel over its height; 1 if the file does not say."""
        told = self.stream.sample_aspect_ratio or self.stream.codec_context.sample_aspect_ratio
        return float(told) if told else 1.0

    @property
    def frame_ticks(self) -> int:
        """Duration of a frame in ticks by the header's rate, for use without time stamps."""
        return max(1, round(1 / (self.rate * self.time_base)))

    @property
    def declared_end(self) -> float | None:
        """End of the video according to the header, in seconds since the beginning."""
        ticks = self.stream.duration
        if "avi" in self.container.format.name and self.is_cut_off:
            # FFmpeg may replace the header's length by its own estimate, but not the count of frames.
            ticks = self.stream.frames or ticks
        if ticks is not None:
            return self.seconds(ticks + (self.stream.start_time or 0))
        length: int | None = self.container.duration
        return None if length is None else float(length * _MICROSECONDS)

    @property
    def is_cut_off(self) -> bool:
        """Whether the file is truncated, judging by its container structure."""
        return is_cut_off(self.path, self.container.format.name)

    @property
    def breaks_at(self) -> int | None:
        """The byte from which the container's structure is broken, in the formats where FFmpeg doesn't say so."""
        return breaks_at(self.path, self.container.format.name)

    @property
    def tells_length(self) -> bool:
        """Whether `declared_end` is that of the whole file, even if it is truncated."""
        return self.declared_end is not None and tells_length(self.path, self.container.format.name)

    def seconds(self, ticks: int) -> float:
        """Convert a time stamp in ticks to seconds since the file's beginning."""
        return round(float(ticks * self.time_base - self.origin), 6) + 0.0


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Facts about a video file; `width` and `height` are those of the upright picture.

    `rotation` (degrees, counter-clockwise) turns the stored picture upright, up to a mirroring of left and right.

    `duration` (seconds) is the end of the last frame, counted from the file's beginning; in a truncated file, of the
    last frame that there was. `start` is when the first frame appears; `fps` is None if the rate varies, and
    `frame_count` is None if the header has none.
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
    """Open `path` and choose its video stream as FFmpeg does; raises a distinct VideoError for each cause."""
    if not path.is_file():
        raise MissingVideoError(f"{path}: no such video file")
    if path.stat().st_size == 0:
        raise EmptyVideoError(f"{path}: the file is empty (0 bytes); download it again")
    container = _open_container(path)
    with container:
        stream = _choose_stream(path, container)
        for other in container.streams:
            other.discard = Discard.default if other.index == stream.index else Discard.all
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "FRAME" if threads > 1 else "NONE"
        yield OpenVideo(path, container, stream, _origin(container, stream))


def _open_container(path: Path) -> InputContainer:
    try:
        # Entries of playlists are never fetched; tags in another encoding are no reason to refuse a video.
        container = av.open(
            local_address(path), "r", container_options={"protocol_whitelist": "file"}, metadata_errors="replace"
        )
    except av.error.FFmpegError as error:
        blame_file(path, error)
        raise UnreadableVideoError(f"{path}: not a readable media file ({error.strerror})") from error
    # PyAV lets FFmpeg invent missing presentation times, which are wrong if frames are reordered.
    container.flags &= ~cast("int", Flags.gen_pts.value)
    return container


def blame_file(path: Path, error: av.error.FFmpegError) -> None:
    """Raise ResourcesError if an error of FFmpeg is not about the file."""
    # A RuntimeError is an internal error of FFmpeg or PyAV.
    if isinstance(error, RuntimeError) or error.errno in _NOT_OF_THE_FILE:
        raise ResourcesError(f"{path}: can't be read now ({error.strerror}); the file may be whole") from error


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
    """Describe the video at `path`: its packets are read and one frame is decoded.

    Raises a VideoError, among them TruncatedVideoError for a truncated file that doesn't say how long it was.
    """
    with open_video(path) as video:
        stream = video.stream
        count = stream.frames or None
        codec = stream.codec_context.codec.canonical_name
        ticks, last_length = _packet_times(video)
        end = _end(video, ticks, last_length)
        fps = _constant_rate(ticks, video)
    with open_video(path) as video:
        first = first_frame(video)
        start = video.seconds(first.dts or 0 if first.pts is None else first.pts)
    placed = placing(first)
    rotation = placed.quarter_turns * 90
    width, height = (first.height, first.width) if placed.transposed else (first.width, first.height)
    return VideoInfo(path, end, start, width, height, rotation, codec, fps, count)


def _end(video: OpenVideo, ticks: NDArray[np.int64], last_length: int) -> float:
    found = video.seconds(int(ticks[-1]) + last_length) if ticks.size else 0.0
    declared = video.declared_end
    if not video.is_cut_off:
        return found if declared is None or video.stream.duration is None else declared
    if declared is None or not video.tells_length:
        raise TruncatedVideoError(
            f"{video.path}: breaks off at {found:.2f} s and doesn't say how long it was; download it again, or copy "
            "the rest into a new file (ffmpeg -i OLD -c copy NEW)"
        )
    return max(found, declared)


def _packet_times(video: OpenVideo) -> tuple[NDArray[np.int64], int]:
    """Return time stamps in presentation order, and the duration of the last frame (ticks)."""
    pts, dts, lengths = array("q"), array("q"), array("q")
    for packet in read_packets(video):
        if packet.is_discard:
            continue
        lengths.append(packet.duration or 0)
        if packet.pts is not None:
            pts.append(packet.pts)
        if packet.dts is not None:
            dts.append(packet.dts)
    found = next((times for times in (pts, dts) if len(times) == len(lengths)), None)
    if found is None:
        # Without any time stamps, frames follow each other at the header's rate.
        return np.arange(len(lengths), dtype=np.int64) * video.frame_ticks, video.frame_ticks
    times = np.array(found, dtype=np.int64)
    return np.sort(times), lengths[int(times.argmax())] if len(times) else 0


def read_packets(video: OpenVideo) -> Iterator[Packet[VideoStream]]:
    """Yield packets of the chosen stream from the current position, ending silently if reading fails."""
    demuxed = video.container.demux(video.stream)
    while True:
        try:
            packet = next(demuxed, None)
        except av.error.FFmpegError as error:
            blame_file(video.path, error)
            return
        if packet is None:
            return
        if packet.size:
            yield packet


def _constant_rate(ticks: NDArray[np.int64], video: OpenVideo) -> float | None:
    """Return the frame rate if all gaps are equal up to the rounding of time stamps to ticks."""
    gaps = np.diff(ticks)
    if not gaps.size or gaps.max() - gaps.min() > _ROUNDED_TICKS:
        return None
    measured = gaps.size / (int(ticks[-1] - ticks[0]) * video.time_base)
    declared = video.stream.average_rate
    # The header's rate has no rounding error, if it is the actual rate.
    return float(declared if declared and abs(declared / measured - 1) < _SAME_RATE else measured)


def first_frame(video: OpenVideo) -> VideoFrame:
    """Decode the first frame. Raises DamagedVideoError."""
    try:
        for frame in video.container.decode(video.stream):
            return frame
    except av.error.FFmpegError as error:
        blame_file(video.path, error)
        raise DamagedVideoError(f"{video.path}: cannot decode its first frame ({error.strerror})") from error
    raise DamagedVideoError(f"{video.path}: the video stream holds no frame that can be decoded")


@dataclass(frozen=True, slots=True)
class Placing:
    """How a stored picture is displayed: exchange rows and columns, then left and right, then top and bottom."""

    transposed: bool = False
    mirrored: bool = False
    upturned: bool = False

    @property
    def quarter_turns(self) -> int:
        """Counter-clockwise quarter turns (0 to 3) of the stored picture, up to a mirroring of left and right."""
        if self.transposed:
            return 1 if self.upturned else 3
        return 2 if self.upturned else 0

    @property
    def flipped(self) -> bool:
        """Whether a mirror image is displayed, which no turn alone gives."""
        return (self.mirrored != self.upturned) != self.transposed

    def upright(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a stored picture [H, W, 3] as it is displayed, as a view."""
        shown = picture.transpose(1, 0, 2) if self.transposed else picture
        return shown[:: -1 if self.upturned else 1, :: -1 if self.mirrored else 1]


_AS_STORED = Placing()


def placing(frame: VideoFrame) -> Placing:
    """Read a frame's display matrix: turns by quarters and mirror images, as phones store them.

    PyAV's `rotation` alone says of a mirror image that it is turned by 180 degrees.
    """
    # PyAV's stubs don't name the keys' and values' types.
    matrix = cast("Mapping[SideData, SupportsBytes]", frame.side_data).get(SideData.DISPLAYMATRIX)
    if matrix is None:
        return _AS_STORED
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32, count=5).tolist()  # x' = ax + cy, y' = bx + dy
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Placing(transposed=True, mirrored=c < 0, upturned=b < 0)
    return Placing(mirrored=a < 0, upturned=d < 0)
