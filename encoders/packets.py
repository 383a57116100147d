"""What the packets of a video say before decoding: which frame is shown when, and what it needs."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import av
import av.error
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from encoders.video_file import OpenVideo

# How far before the first wanted time to look for a key frame before reading from the very beginning.
_LOOK_BACK_SECONDS = (0.0, 12.0)


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


def index_packets(video: OpenVideo, first: int, last: int) -> PacketIndex:
    """Index the packets needed to show the frames from `first` to `last` (ticks), reading no pixels."""
    start = video.stream.start_time or 0
    for seconds in _LOOK_BACK_SECONDS:
        seek_to = first - int(seconds / video.time_base)
        if seek_to - start < int(5 / video.time_base):
            break
        index = _read_index(video, seek_to, last)
        if index.timed and len(index.pts) and index.key[0] and index.pts[0] <= first:
            return index
    if first - start >= int(5 / video.time_base):
        video.container.seek(start, stream=video.stream)
    return _read_index(video, None, last)


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
