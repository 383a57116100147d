"""Which packets of an HEVC stream can be left out: pictures that no other picture refers to.

FFmpeg's decoder leaves them out for H.264 (`skip_frame`), for HEVC it does not. What they are is in a packet's first
bytes: a picture of an even type below 16 is not referred to within its temporal layer, and thus in the highest layer by
none (H.265, 7.4.2.2).
"""

from __future__ import annotations

from dataclasses import dataclass

from av.packet import Packet
from av.video.stream import VideoStream

# Types of NAL units below this one are coded pictures.
_PICTURES = 32
# Even types below this one are of pictures that others of the same temporal layer don't refer to.
_REFERENCED = 16
# Bytes of an MP4's or Matroska's HEVC configuration before its arrays; elsewhere packets are split by start codes.
_LEAST_CONFIGURATION = 23


class NoSuchLayerError(Exception):
    """A picture is of a temporal layer that the stream said it does not have."""


@dataclass(frozen=True, slots=True)
class HevcPackets:
    """Packets whose NAL units have a length of `size` bytes before them; `top` is the highest temporal layer."""

    size: int
    top: int

    def unreferenced(self, packet: Packet[VideoStream]) -> bool:
        """Whether no other picture refers to the packet's. Raises NoSuchLayerError if that can't be told."""
        data, at = memoryview(packet), 0
        while at + self.size + 2 <= len(data):
            kind = data[at + self.size] >> 1 & 63
            if kind < _PICTURES:
                layer = (data[at + self.size + 1] & 7) - 1
                if layer > self.top:
                    raise NoSuchLayerError
                return layer == self.top and kind < _REFERENCED and kind % 2 == 0
            at += self.size + int.from_bytes(data[at : at + self.size])
        return False


def hevc_packets(stream: VideoStream) -> HevcPackets | None:
    """Return how to tell an HEVC stream's packets apart; None for others, and where the number of layers is unknown."""
    known = stream.codec_context.extradata
    if stream.codec_context.codec.canonical_name != "hevc" or known is None or len(known) < _LEAST_CONFIGURATION:
        return None
    layers = known[21] >> 3 & 7
    if known[0] != 1 or not layers:
        return None
    return HevcPackets((known[21] & 3) + 1, layers - 1)
