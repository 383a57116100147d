"""Decoding by time stamp with PyAV: exactly the frame on screen at each moment, and no other pixel kept.

Two passes over the packets. The first reads only their time stamps, so that the second knows which frames are
wanted: it decodes from the key frame before each, hands only wanted frames to the scaler, and leaves out, in H.264 and
HEVC, unwanted frames that no other frame refers to. In a long video both passes seek over the gaps
between wanted frames where that costs less than reading on. Where anything looks doubtful, every
frame is decoded again on one thread, and a wanted frame that damage may have reached is refused.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from time import perf_counter
from typing import Literal

import av
import av.error
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from encoders.hevc import NoSuchLayerError, hevc_packets
from encoders.sampling import FramePolicy
from encoders.video_errors import DamagedVideoError, OutsideVideoError, TruncatedVideoError, memory_error
from encoders.video_file import OpenVideo, blame_file, open_video, placing, read_packets

# How far before the first wanted time to look for a key frame before reading from the very beginning.
_LOOK_BACK_SECONDS = (0.0, 12.0)
# Nearer to the beginning than this, reading from there costs less than looking for a key frame.
_LINEAR_SECONDS = 5
# Tolerance for float rounding: a time stamp just before a frame's start still means that frame.
_ROUNDING = Fraction(1, 1_000_000)
# Seconds for which the last frame still counts as on screen after its end: annotations end on rounded seconds.
HOLD_SECONDS = 1.0
# The most frames that a decoder buffers for reordering (H.264 and HEVC: 16).
REORDER_DEPTH = 16
# This many packets show whether a stream reorders frames.
_LOOKED_AT = 64
_NO_STAMP = -(1 << 63)
# Over fewer packets, reading on costs as little as finding out what a seek costs.
_WORTH_MEASURING = 2_000
# So many packets show what reading one costs, and how far key frames are apart.
_MEASURED = 500
# Containers whose index leads a seek to a key frame, and whose clock does not jump.
_INDEXED = ("mov", "matroska")
Clock = Literal["pts", "dts", "count"]


@dataclass(frozen=True, slots=True, eq=False)
class PacketIndex:
    """The packets of a segment in decoding order.

    `pts` int64 [N] ticks, `key` and `shown` bool [N]; `seek_to` is the seek (ticks) that `packets` repeats,
    None for the file's beginning. If the file's end was reached, `end` is the last frame's end in ticks, and up
    to `complete_to` no frame can be missing even if the file is cut off there; else None.

    `clock` says what the time stamps are. "pts": when each frame is shown. "dts": presentation times are missing (as in
    AVI with reordered frames) or wrong; `pts` then holds decoding times, at which the decoder, reading on, emits one
    frame after the other. "count": there are none at all. `timed`: it is known before decoding when each frame is
    shown; `in_doubt`: these times rise from packet to packet although the decoder reorders frames.
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
        """Whether it begins with a key frame from which the frame shown at `tick` can be decoded."""
        if not self.key.size or not self.key[0]:
            return False
        if self.clock == "dts":
            # Frames shown before the key frame itself have passed by then.
            return int(np.searchsorted(self.pts, tick)) >= 2 * REORDER_DEPTH
        return self.timed and int(self.pts[0]) <= tick

    def key_before(self, position: int) -> int:
        """Return the key packet from which decoding reaches `position` exactly; 0 if there is none.

        A frame shown before its key frame (a leading picture) is predicted from the preceding group of pictures.
        """
        keys = np.flatnonzero(self.key[: position + 1])
        usable = keys[self.pts[keys] <= self.pts[position]]
        return int(usable[-1]) if usable.size else 0

    def spoilt_by(self, bad: set[int]) -> NDArray[np.bool_]:
        """Return flags [N]: packets in `bad` and all that may be predicted from them, up to the next key frame."""
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
    """Yield packets of the chosen stream from `seek_to` (ticks) on, ending silently if reading fails."""
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

    With `by_pts=False` the packets' presentation times are ignored. Raises OutsideVideoError or
    TruncatedVideoError if `seconds` go beyond the end of the file.
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
    """Whether the decoder emits frames in an order that contradicts their time stamps."""
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
    """Raise OutsideVideoError or TruncatedVideoError if `wanted` is long after the last frame's end (ticks).

    In a truncated file no tolerance applies: what was on screen after its last frame is unknown.
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
    sound_to = video.breaks_at
    late = 0
    for packet in read:
        if packet.dts is not None and packet.dts > last:
            # Without presentation times, a frame is emitted with a later packet than its own.
            late = REORDER_DEPTH if by_pts else late + 1
            if late >= REORDER_DEPTH:
                beyond = packet
                break
        if packet.is_corrupt or (sound_to is not None and packet.pos is not None and packet.pos >= sound_to):
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
    """Choose the clock; return it, whether it says when each frame is shown, and its time stamps."""
    has_pts, has_dts = pts != _NO_STAMP, dts != _NO_STAMP
    if by_pts and has_pts.all() and len(np.unique(pts)) == len(pts) > 0:
        return "pts", True, pts
    first = int(has_dts.argmax()) if has_dts.any() else len(dts)
    if has_dts[first:].any() and has_dts[first:].all() and bool((np.diff(dts[first:]) >= 0).all()):
        # Packets before the first time stamp are shown before it.
        return "dts", False, np.where(has_dts, dts, dts[first] - first + np.arange(len(dts)))
    return ("pts" if has_pts.any() else "count"), False, np.where(has_pts, pts, 0)


class Canvas:
    """Pixels uint8 [T, H, W, 3] of `count` frames, allocated once, when the first frame gives their size.

    Scaling and colour conversion are one pass of swscale from the decoder's own format, bicubic as the ffmpeg
    program's default (its kernel widens with the reduction, so nothing aliases).
    """

    def __init__(self, count: int, policy: FramePolicy, pixel_shape: float = 1.0) -> None:
        self._count = count
        self._policy = policy
        self._pixel_shape = pixel_shape
        self._reformatter = VideoReformatter()
        self._native: tuple[int, int] | None = None
        self._pixels: NDArray[np.uint8] | None = None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The pixels drawn; uint8 [0, 0, 0, 3] before the first frame."""
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
        picture = placing(frame).upright(rows[:, : width * 3].reshape(height, width, 3))
        picture = centre_crop(picture, self._policy)
        if self._pixels is None:
            self._pixels = np.empty((self._count, *picture.shape), dtype=np.uint8)
        self._pixels[slots[0]] = picture
        for slot in slots[1:]:
            self._pixels[slot] = self._pixels[slots[0]]

    def _stored_size(self, frame: VideoFrame) -> tuple[int, int]:
        if self._policy.size is not None:
            return scaled_size(frame.width, frame.height, self._policy)
        # A stream may change its size midway; the output may not.
        if self._native is None:
            kept = self._policy.fit == "keep"
            shown = kept_size(frame.width, frame.height, self._pixel_shape, self._policy.pixels)
            self._native = shown if kept else (frame.width, frame.height)
        return self._native


def scales(policy: FramePolicy) -> bool:
    """Whether frames are scaled."""
    return policy.size is not None or policy.fit == "keep"


def kept_size(width: int, height: int, pixel_shape: float, pixels: int | None) -> tuple[int, int]:
    """Return width and height of the whole picture as displayed, with at most `pixels` pixels, never enlarged.

    `pixel_shape` is the width of a stored pixel over its height.
    """
    shown = width * pixel_shape if pixel_shape < 1 else float(width)
    tall = height / pixel_shape if pixel_shape > 1 else float(height)
    scale = min(1.0, (pixels / (shown * tall)) ** 0.5) if pixels else 1.0
    # Rounded down, so that the bound holds.
    return max(1, int(shown * scale + _WHOLE)), max(1, int(tall * scale + _WHOLE))


def scaled_size(width: int, height: int, policy: FramePolicy) -> tuple[int, int]:
    """Return width and height to which a whole picture is scaled under `policy`, before any crop."""
    size = policy.size
    if size is None:
        return width, height
    if policy.fit == "squash":
        return size, size
    # torchvision's Resize, which open_clip uses, rounds the long side down.
    return (size, size * height // width) if width <= height else (size * width // height, size)


def centre_crop(picture: NDArray[np.uint8], policy: FramePolicy) -> NDArray[np.uint8]:
    """Return the centre square of a picture [H, W, 3] scaled by `scaled_size`, or all of it without a crop."""
    if policy.size is None or policy.fit == "squash":
        return picture
    top = round((picture.shape[0] - policy.size) / 2)
    left = round((picture.shape[1] - policy.size) / 2)
    return picture[top : top + policy.size, left : left + policy.size]


_BEFORE_THE_END = 1e-3
_WHOLE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Pixels uint8 [T, H, W, 3] and the time (seconds) at which each of the frames appears."""

    pixels: NDArray[np.uint8]
    frame_seconds: tuple[float, ...]


def decode(path: Path, seconds: tuple[float, ...], policy: FramePolicy, threads: int = 1) -> Decoded:
    """Decode the frames of `path` on screen at `seconds` (ascending), in the shape that `policy` asks for.

    Second 0 is the file's beginning, whatever its clock says there. Raises a VideoError for each cause.
    """
    try:
        chosen = _draw_apart(path, seconds, policy, threads)
        if chosen is not None:
            return chosen
        wanted = find_wanted(path, seconds)
        chosen = _draw(path, wanted, policy, threads) if wanted.index.timed else None
        chosen = chosen or _draw(path, wanted, policy, None)
        if chosen is None:
            chosen = _draw(path, find_wanted(path, seconds, by_pts=False), policy, None)
        if chosen is None:
            raise DamagedVideoError(f"{path}: its time stamps contradict the order of its frames")
    except MemoryError as error:
        raise memory_error(path, error) from error
    return chosen


def _draw_apart(path: Path, seconds: tuple[float, ...], policy: FramePolicy, threads: int) -> Decoded | None:
    """Decode by seeking to each stretch of wanted frames; None where reading on costs less, or anything is in doubt."""
    with open_video(path, threads) as video:
        if not video.container.format.name.startswith(_INDEXED):
            return None
        ticks = _to_ticks(video, seconds)
        parts = _stretches(video, ticks)
        canvas = Canvas(len(ticks), policy, video.pixel_shape)
        chosen: list[int] = []
        displaced: bool | None = None
        for part in parts if len(parts) > 1 else ():
            index = _index_by_seek(video, int(ticks[part][0]), int(ticks[part][-1]))
            if index is None:
                return None
            if index.in_doubt:
                displaced = _is_displaced(path) if displaced is None else displaced
            if displaced:
                return None
            wanted = _checked(video, ticks[part], index, seconds[-1])
            drawn = _decode_chosen(video, wanted, canvas, part.start)
            if drawn is None:
                return None
            chosen += drawn
        return Decoded(canvas.pixels, tuple(map(video.seconds, chosen))) if chosen else None


def _stretches(video: OpenVideo, ticks: NDArray[np.int64]) -> list[slice]:
    """Wanted ticks in stretches: over the gap between two, a seek costs less than reading on, as measured here."""
    whole = [slice(0, len(ticks))]
    gaps = np.diff(ticks) * float(video.time_base) * float(video.rate)
    if gaps.sum() < _WORTH_MEASURING:
        return whole
    began = perf_counter()
    read = islice(packets(video, int(ticks[0])), _MEASURED)
    first = next(read, None)
    if first is None:
        return whole
    sought = perf_counter()
    keys = [first.is_keyframe, *(packet.is_keyframe for packet in read)]
    each = (perf_counter() - sought) / max(1, len(keys) - 1)
    # Each stretch is looked at a little beyond its end.
    seek = sought - began + _LOOKED_AT * each
    # A seek leads to the key frame before, on average half the way between two of them.
    read_again = len(keys) / max(1, sum(keys)) / 2
    cuts = np.flatnonzero((gaps - read_again) * each > seek) + 1
    return [slice(*map(int, ends)) for ends in pairwise((0, *cuts, len(ticks)))]


def _index_by_seek(video: OpenVideo, first: int, last: int) -> PacketIndex | None:
    """The packets that lead to the frames shown from tick `first` to `last`; None where no seek finds them all."""
    for look_back in _LOOK_BACK_SECONDS:
        index = _read_index(video, first - int(look_back / video.time_base), last, by_pts=True)
        if index.timed and index.reaches(first):
            return index
    return None


def frames_between(path: Path, start: float, end: float) -> Iterator[tuple[float, VideoFrame]]:
    """Yield each frame that appears from `start` on and before `end` (seconds), with its time. Raises VideoError."""
    wanted = find_wanted(path, (start, max(start, end - _BEFORE_THE_END)))
    bad = set(wanted.index.corrupt)
    with open_video(path) as video:
        for frame, tick in _with_ticks(video, wanted.index, _every_frame(video, wanted.index, bad)):
            second = video.seconds(tick)
            if bad:
                raise DamagedVideoError(f"{path}: damaged at {second:.2f} s")
            if second >= end:
                return
            if second >= start:
                yield second, frame


def _draw(path: Path, wanted: Wanted, policy: FramePolicy, threads: int | None) -> Decoded | None:
    """Decode what is wanted with `threads`, or every frame with one (None); returns None if the outcome is in doubt."""
    with open_video(path, threads or 1) as video:
        canvas = Canvas(len(wanted.ticks), policy, video.pixel_shape)
        run = _decode_everything if threads is None else _decode_chosen
        chosen = run(video, wanted, canvas)
        return None if chosen is None else Decoded(canvas.pixels, tuple(video.seconds(tick) for tick in chosen))


def _decode_chosen(video: OpenVideo, wanted: Wanted, canvas: Canvas, first_slot: int = 0) -> list[int] | None:
    """Decode only what the wanted frames need, into slots from `first_slot` on; None where anything is in doubt."""
    index = wanted.index
    positions = index.displayed(wanted.ticks)
    slots: dict[int, list[int]] = {}
    for slot, position in enumerate(positions, start=first_slot):
        slots.setdefault(int(index.pts[position]), []).append(slot)
    if index.corrupt and min(index.corrupt) <= positions.max():
        return None
    missing = len(slots)
    last: int | None = None
    try:
        for frame in _chosen_frames(video, index, {int(p) for p in positions}):
            if frame.is_corrupt or (last is not None and frame.pts is not None and frame.pts <= last):
                return None
            last = frame.pts
            if frame.pts in slots:
                canvas.draw(frame, slots[frame.pts])
                missing -= 1
    except NoSuchLayerError:
        return None
    except av.error.FFmpegError as error:
        blame_file(video.path, error)
        return None
    return None if missing else [int(index.pts[position]) for position in positions]


def _chosen_frames(video: OpenVideo, index: PacketIndex, wanted: set[int]) -> Iterator[VideoFrame]:
    context, unreferenced = video.stream.codec_context, _Unreferenced(video.stream)
    needed = _needed(index, wanted)
    last = max(wanted)
    # Decoding starts in the middle of the file after a seek, and again wherever packets are skipped.
    fed = -1 if index.seek_to is None else -2
    skip_before: int | None = None
    for position, packet in enumerate(packets(video, index.seek_to)):
        if position > last:
            break
        if packet.pts != index.pts[position]:
            return
        if not needed[position]:
            continue
        if position > fed + 1:
            if fed >= 0:
                yield from context.decode(None)
                context.flush_buffers()
            skip_before = int(index.pts[position]) if index.key[position] else None
        fed = position
        # Leading pictures of the first key frame refer to frames that were not decoded.
        if skip_before is not None and int(index.pts[position]) < skip_before:
            continue
        if unreferenced.left_out(packet, wanted=position in wanted):
            continue
        yield from context.decode(packet)
    yield from context.decode(None)


class _Unreferenced:
    """Leaves out unwanted frames that no other frame refers to: H.264's by the decoder, HEVC's before it."""

    def __init__(self, stream: VideoStream) -> None:
        self._context = stream.codec_context
        self._h264 = self._context.codec.canonical_name == "h264"
        self._hevc = hevc_packets(stream)

    def left_out(self, packet: Packet[VideoStream], *, wanted: bool) -> bool:
        """Whether the decoder need not see the packet. Raises NoSuchLayerError if that can't be told."""
        if self._h264:
            self._context.skip_frame = "DEFAULT" if wanted else "NONREF"
        return self._hevc is not None and self._hevc.unreferenced(packet) and not wanted


def _needed(index: PacketIndex, wanted: set[int]) -> NDArray[np.bool_]:
    needed = np.zeros(len(index.pts), dtype=np.bool_)
    for position in wanted:
        needed[index.key_before(position) : position + 1] = True
    return needed


def _decode_everything(video: OpenVideo, wanted: Wanted, canvas: Canvas) -> list[int] | None:
    """Decode every frame on one thread and refuse any wanted one that damage may have reached.

    Returns None if the decoder emits intact frames in an order that contradicts their time stamps.
    """
    index, ticks = wanted.index, wanted.ticks
    bad = set(index.corrupt)
    chosen: list[int] = []
    shown: tuple[VideoFrame, int] | None = None
    later = 0
    for frame, tick in _with_ticks(video, index, _every_frame(video, index, bad)):
        if shown is not None and tick <= shown[1]:
            if index.timed and not bad:
                return None
            continue
        while shown is not None and len(chosen) < len(ticks) and ticks[len(chosen)] < tick:
            _take(shown, chosen, canvas)
        shown = frame, tick
        # Damage to a frame may be noticed only when it is shown, after the frames predicted from it.
        later += len(chosen) == len(ticks)
        if later > REORDER_DEPTH:
            break
    if shown is None:
        raise DamagedVideoError(f"{video.path}: no frame of the wanted segment can be decoded")
    while len(chosen) < len(ticks):
        _take(shown, chosen, canvas)
    if not index.timed and ticks[-1] >= shown[1]:
        length = shown[0].duration or video.frame_ticks
        refuse_after(video, index, shown[1] + length, video.seconds(int(ticks[-1])))
    _refuse_spoilt(video, wanted, bad, chosen)
    return chosen


def _take(shown: tuple[VideoFrame, int], chosen: list[int], canvas: Canvas) -> None:
    canvas.draw(shown[0], [len(chosen)])
    chosen.append(shown[1])


def _with_ticks(video: OpenVideo, index: PacketIndex, frames: Iterator[VideoFrame]) -> Iterator[tuple[VideoFrame, int]]:
    """Yield each frame in the decoder's order with the time at which it appears, by the index's clock."""
    at: int | None = None
    for frame in frames:
        stamp = frame.pts if index.clock == "pts" else frame.dts if index.clock == "dts" else None
        if stamp is None and at is not None and index.clock != "pts":
            # The last frames are emitted after the last packet.
            stamp = at + video.frame_ticks
        elif stamp is None and index.clock == "count":
            stamp = round(video.origin / video.time_base)
        if stamp is None:
            continue
        at = stamp
        yield frame, at


def _every_frame(video: OpenVideo, index: PacketIndex, bad: set[int]) -> Iterator[VideoFrame]:
    """Yield frames in the decoder's order; positions of packets that failed are added to `bad`."""
    at = {int(pts): position for position, pts in enumerate(index.pts)} if index.timed else {}
    count = len(index.pts) if index.clock != "count" else None
    position = -1
    for position, packet in enumerate(islice(packets(video, index.seek_to), count)):
        if index.seek_to is not None and index.timed and int(index.pts[position]) < int(index.pts[0]):
            continue
        yield from _decode_noting(video, packet, position, at, bad)
    yield from _decode_noting(video, None, position, at, bad)


def _decode_noting(
    video: OpenVideo, packet: Packet[VideoStream] | None, position: int, at: dict[int, int], bad: set[int]
) -> list[VideoFrame]:
    try:
        frames = video.stream.codec_context.decode(packet)
    except av.error.FFmpegError as error:
        blame_file(video.path, error)
        bad.add(position)
        return []
    bad.update(at.get(frame.pts or 0, position) for frame in frames if frame.is_corrupt)
    return frames


def _refuse_spoilt(video: OpenVideo, wanted: Wanted, bad: set[int], chosen: list[int]) -> None:
    index = wanted.index
    if not bad:
        return
    if not index.timed:
        raise DamagedVideoError(f"{video.path}: damaged, without time stamps that show which frames")
    spoilt = np.sort(index.pts[index.spoilt_by(bad) & index.shown])
    for tick, taken in zip(wanted.ticks, chosen, strict=True):
        # The frame taken may be an intact one shown in place of a damaged one due after it.
        low, high = np.searchsorted(spoilt, taken, "left"), np.searchsorted(spoilt, max(tick, taken), "right")
        if low < high:
            first, at = video.seconds(int(spoilt[0])), video.seconds(int(tick))
            raise DamagedVideoError(
                f"{video.path}: damaged from {first:.2f} s on; the frame at {at:.2f} s cannot be decoded"
            )
