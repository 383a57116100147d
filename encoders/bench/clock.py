"""Measuring on a real device: seconds, CUDA peaks, and the matrix-multiply rate to compare with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from encoders.bench.count import Shape, build_tower
from encoders.bench.methods import Method
from encoders.bench.rows import Row
from encoders.config import VisionConfig
from encoders.masking import sample_keep
from encoders.vision import VisionTower

FORWARD_FRAMES = 512
"""Frames in a forward batch on CUDA: 32 videos of 16, 4 of 128, 2 of 256."""


def median_seconds(
    call: Callable[[], object],
    device: torch.device,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Median time of `call` by `clock` after one warm-up, the device drained before each reading."""
    call()
    seconds = []
    for _ in range(repeats):
        drain(device)
        start = clock()
        call()
        drain(device)
        seconds.append(clock() - start)
    return statistics.median(seconds)


def drain(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_rate(device: torch.device, repeats: int = 20) -> float:
    """FLOP/s of a large square matrix product, in bf16.

    On a CPU the better of bf16 and float32: one without instructions for bf16 takes a hundred times as long in it.
    """
    if device.type == "cuda":
        return _square_rate(8192, torch.bfloat16, device, repeats)
    return max(_square_rate(512, dtype, device, repeats) for dtype in (torch.bfloat16, torch.float32))


def _square_rate(side: int, dtype: torch.dtype, device: torch.device, repeats: int) -> float:
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / median_seconds(lambda: left @ right, device, repeats)


class MasterAdam:
    """AdamW over fp32 copies of the bf16 parameters that train."""

    def __init__(self, module: nn.Module) -> None:
        self.live = [p for p in module.parameters() if p.requires_grad]
        self.masters = [p.detach().float().clone() for p in self.live]
        self.adam = torch.optim.AdamW(self.masters, lr=1e-4)

    @property
    def held_bytes(self) -> int:
        """Bytes of the copies and of the optimiser's state."""
        states = [value for state in self.adam.state.values() for value in state.values() if isinstance(value, Tensor)]
        return sum(tensor.nbytes for tensor in (*self.masters, *states))

    @torch.no_grad()
    def step(self) -> None:
        """Update the copies, write them back, drop the gradients. Unused parameters are skipped."""
        for live, master in zip(self.live, self.masters, strict=True):
            master.grad = None if live.grad is None else live.grad.float()
            live.grad = None
        self.adam.step()
        self.adam.zero_grad()
        for live, master in zip(self.live, self.masters, strict=True):
            live.copy_(master)


def draw_keep(config: VisionConfig, shape: Shape, mask: float, device: torch.device) -> Tensor | None:
    """A mask's indices on the device."""
    size = (shape.batch, shape.frames, shape.side, shape.side)
    keep = sample_keep(config, size, mask, torch.Generator().manual_seed(0))
    return None if keep is None else keep.to(device)


def clock_row(row: Row, method: Method, device: torch.device, repeats: int, *, compiled: bool) -> Row:
    """Add to a counted row what the device takes; out of memory becomes a note."""
    try:
        tower = build_tower(method, row.size, row.frames, device)
        row = _clock_step(row, method, tower, device, repeats)
        return _clock_forward(row, tower, device, repeats, compiled=compiled)
    except torch.OutOfMemoryError:
        return replace(row, note="out of memory")


def _clock_step(row: Row, method: Method, tower: VisionTower, device: torch.device, repeats: int) -> Row:
    shape = Shape(1, row.frames, tower.config.size)
    pixels, keep = shape.pixels(device), draw_keep(tower.config, shape, method.mask, device)
    optimiser = MasterAdam(tower)

    def step() -> None:
        tower(pixels, keep).pooled.float().square().sum().backward()
        optimiser.step()

    if device.type != "cuda":
        return replace(row, step_seconds=median_seconds(step, device, repeats))
    step()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    peak = torch.cuda.max_memory_allocated(device)
    return replace(row, step_seconds=median_seconds(step, device, repeats), peak_bytes=peak)


def _clock_forward(row: Row, tower: VisionTower, device: torch.device, repeats: int, *, compiled: bool) -> Row:
    batch = max(1, FORWARD_FRAMES // row.frames) if device.type == "cuda" else 1
    pixels = Shape(batch, row.frames, tower.config.size).pixels(device)
    run = torch.compile(tower) if compiled else tower

    @torch.inference_mode()
    def forward() -> object:
        return run(pixels)

    return replace(row, forward_batch=batch, forward_seconds=median_seconds(forward, device, repeats))
