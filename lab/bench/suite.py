"""The whole bench on one device, as one result: encoders, their peers, and questions to a video language model.

`python -m lab.bench.suite` gives all of these figures on a machine that has torch and NumPy and little else. Peers that
are not installed are named and left out, and so is the language model without transformers and torchvision.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
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
    drain,
    find_methods,
    matmul_rate,
    method_config,
    name_of,
)
from lab.bench.peers import needed
from lab.bench.result import (
    Comparison,
    CostRow,
    Facts,
    Machine,
    Measured,
    NotMeasuredError,
    Report,
    Result,
    Timing,
    Way,
    as_result,
    clocked,
    comparison_tables,
    comparisons_of,
    in_turn,
    read_json,
    report_of,
    table,
    write_plot,
)
from lab.bench.vision_language import VisionWork, compare_vision_language
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
VLM = {"cpu": ("tiny",), "cuda": ("2b",), "meta": ()}
VLM_FRAMES = {"cpu": (4,), "cuda": (16, 64, 128), "meta": ()}
STAGES = {"cpu": ("image",), "cuda": ("image", "short", "long-minute", "long-full"), "meta": ()}
STEPS = {"cpu": 2, "cuda": 12}
Done = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line's request; empty fields default to what the device can do in minutes.

    No methods means all of them on a GPU and on the meta device. `vlm` and `vlm_frames` are the sizes of video language
    models and the frames that they are shown, `stages` those of kitchen's recipe.
    """

    device: str = "meta"
    sizes: tuple[str, ...] = ()
    frames: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    repeats: int = 5
    compiled: bool = False
    vlm: tuple[str, ...] = ()
    vlm_frames: tuple[int, ...] = ()
    stages: tuple[str, ...] = ()

    def filled(self) -> Asked:
        """Fill in the device's default sizes, frames and methods. Raises ModelError for a missing device."""
        kind = find_bench_device(self.device).type
        return replace(
            self,
            sizes=self.sizes or SIZES[kind],
            frames=self.frames or FRAMES[kind],
            methods=self.methods or METHODS[kind],
            vlm=self.vlm or VLM[kind],
            vlm_frames=self.vlm_frames or VLM_FRAMES[kind],
            stages=self.stages or STAGES[kind],
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
    def vision_work(self) -> VisionWork:
        """Return the work of the video language models; on a CPU, a rehearsal, their frames are small."""
        work = VisionWork(self.vlm, self.vlm_frames, torch.device(self.device), self.repeats)
        return work if work.device.type == "cuda" else replace(work, height=64, width=96)

    @property
    def settings(self) -> dict[str, JsonValue]:
        """Return the settings as a result keeps them."""
        return asdict(self)


def bench_encode(asked: Asked, done: Done, *, steps: bool = False) -> Result:
    """Measure forward passes against peers, attention by kernel, and the cost of the paper's methods.

    With `steps` the training steps beside the peers', those of kitchen's recipe beside the same models written plainly,
    decoding by the device, and questions to a video language model: all that it can tell.
    """
    asked = asked.filled()
    vision = asked.vision_work
    measured = asked.device != "meta"
    comparisons = tuple(compare_forward(asked.work, done)) if measured else ()
    if measured and steps:
        of_recipe = f"training steps of {', '.join(asked.stages)}"
        for work, part in (
            ("training steps beside the peers'", lambda: compare_step(asked.work, done)),
            ("decoding", lambda: [compare_decoding(asked.device, asked.repeats, done)]),
            (of_recipe, lambda: compare_recipe(asked, done)),
            ("questions to a video language model", lambda: compare_vision_language(vision, done)),
        ):
            comparisons += tuple(as_far_as_it_goes(work, part, done))
    report = bench(asked.options, lambda row: done(f"{row.size}, {row.frames} frames, {row.method}"))
    result = as_result(report, comparisons, asked.settings)
    own = {"attention_seconds": attention(asked) if measured else {}, "matmul_shares": shares(report)}
    return replace(result, details={**result.details, **own})


def as_far_as_it_goes(work: str, part: Callable[[], Iterable[Comparison]], done: Done) -> Iterator[Comparison]:
    """Yield a part's comparisons; where it fails it is named and left out: all other figures of a lent GPU are kept."""
    try:
        yield from part()
    except (ImportError, RuntimeError, OSError, LongvidError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if isinstance(error, ModuleNotFoundError):
            reason = f"{error.name} is not installed"
        done(f"{work}: left out, {reason}")
        yield Comparison(work, (Timing("ours", missing=reason),))


def bench_train_step(asked: Asked, done: Done) -> Result:
    """Measure training steps against peers."""
    asked = asked.filled()
    comparisons = tuple(compare_step(asked.work, done))
    return Result("train-step", machine_facts(name_of(asked.work.device)), asked.settings, comparisons)


def compare_recipe(asked: Asked, done: Done) -> Iterator[Comparison]:
    """Time training steps of the stages."""
    from encoders.shipped import CONFIGS
    from lab.bench.recipe import bench_recipe

    steps = STEPS[asked.work.device.type]
    config = CONFIGS / "kitchen-tiny.toml"
    yield from bench_recipe(
        config, asked.stages, steps=steps, repeats=asked.repeats, device=asked.device, done=done
    ).comparisons


ON_CPU, ON_GPU = "TorchCodec on the CPU", "TorchCodec on the GPU (NVDEC)"
PICTURES = {"cuda": (600, 720, 1280), "cpu": (30, 144, 256)}
"""How many are decoded, their height and width: the CPU's is a rehearsal."""


def compare_decoding(device: str, repeats: int, done: Done) -> Comparison:
    """Every frame of an H.264 video by TorchCodec, on the CPU and by the GPU's own decoder."""
    count, height, width = PICTURES[torch.device(device).type]

    def reads(on: str) -> Way:
        @cache
        def encoded() -> torch.Tensor:
            return moving_pattern(count, height, width)

        def read() -> None:
            found = needed("torchcodec.decoders", "torchcodec").VideoDecoder(encoded(), device=on)
            drain(found.get_frames_in_range(0, count).data.device)

        def measured() -> Measured:
            if torch.device(on).type == "cuda" and torch.device(device).type != "cuda":
                raise NotMeasuredError(f"asked for {device}")
            try:
                encoded()
                taken = clocked(read)()
            except (RuntimeError, ValueError) as error:
                raise NotMeasuredError(str(error).strip().splitlines()[0]) from error
            return replace(taken, facts={"frames_per_second": round(count / taken.seconds, 1)})

        return measured

    work = f"decoding {count} frames of {width}×{height} H.264"
    return in_turn(work, {ON_CPU: reads("cpu"), ON_GPU: reads("cuda")}, repeats, done)


def moving_pattern(count: int, height: int, width: int) -> torch.Tensor:
    """An H.264 file as bytes: noise that wanders, so that there is motion to be coded.

    Raises NotMeasuredError where TorchCodec is not installed, RuntimeError where it has no encoder.
    """
    encoder = needed("torchcodec.encoders", "torchcodec").VideoEncoder
    coarse = torch.rand(3, height // 8, width // 8, generator=torch.Generator().manual_seed(0))
    picture = (255 * coarse).to(torch.uint8).repeat_interleave(8, 1).repeat_interleave(8, 2)
    frames = torch.stack([picture.roll((2 * number, 3 * number), (1, 2)) for number in range(count)])
    found: torch.Tensor = encoder(frames, frame_rate=30).to_tensor("mp4", codec="libx264", pixel_format="yuv420p")
    return found


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


def main(arguments: list[str] | None = None) -> int:
    """Run with command-line arguments; 0 on success, 2 with one line on standard error otherwise."""
    given = _parser().parse_args(arguments)
    if given.read:
        return read_again(given.read)
    asked = Asked(
        given.device,
        tuple(given.sizes),
        tuple(given.frames),
        tuple(given.methods),
        given.repeats,
        given.compile,
        tuple(given.vlm),
        tuple(given.vlm_frames),
        tuple(given.stages),
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


def read_again(path: Path) -> int:
    """Print the tables of a result's file; 0 on success, 2 with one line on standard error otherwise."""
    try:
        report, comparisons = read_json(path), comparisons_of(path)
    except LongvidError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(table(report) + comparison_tables(comparisons))
    return 0


def _progress(note: str) -> None:
    sys.stderr.write(f"{note}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.bench.suite", description=__doc__)
    parser.add_argument("--device", default="meta", help="meta counts without computing; cpu, cuda measure too")
    parser.add_argument("--sizes", nargs="+", default=[], help="tiny, b, l; default: b l, on a CPU b")
    parser.add_argument("--frames", nargs="+", type=int, default=[], help="default: 16 128 256, on a CPU 16")
    parser.add_argument("--methods", nargs="*", default=[], help="names; all when left out, on a CPU two")
    parser.add_argument("--vlm", nargs="+", default=[], help="tiny, 2b, 4b, 8b; default: 2b, on a CPU tiny")
    parser.add_argument("--vlm-frames", nargs="+", type=int, default=[], help="default: 16 64 128, on a CPU 4")
    parser.add_argument("--stages", nargs="+", default=[], help="of kitchen's recipe; default: four, on a CPU image")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs, of which the median counts")
    parser.add_argument("--compile", action="store_true", help="torch.compile the timed forward passes, the peers' too")
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument("--read", type=Path, help="measure nothing: print the tables of a report written by --json")
    parser.add_argument("--plot", type=Path, help="write the plot here (needs matplotlib)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
