"""The encoder's whole bench on one device: the methods' cost, peers, and attention kernels, as one result.

`python -m lab.bench.suite` gives all of the encoder's figures on a machine that has torch and NumPy and little else.
Peers that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from lab.bench.encode import (
    Method,
    Work,
    attention_seconds,
    clock_row,
    compare_forward,
    compare_step,
    count_row,
    find_methods,
    matmul_rate,
    method_config,
)
from lab.bench.result import (
    CostRow,
    Facts,
    Machine,
    Report,
    Result,
    as_result,
    comparison_tables,
    report_of,
    table,
    write_plot,
)
from tasks.errors import LongvidError, ModelError
from tasks.machine import machine_facts
from tasks.task import JsonValue


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


def run_encoder_bench(options: BenchOptions, progress: Callable[[CostRow], None] | None = None) -> list[CostRow]:
    """One row for each size, frame count and method; `progress` is called with each.

    Without peft, LoRA is left out unless it was named. Raises ModelError for unknown names and for a
    missing CUDA device.
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


def bench(options: BenchOptions, progress: Callable[[CostRow], None] | None = None) -> Report:
    """Run `run_encoder_bench` and add the machine's facts."""
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


def _row(method: Method, size: str, frames: int, device: torch.device, options: BenchOptions) -> CostRow:
    row = count_row(method, size, frames)
    if device.type == "meta":
        return row
    return clock_row(row, method, device, options.repeats, compiled=options.compiled)


def _methods(options: BenchOptions) -> tuple[tuple[Method, ...], tuple[str, ...]]:
    """Return the methods to run, and the names of those left out because peft is not installed."""
    methods = find_methods(options.methods)
    if options.methods or importlib.util.find_spec("peft") is not None:
        return methods, ()
    runnable = tuple(m for m in methods if m.adapt.method != "lora")
    return runnable, tuple(m.name for m in methods if m not in runnable)


def find_bench_device(name: str) -> torch.device:
    """`meta`, `cpu` or `cuda`. Raises ModelError for a missing CUDA device."""
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError("no CUDA device here: use --device cpu, or meta to count without computing")
    return device


SIZES = {"cpu": ("b",), "cuda": ("b", "l"), "meta": ("b", "l")}
METHODS = {"cpu": ("jst-mask0", "jst-mask75"), "cuda": (), "meta": ()}
FRAMES = {"cpu": (16,), "cuda": (16, 128, 256), "meta": (16, 128, 256)}
Done = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line's request; empty fields default to what the device can do in minutes.

    No methods means all of them on a GPU and on the meta device.
    """

    device: str = "meta"
    sizes: tuple[str, ...] = ()
    frames: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    repeats: int = 5
    compiled: bool = False

    def filled(self) -> Asked:
        """Fill in the device's default sizes, frames and methods. Raises ModelError for a missing device."""
        kind = find_bench_device(self.device).type
        return replace(
            self,
            sizes=self.sizes or SIZES[kind],
            frames=self.frames or FRAMES[kind],
            methods=self.methods or METHODS[kind],
        )

    @property
    def options(self) -> BenchOptions:
        """Return the options of the methods' bench."""
        return BenchOptions(self.sizes, self.frames, self.methods, self.device, self.repeats, self.compiled)

    @property
    def work(self) -> Work:
        """Return the work of the comparisons."""
        return Work(self.sizes, self.frames, torch.device(self.device), self.repeats, self.compiled)

    @property
    def settings(self) -> dict[str, JsonValue]:
        """Return the settings as a result keeps them."""
        return asdict(self)


def bench_encode(asked: Asked, done: Done, *, steps: bool = False) -> Result:
    """Measure forward passes against peers, attention by kernel, and the cost of the paper's methods.

    With `steps`, also training steps against peers: all measurements of the encoder on a device.
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
    """Measure training steps against peers."""
    asked = asked.filled()
    comparisons = tuple(compare_step(asked.work, done))
    return Result("train-step", machine_facts(name_of(asked.work.device)), asked.settings, comparisons)


def attention(asked: Asked) -> Facts:
    """Measure seconds by kernel for each size and frame count of joint attention."""
    method = find_methods(("jst-mask0",))[0]
    return {
        f"ViT-{size.upper()}, {frames} frames": attention_seconds(
            method_config(method, size, frames), torch.device(asked.device), asked.repeats
        )
        for size in asked.sizes
        for frames in asked.frames
    }


def shares(report: Report) -> Facts:
    """Return forward FLOP/s as a share of the measured matrix-multiply rate, by size, frames and method."""
    return {
        f"ViT-{row.size.upper()}, {row.frames} frames, {row.method}": share
        for row in report.rows
        if (share := row.matmul_share(report.machine)) is not None
    }


def name_of(device: torch.device) -> str:
    """Return the device's product name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def main(arguments: list[str] | None = None) -> int:
    """Run with command-line arguments; 0 on success, 2 with one line on standard error otherwise."""
    given = _parser().parse_args(arguments)
    asked = Asked(
        given.device,
        tuple(given.sizes),
        tuple(given.frames),
        tuple(given.methods),
        given.repeats,
        given.compile,
    )
    try:
        result = bench_encode(asked, _progress, steps=True)
    except LongvidError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    report = report_of(result)
    if report.skipped:
        sys.stderr.write(f"left out, peft is not installed: {', '.join(report.skipped)}\n")
    if given.json:
        given.json.write_text(result.to_json(), encoding="utf-8")
    if given.plot:
        write_plot(report, given.plot)
    sys.stdout.write(table(report) + comparison_tables(result.comparisons))
    return 0


def _progress(note: str) -> None:
    sys.stderr.write(f"{note}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.bench.suite", description=__doc__)
    parser.add_argument("--device", default="meta", help="meta counts without computing; cpu, cuda measure too")
    parser.add_argument("--sizes", nargs="+", default=[], help="tiny, b, l; default: b l, on a CPU b")
    parser.add_argument("--frames", nargs="+", type=int, default=[], help="default: 16 128 256, on a CPU 16")
    parser.add_argument("--methods", nargs="*", default=[], help="names; all when left out, on a CPU two")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs, of which the median counts")
    parser.add_argument("--compile", action="store_true", help="torch.compile the timed forward passes, the peers' too")
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument("--plot", type=Path, help="write the plot here (needs matplotlib)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
