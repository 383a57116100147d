"""Cost of encoding videos and training on them: each method of the paper, and ours against peers of the same shape.

From top to bottom: the methods; what can be counted without computing (FLOPs, saved activations, on the meta device);
what is measured on a device (seconds, CUDA peaks, its matrix-multiply rate, its attention kernels); ours against peers,
alternately, on one device; and training steps of several methods on the same videos, timed alternately, so that other
load affects all alike. Joint space-time attention is compared with transformers' ViViT, frame-by-frame encoding with
open_clip: each peer does the same work as ours in that comparison. The saving of masking, which no peer has, is a
separate row.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from encoders.adapt import add_modules, freeze, trainable_patterns
from encoders.config import VARIANTS, AdaptConfig, VisionConfig, preset
from encoders.dual import initialise
from encoders.vit import VisionTower, kept_count, sample_keep, time_steps, token_count
from lab.bench.peers import Build, PerFrame, PerVideo, build_peer
from lab.bench.result import Comparison, CostRow, Facts, Measured, NotMeasuredError, Way, clocked, in_turn
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class Method:
    """A name, the share of tokens masked in training, config changes and what is trained."""

    name: str
    mask: float = 0.0
    changes: Mapping[str, Any] = field(default_factory=dict)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)


METHODS = (
    Method("jst-mask0"),
    Method("jst-mask25", 0.25),
    Method("jst-mask50", 0.5),
    Method("jst-mask75", 0.75),
    Method("fst", changes={"attention": "factorized"}),
    Method("frame-level", changes={"attention": "frame", "patches": "image"}),
    Method("adapters", adapt=AdaptConfig("adapters")),
    Method("lora", adapt=AdaptConfig("lora")),
    Method("last4", adapt=AdaptConfig("last", tune_patches=False)),
    Method("last4-patches", adapt=AdaptConfig("last")),
    Method("last4-mask75", 0.75, adapt=AdaptConfig("last", tune_patches=False)),
    Method("last4-patches-mask75", 0.75, adapt=AdaptConfig("last")),
    Method("coarse-time", changes={"tubelet": 4}),
    Method("coarse-space", changes={"patch": 32}),
    Method("coarse-both", changes={"tubelet": 4, "patch": 32}),
    Method("tubevit", changes={"patches": "tubes"}),
)
"""`last4` is the paper's short→long stage; `-patches` tunes the 3D projection as well."""


def find_methods(names: tuple[str, ...]) -> tuple[Method, ...]:
    """Return the named methods, in the order of METHODS; all if none is named. Raises ModelError for unknown names."""
    known = {method.name: method for method in METHODS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ModelError(f"no bench method '{unknown[0]}'; known are {', '.join(known)}")
    return tuple(method for method in METHODS if not names or method.name in names)


def method_config(method: Method, size: str, frames: int) -> VisionConfig:
    """Return the vision tower's config for a method, size and frame count. Raises ModelError for unknown sizes."""
    if size not in VARIANTS:
        raise ModelError(f"no encoder size '{size}'; known are {', '.join(VARIANTS)}")
    return replace(preset(f"shortvivit-{size}").vision, frames=frames, **method.changes)


@dataclass(frozen=True, slots=True)
class Shape:
    """Square uint8 videos: [batch, frames, side, side, 3]."""

    batch: int
    frames: int
    side: int

    def pixels(self, device: torch.device | str) -> Tensor:
        """Return random frames, or only their shape on the meta device."""
        size = (self.batch, self.frames, self.side, self.side, 3)
        if torch.device(device).type == "meta":
            return torch.empty(size, dtype=torch.uint8, device=device)
        return torch.randint(0, 256, size, dtype=torch.uint8, device=device)


class Prefixed(nn.Module):
    """A tower under the name it has in the dual encoder, so that the same patterns freeze it."""

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.vision = tower


def build_tower(method: Method, size: str, frames: int, device: torch.device | str) -> VisionTower:
    """Build a method's bf16 vision tower, frozen as in training."""
    return build_vision(method_config(method, size, frames), method.adapt, device).to(torch.bfloat16)


def build_vision(config: VisionConfig, adapt: AdaptConfig, device: torch.device | str) -> VisionTower:
    """Build a vision tower, frozen as in training."""
    with torch.device(device):
        tower = VisionTower(config)
        initialise(tower)
        add_modules(tower, adapt)
    freeze(Prefixed(tower), trainable_patterns(adapt, config))
    return tower


def meta_keep(tower: VisionTower, shape: Shape, mask: float) -> Tensor | None:
    """Return a mask's indices as a shape only."""
    if mask == 0:
        return None
    config = tower.config
    tokens = token_count(config, shape.frames, shape.side, shape.side)
    if config.attention == "joint":
        return torch.empty(shape.batch, kept_count(tokens, mask), dtype=torch.long, device="meta")
    steps = time_steps(config, shape.frames)
    drawn = steps if config.attention == "frame" else 1
    kept = kept_count(tokens // steps, mask)
    return torch.empty(shape.batch, drawn, kept, dtype=torch.long, device="meta")


def saved_bytes(tower: VisionTower, pixels: Tensor, keep: Tensor | None) -> int:
    """Return the bytes that the tower's forward pass keeps for the backward pass, on any device."""
    return kept_bytes(tower, lambda: tower(pixels, keep))


def kept_bytes(module: nn.Module, forward: Callable[[], object]) -> int:
    """Return the bytes that `forward` keeps for the backward pass, on any device.

    Every storage counts once, however many views of it are kept; parameters and buffers of `module` do not count.
    """
    own = {_identity(p) for p in (*module.parameters(), *module.buffers())}
    kept: dict[StorageWeakRef, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[_identity(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(size for storage, size in kept.items() if storage not in own)


def _identity(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]  # torch leaves it untyped


def flops(tower: VisionTower, pixels: Tensor, keep: Tensor | None) -> tuple[int, int]:
    """Count FLOPs of a forward pass, and of a training step's forward and backward; a multiply-add is two."""
    with FlopCounterMode(display=False) as counter:
        loss = tower(pixels, keep).pooled.sum()
        forward = counter.get_total_flops()
        loss.backward()
    tower.zero_grad()
    return forward, counter.get_total_flops()


def count_row(method: Method, size: str, frames: int) -> CostRow:
    """Make a row of all that can be counted without computing, for one video."""
    return count_tower(build_tower(method, size, frames, "meta"), method, size, frames)


def count_tower(tower: VisionTower, method: Method, size: str, frames: int) -> CostRow:
    """`count_row` of a bf16 tower on the meta device."""
    shape = Shape(1, frames, tower.config.size)
    pixels, keep = shape.pixels("meta"), meta_keep(tower, shape, method.mask)
    trainable = sum(p.numel() for p in tower.parameters() if p.requires_grad)
    parameters = sum(p.numel() for p in tower.parameters())
    dense = token_count(tower.config, frames, shape.side, shape.side)
    forward, train = flops(tower, pixels, keep)
    return CostRow(
        size=size,
        method=method.name,
        frames=frames,
        mask=method.mask,
        tokens=dense if keep is None else keep.shape[1:].numel() * _broadcast(tower, keep, frames),
        parameters=parameters,
        trainable=trainable,
        forward_flops=forward,
        train_flops=train,
        activation_bytes=saved_bytes(tower, pixels, keep),
        weight_bytes=2 * parameters,
        gradient_bytes=2 * trainable,
        optimizer_bytes=12 * trainable,
        dense_flops=forward if keep is None else flops(tower, pixels, None)[0],
    )


def _broadcast(tower: VisionTower, keep: Tensor, frames: int) -> int:
    """Return the tokens per index: one per time step under tube masking."""
    return time_steps(tower.config, frames) if keep.ndim == 3 and keep.shape[1] == 1 else 1


FORWARD_FRAMES = 512
"""Frames in a forward batch on CUDA: 32 videos of 16, 4 of 128, 2 of 256."""


def median_seconds(
    call: Callable[[], object],
    device: torch.device,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the median time of `call` by `clock` after one warm-up; the device is synchronised before each reading."""
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
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def name_of(device: torch.device) -> str:
    """Return the device's product name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def matmul_rate(device: torch.device, repeats: int = 20) -> float:
    """Measure FLOP/s of a large square matrix product, in bf16.

    On a CPU, the better of bf16 and float32: a CPU without bf16 instructions is a hundred times slower in bf16.
    """
    if device.type == "cuda":
        return _square_rate(8192, torch.bfloat16, device, repeats)
    return max(_square_rate(512, dtype, device, repeats) for dtype in (torch.bfloat16, torch.float32))


def _square_rate(side: int, dtype: torch.dtype, device: torch.device, repeats: int) -> float:
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / median_seconds(lambda: left @ right, device, repeats)


class MasterAdam:
    """AdamW over fp32 copies of the trained bf16 parameters."""

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
        """Update the copies, write them back, clear the gradients. Unused parameters are skipped."""
        for live, master in zip(self.live, self.masters, strict=True):
            master.grad = None if live.grad is None else live.grad.float()
            live.grad = None
        self.adam.step()
        self.adam.zero_grad()
        for live, master in zip(self.live, self.masters, strict=True):
            live.copy_(master)


def draw_keep(config: VisionConfig, shape: Shape, mask: float, device: torch.device) -> Tensor | None:
    """Draw a mask's indices on the device."""
    size = (shape.batch, shape.frames, shape.side, shape.side)
    keep = sample_keep(config, size, mask, torch.Generator().manual_seed(0))
    return None if keep is None else keep.to(device)


def clock_row(row: CostRow, method: Method, device: torch.device, repeats: int, *, compiled: bool) -> CostRow:
    """Add measurements on the device to a counted row; out of memory becomes a note."""
    try:
        tower = build_tower(method, row.size, row.frames, device)
        row = _clock_step(row, method, tower, device, repeats)
        return _clock_forward(row, tower, device, repeats, compiled=compiled)
    except torch.OutOfMemoryError:
        return replace(row, note="out of memory")


def _clock_step(row: CostRow, method: Method, tower: VisionTower, device: torch.device, repeats: int) -> CostRow:
    shape = Shape(1, row.frames, tower.config.size)
    pixels, keep = shape.pixels(device), draw_keep(tower.config, shape, method.mask, device)
    optimiser = MasterAdam(tower)

    step = partial(_train, tower, optimiser, pixels, keep)
    if device.type != "cuda":
        taken = median_seconds(step, device, repeats)
        return replace(row, step_seconds=taken, train_batch=1, train_seconds=taken)
    step()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    peak = torch.cuda.max_memory_allocated(device)
    row = replace(row, step_seconds=median_seconds(step, device, repeats), peak_bytes=peak)
    return _clock_training(row, method, tower, optimiser, repeats)


def _clock_training(row: CostRow, method: Method, tower: VisionTower, optimiser: MasterAdam, repeats: int) -> CostRow:
    """Add how long a training step of a whole batch takes: half as many videos where they don't fit."""
    device = next(tower.parameters()).device
    batch = max(1, FORWARD_FRAMES // row.frames)
    while batch:
        with suppress(torch.OutOfMemoryError):
            pixels = Shape(batch, row.frames, tower.config.size).pixels(device)
            keep = draw_keep(tower.config, Shape(batch, row.frames, tower.config.size), method.mask, device)
            seconds = median_seconds(partial(_train, tower, optimiser, pixels, keep), device, repeats)
            return replace(row, train_batch=batch, train_seconds=seconds)
        batch //= 2
        free(device)
    return row


def _train(tower: VisionTower, optimiser: MasterAdam, pixels: Tensor, keep: Tensor | None) -> None:
    """One training step."""
    tower(pixels, keep).pooled.float().square().sum().backward()
    optimiser.step()


def _clock_forward(row: CostRow, tower: VisionTower, device: torch.device, repeats: int, *, compiled: bool) -> CostRow:
    batch = max(1, FORWARD_FRAMES // row.frames) if device.type == "cuda" else 1
    pixels = Shape(batch, row.frames, tower.config.size).pixels(device)
    run = torch.compile(tower) if compiled else tower

    @torch.inference_mode()
    def forward() -> object:
        return run(pixels)

    return replace(row, forward_batch=batch, forward_seconds=median_seconds(forward, device, repeats))


KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "plain": SDPBackend.MATH,
}


def attention_seconds(config: VisionConfig, device: torch.device, repeats: int) -> dict[str, float | None]:
    """Measure one layer's attention for one video in bf16, in seconds by kernel; None if the device lacks it.

    `chosen` is the kernel that SDPA chooses.
    """
    tokens = token_count(config, config.frames, config.size, config.size)
    shape = (1, config.heads, tokens, config.width // config.heads)
    q, k, v = (torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(3))

    @torch.inference_mode()
    def attend() -> object:
        return scaled_dot_product_attention(q, k, v)

    seconds: dict[str, float | None] = {"chosen": median_seconds(attend, device, repeats)}
    for name, kernel in KERNELS.items():
        try:
            with sdpa_kernel(kernel):
                seconds[name] = median_seconds(attend, device, repeats)
        except RuntimeError:  # no such kernel here; out of memory, which the plain one may run into, is one too
            seconds[name] = None
    return seconds


OURS = "ours"
JOINT, FRAMES, MASKED = "jst-mask0", "frame-level", "jst-mask75"
PEERS: tuple[tuple[str, str, Build], ...] = (
    (JOINT, "transformers ViViT", PerVideo),
    (FRAMES, "open_clip per frame", PerFrame),
)


@dataclass(frozen=True, slots=True)
class Work:
    """The work to measure: sizes by the presets' names, frame counts, device, and repeats."""

    sizes: Sequence[str]
    frames: Sequence[int]
    device: torch.device
    repeats: int
    compiled: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison: a method of ours at a size and frame count, and the peer that does the same work."""

    method: Method
    size: str
    frames: int
    peer: str
    build: Build

    @property
    def config(self) -> VisionConfig:
        """The config of both."""
        return method_config(self.method, self.size, self.frames)

    def label(self, what: str, videos: int) -> str:
        """Describe the work in words."""
        kind = "joint space-time" if self.method.name == JOINT else "frame by frame"
        return f"{what}, ViT-{self.size.upper()}, {videos} × {self.frames} frames, {kind}"


def compare_forward(work: Work, done: Callable[[str], None]) -> Iterator[Comparison]:
    """Compare forward passes without gradients, in bf16, for each size, frame count and kind of attention."""
    for case in _cases(work):
        videos = max(1, FORWARD_FRAMES // case.frames) if work.device.type == "cuda" else 1
        ours = partial(own_module, case.method, case, work.device)
        theirs = partial(build_peer, case.build, case.config, work.device)
        ways = {OURS: _forward(ours, case, videos, work), case.peer: _forward(theirs, case, videos, work)}
        facts: Facts = {"size": case.size, "frames": case.frames, "videos": videos}
        yield in_turn(case.label("forward", videos), ways, work.repeats, done, facts=facts)
        free(work.device)


def compare_step(work: Work, done: Callable[[str], None]) -> Iterator[Comparison]:
    """Compare training steps on one video: forward, backward, AdamW on fp32 copies of bf16 weights.

    `activation_bytes` is what autograd keeps for the backward pass; `peak_bytes` is CUDA's highest allocation.
    """
    for case in _cases(work):
        methods = (case.method, *find_methods((MASKED,))) if case.method.name == JOINT else (case.method,)
        ways = {
            name: _step(partial(own_module, method, case, work.device), method.mask, case, work)
            for name, method in zip((OURS, "ours, 75 % masked"), methods, strict=False)
        }
        ways[case.peer] = _step(partial(build_peer, case.build, case.config, work.device), 0.0, case, work)
        facts: Facts = {"size": case.size, "frames": case.frames, "videos": 1}
        yield in_turn(case.label("training step", 1), ways, work.repeats, done, facts=facts)
        free(work.device)


class Pooled(nn.Module):
    """A tower whose output is its pooled vector, as the peers' is."""

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: Tensor, keep: Tensor | None = None) -> Tensor:
        """[B, out]."""
        pooled: Tensor = self.tower(pixels, keep).pooled
        return pooled


def own_module(method: Method, case: Case, device: torch.device) -> nn.Module:
    """Build our tower of a method in bf16."""
    return Pooled(build_tower(method, case.size, case.frames, device))


def ticks(work: Work) -> int:
    """Return the number of callbacks of either comparison."""
    return len(work.sizes) * len(work.frames) * len(PEERS) * work.repeats


def _cases(work: Work) -> Iterator[Case]:
    for size in work.sizes:
        for frames in work.frames:
            for name, peer, build in PEERS:
                yield Case(find_methods((name,))[0], size, frames, peer, build)


def _forward(build: Callable[[], nn.Module], case: Case, videos: int, work: Work) -> Way:
    shape = Shape(videos, case.frames, case.config.size)

    @cache
    def prepared() -> Callable[[], object]:
        module, pixels = build().eval(), shape.pixels(work.device)
        run = torch.compile(module) if work.compiled else module
        return torch.inference_mode()(lambda: run(pixels))

    def measured() -> Measured:
        return clocked(prepared(), partial(drain, work.device))()

    return within_memory(measured)


def _step(build: Callable[[], nn.Module], mask: float, case: Case, work: Work) -> Way:
    shape = Shape(1, case.frames, case.config.size)

    @cache
    def prepared() -> tuple[Callable[[], object], Callable[[], int], Facts]:
        module, pixels = build().train(), shape.pixels(work.device)
        keep = draw_keep(case.config, shape, mask, work.device)
        given = (pixels,) if keep is None else (pixels, keep)
        kept = kept_bytes(module, lambda: module(*given))
        optimiser = MasterAdam(module)

        def step() -> None:
            module(*given).float().square().sum().backward()
            optimiser.step()

        def held() -> int:
            return sum(p.nbytes for p in (*module.parameters(), *module.buffers())) + optimiser.held_bytes

        return step, held, {"activation_bytes": kept, "parameters": sum(p.numel() for p in module.parameters())}

    def measured() -> Measured:
        step, held, facts = prepared()
        if work.device.type != "cuda":
            return clocked(step, facts=facts)()
        torch.cuda.reset_peak_memory_stats(work.device)
        before = torch.cuda.memory_allocated(work.device)
        taken = clocked(step, partial(drain, work.device))()
        # The other ways' weights are on the device too: only what this step added, and its own weights, count.
        added = torch.cuda.max_memory_allocated(work.device) - before
        return replace(taken, facts={**facts, "peak_bytes": added + held()})

    return within_memory(measured)


def within_memory(way: Way) -> Way:
    """Let running out of memory be the reason for a missing figure."""

    def run() -> Measured:
        try:
            return way()
        except torch.OutOfMemoryError as error:
            raise NotMeasuredError("out of memory") from error

    return run


def free(device: torch.device) -> None:
    """Give back what is no longer used."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


Step = Callable[[], None]


def count_method(method: Method, vision: VisionConfig) -> CostRow:
    """Count the cost of one video in a training step, in bf16, for any vision tower."""
    tower = build_vision(vision, method.adapt, "meta").to(torch.bfloat16)
    return count_tower(tower, method, "", vision.frames)


def training_bytes(row: CostRow, batch: int) -> int:
    """Count the tower's training memory for a batch: weights, gradients, optimiser state and activations."""
    return row.total_bytes + (batch - 1) * row.activation_bytes


def vision_step(method: Method, vision: VisionConfig, batch: int, autocast: torch.autocast) -> Step:
    """Return a training step of the tower on random frames: forward, backward, AdamW in float32."""
    tower = build_vision(vision, method.adapt, "cpu").train()
    optimiser = torch.optim.AdamW([p for p in tower.parameters() if p.requires_grad], fused=True)
    shape = Shape(batch, vision.frames, vision.size)
    pixels, keep = shape.pixels("cpu"), draw_keep(vision, shape, method.mask, torch.device("cpu"))

    def step() -> None:
        with autocast:
            pooled = tower(pixels, keep).pooled
        pooled.float().square().sum().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def seconds_side_by_side(steps: Mapping[str, Step], rounds: int, done: Callable[[str], None]) -> dict[str, float]:
    """Return median seconds of each step over `rounds`, which run every step once, after a warm-up round."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            began = perf_counter()
            step()
            if number:
                seconds[name].append(perf_counter() - began)
        done(f"round {number} of {rounds}")
    return {name: statistics.median(found) for name, found in seconds.items()}
