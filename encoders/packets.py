"""What the packets of a video say before decoding: which frame is shown when, and what it needs."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal

import av
import av.error
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from encoders.video_errors import OutsideVideoError, TruncatedVideoError
from encoders.video_file import OpenVideo, blame_file, open_video, read_packets

# How far before the first wanted time to look for a key frame before reading from the very beginning.
_LOOK_BACK_SECONDS = (0.0, 12.0)
# Nearer to the beginning than this, reading from there costs less than looking for a key frame.
_LINEAR_SECONDS = 5
# A time stamp that misses a frame's start by float rounding still means that frame.
_ROUNDING = Fraction(1, 1_000_000)
# How long after its end the last frame counts as still on screen: annotations end on rounded seconds.
HOLD_SECONDS = 1.0
# The most frames that a decoder holds back to bring them into order of display (H.264 and HEVC: 16).
REORDER_DEPTH = 16
# As many packets show whether a stream has frames out of order of display.
_LOOKED_AT = 64
_NO_STAMP = -(1 << 63)
Clock = Literal["pts", "dts", "count"]


@dataclass(frozen=True, slots=True, eq=False)
class PacketIndex:
    """The packets of a stretch in decoding order.

    `pts` int64 [N] ticks, `key` and `shown` bool [N]; `seek_to` is the seek (ticks) that `packets` repeats,
    None for the file's beginning. Where the file's own end was reached, `end` is the last frame's end in ticks, and up
    to `complete_to` no frame can be missing even if the file is cut off there; else None.

    `clock` says what the time stamps are. "pts": when each frame is shown. "dts": there are no such times (as in AVI
    with frames out of order) or wrong ones; then `pts` holds those of decoding, at which the decoder, reading on, puts
    out one frame after the other. "count": there are none at all. `timed` where it's known before decoding when each
    frame is shown; `in_doubt` where these times rise from packet to packet though the decoder reorders frames.
    """

    pts: NDArray[np.int64]
    key: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    corrupt: tuple[int, ...]
    seek_to: int | None
    end: int | None
    complete_to: int | None
    clock: Clock
    timed: bool
    in_doubt: bool

    def displayed(self, ticks: NDArray[np.int64]) -> NDArray[np.intp]:
        """Positions [T] of the packets whose frames are on screen at `ticks` [T]: the last with pts <= tick.

        Before the first frame, the first frame.
        """
        order = np.flatnonzero(self.shown)
        order = order[np.argsort(self.pts[order], kind="stable")]
        at = np.searchsorted(self.pts[order], ticks, side="right") - 1
        return order[np.maximum(at, 0)]

    def reaches(self, tick: int) -> bool:
        """Whether it begins with a key frame from which all that is shown at `tick` is decoded."""
        if not self.key.size or not self.key[0]:
            return False
        if self.clock == "dts":
            # What is shown before the key frame itself is behind by then.
            return int(np.searchsorted(self.pts, tick)) >= 2 * REORDER_DEPTH
        return self.timed and int(self.pts[0]) <= tick

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
        try:
            video.container.seek(seek_to, stream=video.stream)
        except av.error.FFmpegError as error:
            blame_file(video.path, error)
            return
    yield from read_packets(video)


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Wanted times as int64 [T] `ticks` of the stream's clock, and the packets that lead to them."""

    ticks: NDArray[np.int64]
    index: PacketIndex


def find_wanted(path: Path, seconds: tuple[float, ...], *, by_pts: bool = True) -> Wanted:
    """Index the packets needed to show `seconds` (ascending, from the file's beginning).

    With `by_pts=False` the packets' own times of display are left aside. Raises OutsideVideoError or
    TruncatedVideoError where `seconds` go beyond what the file holds.
    """
    wanted = _find(path, seconds, by_pts=by_pts)
    if wanted.index.in_doubt and _is_displaced(path):
        return _find(path, seconds, by_pts=False)
    return wanted


def _find(path: Path, seconds: tuple[float, ...], *, by_pts: bool) -> Wanted:
    for look_back in _LOOK_BACK_SECONDS:
        with open_video(path) as video:
            ticks = _to_ticks(video, seconds)
            seek_to = int(ticks[0]) - int(look_back / video.time_base)
            if seek_to * video.time_base - video.origin < _LINEAR_SECONDS:
                break
            index = _read_index(video, seek_to, int(ticks[-1]), by_pts=by_pts)
            if index.reaches(int(ticks[0])):
                return _checked(video, ticks, index, seconds[-1])
    with open_video(path) as video:
        ticks = _to_ticks(video, seconds)
        return _checked(video, ticks, _read_index(video, None, int(ticks[-1]), by_pts=by_pts), seconds[-1])


def _is_displaced(path: Path) -> bool:
    """Whether frames come out of the decoder in another order than their time stamps say."""
    with open_video(path) as video:
        head = list(islice(packets(video, None), _LOOKED_AT))
        stamps = [packet.pts for packet in head if packet.pts is not None]
        if any(after < before for before, after in pairwise(stamps)):
            return False
        try:
            frames = [frame for packet in (*head, None) for frame in video.stream.codec_context.decode(packet)]
        except av.error.FFmpegError as error:
            blame_file(path, error)
            return False
        times = [frame.pts for frame in frames if frame.pts is not None]
        return any(after < before for before, after in pairwise(times))


def _checked(video: OpenVideo, ticks: NDArray[np.int64], index: PacketIndex, last: float) -> Wanted:
    if index.timed and index.end is not None:
        refuse_after(video, index, index.end, last)
    return Wanted(ticks, index)


def _to_ticks(video: OpenVideo, seconds: tuple[float, ...]) -> NDArray[np.int64]:
    offset = video.origin + _ROUNDING
    return np.array([int((Fraction(s) + offset) // video.time_base) for s in seconds], dtype=np.int64)


def refuse_after(video: OpenVideo, index: PacketIndex, last_end: int, wanted: float) -> None:
    """Raise OutsideVideoError or TruncatedVideoError where `wanted` is long after the last frame's end (ticks).

    In a file that is cut off, nothing is held: what was on screen after its last frame isn't known.
    """
    end = video.seconds(last_end)
    complete_to = min(end, video.seconds(last_end if index.complete_to is None else index.complete_to))
    if wanted < complete_to:
        return
    declared = video.declared_end if video.tells_length else None
    if video.is_cut_off and (declared is None or declared > complete_to):
        raise TruncatedVideoError(
            f"{video.path}: breaks off at {complete_to:.2f} s, before the wanted {wanted:.2f} s; download it again"
        )
    if wanted <= end + HOLD_SECONDS:
        return
    if declared is not None and declared >= wanted and video.stream.duration is not None:
        raise TruncatedVideoError(
            f"{video.path}: breaks off at {end:.2f} s, before the wanted {wanted:.2f} s; download it again"
        )
    raise OutsideVideoError(f"{video.path}: the video ends at {end:.2f} s, before the wanted {wanted:.2f} s")


def _read_index(video: OpenVideo, seek_to: int | None, last: int, *, by_pts: bool) -> PacketIndex:
    stamps = {name: array("q") for name in ("pts", "dts", "length")}
    key, shown = array("b"), array("b")
    corrupt: list[int] = []
    beyond: Packet[VideoStream] | None = None
    read = packets(video, seek_to)
    late = 0
    for packet in read:
        if packet.dts is not None and packet.dts > last:
            # Without times of display, a frame's comes out with a packet after its own.
            late = REORDER_DEPTH if by_pts else late + 1
            if late >= REORDER_DEPTH:
                beyond = packet
                break
        if packet.is_corrupt:
            corrupt.append(len(key))
        stamps["pts"].append(_NO_STAMP if packet.pts is None else packet.pts)
        stamps["dts"].append(_NO_STAMP if packet.dts is None else packet.dts)
        stamps["length"].append(packet.duration or 0)
        key.append(packet.is_keyframe)
        shown.append(not packet.is_discard)
        by_pts = by_pts and packet.pts is not None
    pts, dts, length = (np.array(values, dtype=np.int64) for values in stamps.values())
    flags = np.array(key, dtype=np.bool_), np.array(shown, dtype=np.bool_)
    clock, timed, times = _choose_clock(pts, dts, by_pts=by_pts and bool(flags[1].any()))
    end = complete_to = None
    if beyond is None and len(times):
        end = int((times + length).max())
        complete_to = end if dts[-1] == _NO_STAMP else int(dts[-1] + length[-1])
    in_doubt = False
    if timed and video.stream.codec_context.reorder_depth > 0 and bool((np.diff(times) > 0).all()):
        rest = [] if beyond is None else [beyond, *islice(read, _LOOKED_AT)]
        following = [int(times[-1]), *(packet.pts for packet in rest if packet.pts is not None)]
        in_doubt = all(before < after for before, after in pairwise(following))
    return PacketIndex(times, *flags, tuple(corrupt), seek_to, end, complete_to, clock, timed, in_doubt)


def _choose_clock(
    pts: NDArray[np.int64], dts: NDArray[np.int64], *, by_pts: bool
) -> tuple[Clock, bool, NDArray[np.int64]]:
    """The clock, whether it tells when each frame is shown, and its time stamps."""
    has_pts, has_dts = pts != _NO_STAMP, dts != _NO_STAMP
    if by_pts and has_pts.all() and len(np.unique(pts)) == len(pts) > 0:
        return "pts", True, pts
    first = int(has_dts.argmax()) if has_dts.any() else len(dts)
    if has_dts[first:].any() and has_dts[first:].all() and bool((np.diff(dts[first:]) >= 0).all()):
        # Packets before the first time stamp are shown before it.
        return "dts", False, np.where(has_dts, dts, dts[first] - first + np.arange(len(dts)))
    return ("pts" if has_pts.any() else "count"), False, np.where(has_pts, pts, 0)
