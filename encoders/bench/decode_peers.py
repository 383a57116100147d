"""Other ways to the same frames, each as its users would write it, for the decoding benchmark only.

Every function gives uint8 [T, S, S, 3] of the frames at `indices` of a file with constant frame rate.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from tasks.task import Clip
from tasks.video_files import local_address

Pixels = NDArray[np.uint8]
Reader = Callable[[Path, Sequence[int], float, int, int], Pixels]


def ours(path: Path, indices: Sequence[int], rate: float, size: int, threads: int) -> Pixels:
    """`read_frames` at the moments at which the wanted frames appear."""
    stride = (indices[1] - indices[0]) / rate
    start = (indices[0] + 0.5) / rate - stride / 2
    clip = Clip(path.stem, max(0.0, start), max(0.0, start) + stride * len(indices), path)
    policy = FramePolicy(count=len(indices), size=size, fit="squash")
    return read_frames(clip, policy, threads=threads).pixels


def pyav_sequential(path: Path, indices: Sequence[int], rate: float, size: int, threads: int) -> Pixels:  # noqa: ARG001  one shape for all
    """Decode every frame in turn with PyAV."""
    wanted, pictures = set(indices), []
    with av.open(local_address(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count, stream.codec_context.thread_type = threads, "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                picture = frame.to_ndarray(format="rgb24", width=size, height=size, interpolation="BICUBIC")
                pictures.append(picture)
    return np.stack(pictures).astype(np.uint8, copy=False)


def decord(path: Path, indices: Sequence[int], rate: float, size: int, threads: int) -> Pixels:  # noqa: ARG001  one shape for all
    """The `get_batch` of decord, resizing as it decodes."""
    reader = import_module("decord").VideoReader(str(path.absolute()), width=size, height=size, num_threads=threads)
    return np.asarray(reader.get_batch(list(indices)).asnumpy(), dtype=np.uint8)


def torchcodec(path: Path, indices: Sequence[int], rate: float, size: int, threads: int) -> Pixels:  # noqa: ARG001  one shape for all
    """TorchCodec with its resize transform."""
    resize = import_module("torchcodec.transforms").Resize((size, size))
    decoder = import_module("torchcodec.decoders").VideoDecoder(
        str(path.absolute()), num_ffmpeg_threads=threads, transforms=[resize], dimension_order="NHWC"
    )
    return np.asarray(decoder.get_frames_at(list(indices)).data.numpy(), dtype=np.uint8)


def opencv(path: Path, indices: Sequence[int], rate: float, size: int, threads: int) -> Pixels:  # noqa: ARG001  one shape for all
    """OpenCV: grab every frame, retrieve the wanted ones."""
    cv2 = import_module("cv2")
    cv2.setNumThreads(threads)
    capture = cv2.VideoCapture(str(path.absolute()))
    wanted, pictures, number = set(indices), [], 0
    while capture.grab():
        if number in wanted:
            small = cv2.resize(capture.retrieve()[1], (size, size), interpolation=cv2.INTER_AREA)
            pictures.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
        number += 1
    return np.stack(pictures).astype(np.uint8, copy=False)


def ffmpeg(path: Path, indices: Sequence[int], rate: float, size: int, threads: int) -> Pixels:  # noqa: ARG001  one shape for all
    """The ffmpeg program, writing raw pictures to a pipe."""
    stride = indices[1] - indices[0]
    chosen = f"select=not(mod(n-{indices[0]}\\,{stride})),scale={size}:{size}"
    command = ["ffmpeg", "-v", "error", "-threads", str(threads), "-i", local_address(path), "-an", "-vf", chosen]
    written = subprocess.run(
        [*command, "-vsync", "0", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"], capture_output=True, check=True
    ).stdout
    return np.frombuffer(written, dtype=np.uint8).reshape(-1, size, size, 3)


READERS: tuple[tuple[str, Reader], ...] = (
    ("ours", ours),
    ("pyav-sequential", pyav_sequential),
    ("decord", decord),
    ("torchcodec", torchcodec),
    ("opencv", opencv),
    ("ffmpeg", ffmpeg),
)
