"""Run the bench: count every row, and measure it where there is a device to measure on."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable
from dataclasses import dataclass

import torch

from encoders.bench.clock import clock_row, matmul_rate
from encoders.bench.count import count_row
from encoders.bench.methods import Method, find_methods
from encoders.bench.rows import Machine, Report, Row
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """`device` "meta" counts without computing; "cpu" and "cuda" measure as well.

    `methods` empty means all; `size` names are those of the presets; `compiled` applies
    torch.compile to the timed forward pass.
    """

    sizes: tuple[str, ...] = ("b", "l")
    frames: tuple[int, ...] = (16, 128, 256)
    methods: tuple[str, ...] = ()
    device: str = "meta"
    repeats: int = 5
    compiled: bool = False


def run_encoder_bench(options: BenchOptions, progress: Callable[[Row], None] | None = None) -> list[Row]:
    """One row for each size, frame count and method; `progress` hears of each as it is done.

    Without peft, LoRA is left out unless it was named. Raises ModelError for unknown names and for a
    CUDA device that is not there.
    """
    device = find_bench_device(options.device)
    methods, _ = _methods(options)
    rows = []
    for size in options.sizes:
        for frames in options.frames:
            for method in methods:
                row = _row(method, size, frames, device, options)
                rows.append(row)
                if progress is not None:
                    progress(row)
    return rows


def bench(options: BenchOptions, progress: Callable[[Row], None] | None = None) -> Report:
    """`run_encoder_bench` with the machine's facts."""
    device = find_bench_device(options.device)
    rate = None if device.type == "meta" else matmul_rate(device)
    rows = run_encoder_bench(options, progress)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    machine = Machine(
        device.type,
        name or platform.machine(),
        torch.__version__,
        torch.get_num_threads(),
        rate,
        options.compiled,
    )
    return Report(machine, tuple(rows), _methods(options)[1])


def _row(method: Method, size: str, frames: int, device: torch.device, options: BenchOptions) -> Row:
    row = count_row(method, size, frames)
    if device.type == "meta":
        return row
    return clock_row(row, method, device, options.repeats, compiled=options.compiled)


def _methods(options: BenchOptions) -> tuple[tuple[Method, ...], tuple[str, ...]]:
    """The methods to run, and the names of those left out because peft is not installed."""
    methods = find_methods(options.methods)
    if options.methods or importlib.util.find_spec("peft") is not None:
        return methods, ()
    runnable = tuple(m for m in methods if m.adapt.method != "lora")
    return runnable, tuple(m.name for m in methods if m not in runnable)


def find_bench_device(name: str) -> torch.device:
    """`meta`, `cpu` or `cuda`. Raises ModelError for a CUDA device that is not there."""
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError("no CUDA device here: use --device cpu, or meta to count without computing")
    return device
