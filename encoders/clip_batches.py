"""From clips to batches of pixels: decoded, and grouped by frame count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.decode_ahead import AheadPolicy, decode_ahead
from encoders.frames import Frames, read_frames
from encoders.sampling import FramePolicy
from tasks.task import Clip


def read_clips(clips: Sequence[Clip], policy: FramePolicy, *, workers: int, ahead: int) -> list[tuple[Frames, float]]:
    """Frames of each clip and the seconds that reading them took the caller; one clip alone needs no worker.

    Raises the first clip's VideoError: the caller decides what a bad video means.
    """
    if len(clips) == 1:
        started = perf_counter()
        frames = read_frames(clips[0], policy, threads=torch.get_num_threads())
        return [(frames, perf_counter() - started)]
    decoded = []
    for clip in decode_ahead(clips, policy, AheadPolicy(workers=workers, ahead=max(workers, ahead))):
        if clip.frames is None:
            raise clip.error or RuntimeError(f"{clip.clip.video_id}: no frames and no error")
        decoded.append((clip.frames, clip.wait_seconds))
    return decoded


def batches_of_equals(numbers: Sequence[int], most: int) -> Iterator[list[int]]:
    """Indices of at most `most` equal numbers (frame counts, limits) at a time, until all have come."""
    by_number: dict[int, list[int]] = {}
    for index, number in enumerate(numbers):
        by_number.setdefault(number, []).append(index)
    for group in by_number.values():
        for start in range(0, len(group), most):
            yield group[start : start + most]


def to_device(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Pixels as a tensor there; they travel as bytes and are normalised on the device."""
    batch = torch.from_numpy(pixels)
    return batch.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else batch
