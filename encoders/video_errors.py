"""One error class for each reason why a video gives no frames; every message names the file."""

from pathlib import Path

from tasks.errors import DataError, ModelError


class FramePolicyError(ModelError):
    """A frame policy contradicts itself."""


class VideoError(DataError):
    """A video file, or a segment of it, gives no correct frames."""


class MissingVideoError(VideoError):
    """The path is not an existing regular file."""


class EmptyVideoError(VideoError):
    """The file has 0 bytes."""


class UnreadableVideoError(VideoError):
    """The file is not a media file that FFmpeg can open."""


class NoStreamsError(VideoError):
    """The container opens but holds no stream at all."""


class NoVideoStreamError(VideoError):
    """The file has streams, but none of video."""


class CoverArtOnlyError(VideoError):
    """The only picture is the cover of an audio file."""


class UnsupportedCodecError(VideoError):
    """This build of FFmpeg has no decoder for the video stream."""


class DamagedVideoError(VideoError):
    """A wanted frame, or one it is predicted from, cannot be decoded."""


class TruncatedVideoError(VideoError):
    """The file ends before the length that it declares, and a wanted time lies after that."""


class OutsideVideoError(VideoError):
    """A wanted time lies after the video's last frame."""


class ResourcesError(VideoError):
    """Memory or open files ran out, or FFmpeg had an internal error: this says nothing about the file."""


class DecodeTimeoutError(VideoError):
    """Decoding took longer than allowed and was stopped."""


class DecodeWorkerError(VideoError):
    """The worker process died while decoding, and so did a second one."""


class DecodeFaultError(VideoError):
    """Decoding raised an unexpected error: a fault of the program, not of the file."""


class DecoderStartError(ModelError):
    """No worker process can be started, whatever the video."""


class BackendError(ModelError):
    """The chosen decoding backend is not installed or does not load."""


def memory_error(path: Path | None, error: MemoryError) -> ResourcesError:
    """That memory, not the file, is what lacks."""
    reason = " ".join(str(error).split()) or "memory is full"
    return ResourcesError(
        f"{path}: not enough memory for its frames ({reason}), and the file may be whole: take fewer or smaller "
        "frames, or fewer workers"
    )
