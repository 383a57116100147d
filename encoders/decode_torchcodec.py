"""Decode the same frames with TorchCodec, for machines where it is installed and faster."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from av.video.frame import VideoFrame

from encoders.decode import Canvas, Decoded, decode, find_wanted, scales
from encoders.sampling import FramePolicy
from encoders.video_errors import BackendError, DamagedVideoError
from encoders.video_file import first_frame, open_video, placing

# Most frames held at the stored size at a time.
_BATCH = 8


class _Decoder(Protocol):
    def get_frames_played_at(self, seconds: list[float]) -> Any: ...  # noqa: ANN401  untyped


class _DecoderClass(Protocol):
    def __call__(
        self, source: Path, *, stream_index: int, num_ffmpeg_threads: int, dimension_order: str
    ) -> _Decoder: ...


def decode_torchcodec(path: Path, seconds: tuple[float, ...], policy: FramePolicy, threads: int = 1) -> Decoded:
    """Do the same as `encoders.decode.decode`; frames agree up to the rounding of scaling RGB instead of YUV.

    The wanted frames are found from the packets, as there. A file that TorchCodec can't decode, that has no time
    stamps, or that is mirrored, which TorchCodec takes for a turn, is left to PyAV, which tells damage from oddity.
    Raises BackendError if TorchCodec does not load.
    """
    decoder_class = _decoder_class()
    if _is_flipped(path):
        return decode(path, seconds, policy, threads)
    found = find_wanted(path, seconds)
    index = found.index
    with open_video(path) as video:
        stream_index, time_base = video.stream.index, video.time_base
        stored_as = video.stream.codec_context.pix_fmt
        wanted = [int(index.pts[position]) for position in index.displayed(found.ticks)] if index.timed else []
        times = tuple(video.seconds(pts) for pts in wanted)
        canvas = Canvas(len(wanted), policy, video.pixel_shape)
    starts = [float(pts * time_base) for pts in wanted]
    try:
        decoder = decoder_class(
            path.absolute(), stream_index=stream_index, num_ffmpeg_threads=threads, dimension_order="NHWC"
        )
        complete = bool(wanted) and _draw_all(decoder, starts, canvas, stored_as if scales(policy) else None)
    except (RuntimeError, ValueError, IndexError):
        complete = False
    return Decoded(canvas.pixels, times) if complete else decode(path, seconds, policy, threads)


def _is_flipped(path: Path) -> bool:
    """Whether a video is displayed as a mirror image."""
    try:
        with open_video(path) as video:
            return placing(first_frame(video)).flipped
    except DamagedVideoError:
        return False


def _decoder_class() -> _DecoderClass:
    try:
        return cast("_DecoderClass", import_module("torchcodec.decoders").VideoDecoder)
    except (ImportError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BackendError(f"backend torchcodec does not load ({reason}); install it or use pyav") from error


def _draw_all(decoder: _Decoder, starts: list[float], canvas: Canvas, scaled_as: str | None) -> bool:
    """Draw the frames that begin at `starts` (seconds by the file's clock); False if others come.

    They are scaled in the pixel format `scaled_as`, because scaled RGB and YUV differ at colour edges.
    """
    for first in range(0, len(starts), _BATCH):
        batch = starts[first : first + _BATCH]
        # A microsecond after the frame's start, to avoid its rounding.
        played = decoder.get_frames_played_at([seconds + 1e-6 for seconds in batch])
        if not np.allclose(played.pts_seconds.numpy(), batch, rtol=0, atol=1e-6):
            return False
        for slot, picture in enumerate(played.data.numpy(), start=first):
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            canvas.draw(frame.reformat(format=scaled_as, interpolation="BICUBIC"), [slot])
    return True
