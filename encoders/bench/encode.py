"""Encoding videos and training on them: ours beside the peers of the same shape, in turn, on one device.

Joint space-time attention is set beside transformers' ViViT, frame by frame beside open_clip: each peer does the work
that ours does in its row's comparison. What masking saves, which no peer has, is a row of its own.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from torch import Tensor, nn

from encoders.bench.clock import FORWARD_FRAMES, MasterAdam, drain, draw_keep
from encoders.bench.count import Shape, build_tower, kept_bytes
from encoders.bench.methods import Method, find_methods, method_config
from encoders.bench.peers import Build, PerFrame, PerVideo, build_peer
from encoders.bench.result import Comparison, Facts, Measured, NotMeasuredError, Way, clocked, in_turn
from encoders.config import VisionConfig
from encoders.vision import VisionTower

OURS = "ours"
JOINT, FRAMES, MASKED = "jst-mask0", "frame-level", "jst-mask75"
PEERS: tuple[tuple[str, str, Build], ...] = (
    (JOINT, "transformers ViViT", PerVideo),
    (FRAMES, "open_clip per frame", PerFrame),
)


@dataclass(frozen=True, slots=True)
class Work:
    """What is encoded or trained on: sizes by the presets' names, frame counts, where, and how often."""

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
        """The shape of both."""
        return method_config(self.method, self.size, self.frames)

    def label(self, what: str, videos: int) -> str:
        """The work in words."""
        kind = "joint space-time" if self.method.name == JOINT else "frame by frame"
        return f"{what}, ViT-{self.size.upper()}, {videos} × {self.frames} frames, {kind}"


def compare_forward(work: Work, done: Callable[[str], None]) -> Iterator[Comparison]:
    """Forward passes without gradients, in bf16: one comparison for each size, frame count and kind of attention."""
    for case in _cases(work):
        videos = max(1, FORWARD_FRAMES // case.frames) if work.device.type == "cuda" else 1
        ours = partial(own_module, case.method, case, work.device)
        theirs = partial(build_peer, case.build, case.config, work.device)
        ways = {OURS: _forward(ours, case, videos, work), case.peer: _forward(theirs, case, videos, work)}
        facts: Facts = {"size": case.size, "frames": case.frames, "videos": videos}
        yield in_turn(case.label("forward", videos), ways, work.repeats, done, facts=facts)
        _free(work.device)


def compare_step(work: Work, done: Callable[[str], None]) -> Iterator[Comparison]:
    """Training steps on one video: forward, backward, AdamW on fp32 copies of bf16 weights.

    `activation_bytes` are what autograd keeps for the backward pass; `peak_bytes` CUDA's highest allocation.
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
        _free(work.device)


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
    """Our tower of a method in bf16."""
    return Pooled(build_tower(method, case.size, case.frames, device))


def ticks(work: Work) -> int:
    """How often either comparison calls back."""
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

    return _within_memory(measured)


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
        # The other ways' weights lie on the device too: what this step added counts, and what is its own.
        added = torch.cuda.max_memory_allocated(work.device) - before
        return replace(taken, facts={**facts, "peak_bytes": added + held()})

    return _within_memory(measured)


def _within_memory(way: Way) -> Way:
    def run() -> Measured:
        try:
            return way()
        except torch.OutOfMemoryError as error:
            raise NotMeasuredError("out of memory") from error

    return run


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
