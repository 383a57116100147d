"""What the packets of a video say before decoding: which frame is shown when, and what it needs."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from encoders.video_errors import OutsideVideoError, TruncatedVideoError
from encoders.video_file import OpenVideo, open_video

# How far before the first wanted time to look for a key frame before reading from the very beginning.
_LOOK_BACK_SECONDS = (0.0, 12.0)
# Nearer to the beginning than this, reading from there costs less than looking for a key frame.
_LINEAR_SECONDS = 5
# A time stamp that misses a frame's start by float rounding still means that frame.
_ROUNDING = Fraction(1, 1_000_000)
# How long after its end the last frame counts as still on screen: annotations end on rounded seconds.
HOLD_SECONDS = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class PacketIndex:
    """The packets of a stretch in decoding order.

    `pts` int64 [N] ticks, `key` and `shown` bool [N]; `seek_to` is the seek (ticks) that `packets` repeats,
    None for the file's beginning; `end` is the last frame's end in ticks, where the file's own end was
    reached, else None. `timed` is False where packets have no usable time stamps.
    """

    pts: NDArray[np.int64]
    key: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    corrupt: tuple[int, ...]
    seek_to: int | None
    end: int | None
    timed: bool

    def displayed(self, ticks: NDArray[np.int64]) -> NDArray[np.intp]:
        """Positions [T] of the packets whose frames are on screen at `ticks` [T]: the last with pts <= tick.

        Before the first frame, the first frame.
        """
        order = np.flatnonzero(self.shown)
        order = order[np.argsort(self.pts[order], kind="stable")]
        at = np.searchsorted(self.pts[order], ticks, side="right") - 1
        return order[np.maximum(at, 0)]

    def reaches(self, tick: int) -> bool:
        """Whether it begins with a key frame shown at or before `tick`."""
        return self.timed and bool(self.key[0]) and int(self.pts[0]) <= tick

    def key_before(self, position: int) -> int:
        """The key packet from which decoding reaches `position` exactly; 0 where there is none.

        A frame shown before its key frame (a leading picture) is predicted from the group before it.
        """
        keys = np.flatnonzero(self.key[: position + 1])
        usable = keys[self.pts[keys] <= self.pts[position]]
        return int(usable[-1]) if usable.size else 0

    def spoilt_by(self, bad: set[int]) -> NDArray[np.bool_]:
        """Flags [N]: packets in `bad` and whatever may be predicted from them, up to the next key frame."""
        spoilt = np.zeros(len(self.pts), dtype=np.bool_)
        damaged = damaged_before = False
        key_pts: int | None = None
        for position in range(len(self.pts)):
            if self.key[position]:
                damaged, damaged_before = False, damaged
                key_pts = int(self.pts[position])
            damaged = damaged or position in bad
            leading = key_pts is not None and int(self.pts[position]) < key_pts
            spoilt[position] = damaged or (leading and damaged_before)
        return spoilt


def packets(video: OpenVideo, seek_to: int | None) -> Iterator[Packet[VideoStream]]:
    """Packets of the chosen stream from `seek_to` (ticks) on, ending quietly where reading fails."""
    if seek_to is not None:
        video.container.seek(seek_to, stream=video.stream)
    demuxed = video.container.demux(video.stream)
    while True:
        try:
            packet = next(demuxed, None)
        except av.error.FFmpegError:
            return
        if packet is None:
            return
        if packet.size:
            yield packet


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Wanted times as int64 [T] `ticks` of the stream's clock, and the packets that lead to them."""

    ticks: NDArray[np.int64]
    index: PacketIndex


def find_wanted(path: Path, seconds: tuple[float, ...]) -> Wanted:
    """Index the packets needed to show `seconds` (ascending, from the file's beginning), reading no pixels.

    Raises OutsideVideoError or TruncatedVideoError where `seconds` go beyond what the file holds.
    """
    for look_back in _LOOK_BACK_SECONDS:
        with open_video(path) as video:
            ticks = _to_ticks(video, seconds)
            seek_to = int(ticks[0]) - int(look_back / video.time_base)
            if seek_to * video.time_base - video.origin < _LINEAR_SECONDS:
                break
            index = _read_index(video, seek_to, int(ticks[-1]))
            if index.reaches(int(ticks[0])):
                return _checked(video, ticks, index, seconds[-1])
    with open_video(path) as video:
        ticks = _to_ticks(video, seconds)
        return _checked(video, ticks, _read_index(video, None, int(ticks[-1])), seconds[-1])


def _checked(video: OpenVideo, ticks: NDArray[np.int64], index: PacketIndex, last: float) -> Wanted:
    if index.timed and index.end is not None:
        refuse_after(video, video.seconds(index.end), last)
    return Wanted(ticks, index)


def _to_ticks(video: OpenVideo, seconds: tuple[float, ...]) -> NDArray[np.int64]:
    offset = video.origin + _ROUNDING
    return np.array([int((Fraction(s) + offset) // video.time_base) for s in seconds], dtype=np.int64)


def refuse_after(video: OpenVideo, end: float, wanted: float) -> None:
    """Raise OutsideVideoError or TruncatedVideoError where `wanted` is long after the last frame's `end`."""
    if wanted <= end + HOLD_SECONDS:
        return
    declared = video.stream.duration
    if declared is not None and video.seconds(declared + (video.stream.start_time or 0)) >= wanted:
        raise TruncatedVideoError(
            f"{video.path}: breaks off at {end:.2f} s, before the wanted {wanted:.2f} s; download it again"
        )
    raise OutsideVideoError(f"{video.path}: the video ends at {end:.2f} s, before the wanted {wanted:.2f} s")


def _read_index(video: OpenVideo, seek_to: int | None, last: int) -> PacketIndex:
    pts, key, shown = array("q"), array("b"), array("b")
    corrupt: list[int] = []
    end: int | None = None
    timed = True
    for packet in packets(video, seek_to):
        if packet.pts is None:
            timed = False
            break
        if packet.dts is not None and packet.dts > last:
            end = None
            break
        end = max(end or packet.pts, packet.pts + (packet.duration or 0))
        if packet.is_corrupt:
            corrupt.append(len(pts))
        pts.append(packet.pts)
        key.append(packet.is_keyframe)
        shown.append(not packet.is_discard)
    times = np.array(pts, dtype=np.int64)
    timed = timed and len(times) > 0 and len(np.unique(times)) == len(times) and any(shown)
    flags = np.array(key, dtype=np.bool_), np.array(shown, dtype=np.bool_)
    return PacketIndex(times, *flags, tuple(corrupt), seek_to, end, timed)
