"""Replace a short piece of an encoded video in each of several copies, encoding the whole video only once.

A piece begins and ends at key frames, so everything around it is copied without being encoded again. The copies are
identical outside their pieces, and making one takes little longer than copying a file.
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
"""Our choice: key frames as requested and every 40 frames, no B-frames, one thread so that bytes are reproducible."""


@dataclass(frozen=True, slots=True)
class Window:
    """The `count` frames, from number `first` on, that a piece replaces."""

    first: int
    count: int

    @property
    def cuts(self) -> tuple[int, int]:
        """The frames that must be key frames: the piece's first, and the first after it."""
        return self.first, self.first + self.count


def encode(frames: Iterable[VideoFrame], fps: int, target: Path | io.BytesIO, cuts: Iterable[int] = ()) -> int:
    """Write frames of one size to an H.264 .mp4 with key frames at the numbers `cuts`. Return the number of frames.

    Raises DataError if there is no frame.
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
            raise DataError("there are no frames to make a video of")
        container.mux(stream.encode(None))
    return count


def splice(whole: Path, window: Window, piece: Sequence[VideoFrame], fps: int, out: Path) -> None:
    """Copy a video that `encode` wrote with the window's cuts, with `piece` in place of the window's frames.

    `out` appears only once it is complete. Raises DataError if the piece is not as long as its window, or its encoded
    form does not match the video's.
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
            raise DataError(f"{whole} was encoded with other settings than the piece")
        stream = container.add_stream_from_template(video)
        for packet in put_in(source.demux(video), pieces.demux(video=0), window):
            packet.stream = stream
            container.mux(packet)


def put_in(whole: Iterable[Packet[Any]], piece: Iterable[Packet[Any]], window: Window) -> Iterator[Packet[Any]]:
    """Yield the packets of the whole, those in the window replaced by the piece's with the same times.

    Raises DataError if the window does not begin and end at key frames.
    """
    new = (packet for packet in piece if packet.dts is not None)
    number = -1
    for packet in whole:
        if packet.dts is None:
            continue
        number += 1
        if number in window.cuts and not packet.is_keyframe:
            raise DataError(f"frame {number} is not a key frame: the video was not encoded for this window")
        if window.first <= number < window.first + window.count:
            taken = next(new)
            taken.pts, taken.dts, taken.duration = packet.pts, packet.dts, packet.duration
            taken.time_base = packet.time_base
            yield taken
        else:
            yield packet
