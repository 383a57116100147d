"""Decoding by time stamp with PyAV: exactly the frame on screen at each moment, and no other pixel kept.

Two passes over the packets. The first reads only their time stamps, so that the second knows which frames are
wanted: it decodes from the key frame before each, hands only wanted frames to the scaler, and in H.264
lets the decoder drop unwanted frames that no other frame refers to. Where anything looks doubtful, every
frame is decoded again on one thread, and a wanted frame that damage may have reached is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import av.error
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from encoders.packets import REORDER_DEPTH, PacketIndex, Wanted, find_wanted, packets, refuse_after
from encoders.pixels import Canvas
from encoders.sampling import FramePolicy
from encoders.video_errors import DamagedVideoError, memory_error
from encoders.video_file import OpenVideo, blame_file, open_video

_BEFORE_THE_END = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Pixels uint8 [T, H, W, 3] and the time (seconds) at which each of the frames appears."""

    pixels: NDArray[np.uint8]
    frame_seconds: tuple[float, ...]


def decode(path: Path, seconds: tuple[float, ...], policy: FramePolicy, threads: int = 1) -> Decoded:
    """The frames of `path` on screen at `seconds` (ascending), in the shape that `policy` asks for.

    Second 0 is the file's beginning, whatever its clock says there. Raises a VideoError per cause.
    """
    try:
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


def frames_between(path: Path, start: float, end: float) -> Iterator[tuple[float, VideoFrame]]:
    """Each frame that appears from `start` on and before `end` (seconds), and when. Raises a VideoError per cause."""
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
    """Decode what is wanted by `threads`, or every frame by one (None); None where the outcome is in doubt."""
    canvas = Canvas(len(wanted.ticks), policy)
    with open_video(path, threads or 1) as video:
        run = _decode_everything if threads is None else _decode_chosen
        chosen = run(video, wanted, canvas)
        return None if chosen is None else Decoded(canvas.pixels, tuple(video.seconds(tick) for tick in chosen))


def _decode_chosen(video: OpenVideo, wanted: Wanted, canvas: Canvas) -> list[int] | None:
    """Decode only what the wanted frames need; None where the outcome isn't beyond doubt."""
    index = wanted.index
    positions = index.displayed(wanted.ticks)
    slots: dict[int, list[int]] = {}
    for slot, position in enumerate(positions):
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
    except av.error.FFmpegError as error:
        blame_file(video.path, error)
        return None
    return None if missing else [int(index.pts[position]) for position in positions]


def _chosen_frames(video: OpenVideo, index: PacketIndex, wanted: set[int]) -> Iterator[VideoFrame]:
    context = video.stream.codec_context
    droppable = context.codec.canonical_name == "h264"
    needed = _needed(index, wanted)
    last = max(wanted)
    # Decoding begins in the middle of the file after a seek, and again wherever packets are left out.
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
        # Leading pictures of the key frame where decoding begins refer to frames that were not decoded.
        if skip_before is not None and int(index.pts[position]) < skip_before:
            continue
        if droppable:
            context.skip_frame = "DEFAULT" if position in wanted else "NONREF"
        yield from context.decode(packet)
    yield from context.decode(None)


def _needed(index: PacketIndex, wanted: set[int]) -> NDArray[np.bool_]:
    needed = np.zeros(len(index.pts), dtype=np.bool_)
    for position in wanted:
        needed[index.key_before(position) : position + 1] = True
    return needed


def _decode_everything(video: OpenVideo, wanted: Wanted, canvas: Canvas) -> list[int] | None:
    """Decode every frame on one thread and refuse any wanted one that damage may have reached.

    None where the decoder puts out whole frames in another order than their time stamps say.
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
        # Damage to a frame may come to light only when it is shown, after the frames predicted from it.
        later += len(chosen) == len(ticks)
        if later > REORDER_DEPTH:
            break
    if shown is None:
        raise DamagedVideoError(f"{video.path}: no frame of the wanted stretch can be decoded")
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
    """Each frame in the decoder's order with the time at which it appears, by the index's clock."""
    at: int | None = None
    for frame in frames:
        stamp = frame.pts if index.clock == "pts" else frame.dts if index.clock == "dts" else None
        if stamp is None and at is not None and index.clock != "pts":
            # The last frames come out after the last packet.
            stamp = at + video.frame_ticks
        elif stamp is None and index.clock == "count":
            stamp = round(video.origin / video.time_base)
        if stamp is None:
            continue
        at = stamp
        yield frame, at


def _every_frame(video: OpenVideo, index: PacketIndex, bad: set[int]) -> Iterator[VideoFrame]:
    """Frames in the decoder's order; positions of packets that failed are added to `bad`."""
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
        raise DamagedVideoError(f"{video.path}: damaged, and without time stamps to tell which frames")
    spoilt = np.sort(index.pts[index.spoilt_by(bad) & index.shown])
    for tick, taken in zip(wanted.ticks, chosen, strict=True):
        # The frame taken may be an intact one that stands in for a spoilt one due after it.
        low, high = np.searchsorted(spoilt, taken, "left"), np.searchsorted(spoilt, max(tick, taken), "right")
        if low < high:
            first, at = video.seconds(int(spoilt[0])), video.seconds(int(tick))
            raise DamagedVideoError(
                f"{video.path}: damaged from {first:.2f} s on; the frame at {at:.2f} s cannot be decoded"
            )
