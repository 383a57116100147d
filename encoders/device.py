"""Find a device by name, and make batches for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.errors import ModelError


def find_device(name: str) -> torch.device:
    """Find `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`. Raises ModelError for a missing device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"unknown device '{name}': auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device '{name}' does not exist: {torch.cuda.device_count()} CUDA devices found")
    return device


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is computed by the device itself: GPUs, and processors with instructions for it."""
    return device.type == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - no public name


def warn_of_slow_bfloat16(dtype: torch.dtype, device: torch.device) -> None:
    """Say once that bfloat16 is worked out in software on this processor, and what is faster."""
    if dtype is torch.bfloat16 and not has_fast_bfloat16(device):
        _warn_of_slow_bfloat16()


@cache
def _warn_of_slow_bfloat16() -> None:
    logging.getLogger("longvid").warning(
        "this processor computes bfloat16 in software: language models take about three times as long as with "
        "dtype=float32 (-M dtype=float32, which is a run of its own)"
    )


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Move the tensor to the device; to a GPU through pinned memory, so that the copy is asynchronous."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def device_name(device: torch.device) -> str:
    """Name the device for a record: `cpu`, or a GPU with its name."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def batches_of_equals(numbers: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield index lists of equal numbers (frame counts, limits), at most `most` indices each, until all are used."""
    by_number: dict[int, list[int]] = {}
    for index, number in enumerate(numbers):
        by_number.setdefault(number, []).append(index)
    for group in by_number.values():
        for start in range(0, len(group), most):
            yield group[start : start + most]


def to_device(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Move pixels to the device as bytes, where they are normalised."""
    return send(torch.from_numpy(pixels), device)
