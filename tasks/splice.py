"""Videos that are alike but for a short piece: the whole is encoded once, and each piece put into a copy of it.

A piece begins and ends at key frames, so that everything around it is copied as it was encoded: the copies differ in
their pieces alone, down to the last bit, and take little longer than copying a file.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.durable import whole_file
from tasks.errors import DataError
from tasks.video_files import local_address

if TYPE_CHECKING:
    from av import Packet, VideoFrame

OPTIONS = {
    "preset": "veryfast",
    "crf": "20",
    "g": "40",
    "bf": "0",
    "sc_threshold": "0",
    "forced-idr": "1",
    "threads": "1",
}
"""Ours: key frames where they are asked for and every 40 frames, no frame that looks ahead; bytes repeat."""


@dataclass(frozen=True, slots=True)
class Window:
    """The frames from number `first` on that a piece of `count` frames takes the place of."""

    first: int
    count: int

    @property
    def cuts(self) -> tuple[int, int]:
        """Where key frames have to be: the piece's first frame, and the first behind it."""
        return self.first, self.first + self.count


def encode(frames: Iterable[VideoFrame], fps: int, target: Path | io.BytesIO, cuts: Iterable[int] = ()) -> int:
    """Write frames of one size to an H.264 .mp4 with key frames at the numbers `cuts`; how many they were.

    Raises DataError where there is no frame.
    """
    import av
    from av.video.frame import PictureType

    keys, count = frozenset(cuts), 0
    place = local_address(target) if isinstance(target, Path) else target
    with av.open(place, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=OPTIONS)
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(frames):
            if number == 0:
                stream.width, stream.height = frame.width, frame.height
            frame.pts, frame.time_base = number, 1 / stream.average_rate if stream.average_rate else None
            frame.pict_type = PictureType.I if number in keys else PictureType.NONE
            container.mux(stream.encode(frame))
            count = number + 1
        if not count:
            raise DataError("there is no picture to make a video of")
        container.mux(stream.encode(None))
    return count


def splice(whole: Path, window: Window, piece: Sequence[VideoFrame], fps: int, out: Path) -> None:
    """Write a copy of a video that `encode` wrote with the window's cuts, with `piece` in the window.

    `out` appears only when it is complete. Raises DataError where the piece is not as long as its window, or comes out
    of the encoder in another form than the video.
    """
    import av

    if len(piece) != window.count:
        raise DataError(f"a piece of {len(piece)} frames for a window of {window.count}")
    made = io.BytesIO()
    encode(piece, fps, made)
    made.seek(0)
    with (
        av.open(made, "r") as pieces,
        av.open(local_address(whole), "r") as source,
        whole_file(out) as unfinished,
        av.open(local_address(unfinished), "w", format="mp4") as container,
    ):
        video = source.streams.video[0]
        if video.codec_context.extradata != pieces.streams.video[0].codec_context.extradata:
            raise DataError(f"{whole}: its encoder's settings are not those of the piece")
        stream = container.add_stream_from_template(video)
        for packet in put_in(source.demux(video), pieces.demux(video=0), window):
            packet.stream = stream
            container.mux(packet)


def put_in(whole: Iterable[Packet[Any]], piece: Iterable[Packet[Any]], window: Window) -> Iterator[Packet[Any]]:
    """The packets of the whole, the window's taken from the piece at the same times; raises DataError without keys."""
    new = (packet for packet in piece if packet.dts is not None)
    number = -1
    for packet in whole:
        if packet.dts is None:
            continue
        number += 1
        if number in window.cuts and not packet.is_keyframe:
            raise DataError(f"frame {number} is no key frame: the video was not made for this window")
        if window.first <= number < window.first + window.count:
            taken = next(new)
            taken.pts, taken.dts, taken.duration = packet.pts, packet.dts, packet.duration
            taken.time_base = packet.time_base
            yield taken
        else:
            yield packet
