"""Training steps of several methods on the same videos, timed in turn: what else the machine does hits all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from time import perf_counter

import torch

from encoders.bench.clock import draw_keep
from encoders.bench.count import Shape, build_vision, count_tower
from encoders.bench.methods import Method
from encoders.bench.rows import Row
from encoders.config import VisionConfig

Step = Callable[[], None]


def count_method(method: Method, vision: VisionConfig) -> Row:
    """What one video of a training step costs by count, in bf16, for any vision tower."""
    tower = build_vision(vision, method.adapt, "meta").to(torch.bfloat16)
    return count_tower(tower, method, "", vision.frames)


def training_bytes(row: Row, batch: int) -> int:
    """Training memory of the tower for a batch by count: weights, gradients, optimiser state and activations."""
    return row.total_bytes + (batch - 1) * row.activation_bytes


def vision_step(method: Method, vision: VisionConfig, batch: int, autocast: torch.autocast) -> Step:
    """A training step of the tower on random frames: forward, backward, AdamW in float32."""
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
    """Median seconds of each step over `rounds`, in each of which every one is run once, after a first that is not."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            began = perf_counter()
            step()
            if number:
                seconds[name].append(perf_counter() - began)
        done(f"round {number} of {rounds}")
    return {name: statistics.median(found) for name, found in seconds.items()}
