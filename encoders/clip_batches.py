"""Batches of pixels: grouped by frame count, and on their way to the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.device import send


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
    return send(torch.from_numpy(pixels), device)
