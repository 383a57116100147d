"""The encoder's whole bench on one device: the methods' cost, peers side by side, attention kernels, as one result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch

from encoders.bench.attention import attention_seconds
from encoders.bench.encode import Work, compare_forward, compare_step
from encoders.bench.machine import machine_facts
from encoders.bench.methods import find_methods, method_config
from encoders.bench.report import as_result
from encoders.bench.result import Facts, Result
from encoders.bench.rows import Report
from encoders.bench.run import BenchOptions, bench, find_bench_device
from tasks.task import JsonValue

SIZES = {"cpu": ("b",), "cuda": ("b", "l"), "meta": ("b", "l")}
METHODS = {"cpu": ("jst-mask0", "jst-mask75"), "cuda": (), "meta": ()}
FRAMES = {"cpu": (16,), "cuda": (16, 128, 256), "meta": (16, 128, 256)}
Done = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for; what is left empty is what the device can do in minutes.

    No methods mean all of them on a GPU and where nothing is computed.
    """

    device: str = "meta"
    sizes: tuple[str, ...] = ()
    frames: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    repeats: int = 5
    compiled: bool = False

    def filled(self) -> Asked:
        """With the device's own sizes, frames and methods. Raises ModelError for a device that is not there."""
        kind = find_bench_device(self.device).type
        return replace(
            self,
            sizes=self.sizes or SIZES[kind],
            frames=self.frames or FRAMES[kind],
            methods=self.methods or METHODS[kind],
        )

    @property
    def options(self) -> BenchOptions:
        """As the methods' bench takes them."""
        return BenchOptions(self.sizes, self.frames, self.methods, self.device, self.repeats, self.compiled)

    @property
    def work(self) -> Work:
        """As the comparisons take them."""
        return Work(self.sizes, self.frames, torch.device(self.device), self.repeats, self.compiled)

    @property
    def settings(self) -> dict[str, JsonValue]:
        """As a result keeps them."""
        return asdict(self)


def bench_encode(asked: Asked, done: Done, *, steps: bool = False) -> Result:
    """Forward passes beside the peers', attention by kernel, and the cost of the paper's methods.

    With `steps` the training steps beside the peers' too: all that a device can tell of the encoder.
    """
    asked = asked.filled()
    measured = asked.device != "meta"
    comparisons = tuple(compare_forward(asked.work, done)) if measured else ()
    if measured and steps:
        comparisons += tuple(compare_step(asked.work, done))
    report = bench(asked.options, lambda row: done(f"{row.size}, {row.frames} frames, {row.method}"))
    result = as_result(report, comparisons, asked.settings)
    own = {"attention_seconds": attention(asked) if measured else {}, "matmul_shares": shares(report)}
    return replace(result, details={**result.details, **own})


def bench_train_step(asked: Asked, done: Done) -> Result:
    """Training steps beside the peers'."""
    asked = asked.filled()
    comparisons = tuple(compare_step(asked.work, done))
    return Result("train-step", machine_facts(name_of(asked.work.device)), asked.settings, comparisons)


def attention(asked: Asked) -> Facts:
    """Seconds by kernel for each size and frame count of joint attention."""
    method = find_methods(("jst-mask0",))[0]
    return {
        f"ViT-{size.upper()}, {frames} frames": attention_seconds(
            method_config(method, size, frames), torch.device(asked.device), asked.repeats
        )
        for size in asked.sizes
        for frames in asked.frames
    }


def shares(report: Report) -> Facts:
    """Forward FLOP/s as a share of the measured matrix-multiply rate, by size, frames and method."""
    return {
        f"ViT-{row.size.upper()}, {row.frames} frames, {row.method}": share
        for row in report.rows
        if (share := row.matmul_share(report.machine)) is not None
    }


def name_of(device: torch.device) -> str:
    """The device as people call it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
