"""What the methods of a study cost: counted exactly, timed in turn, and held against a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from encoders.bench.methods import Method
from encoders.bench.side_by_side import count_method, seconds_side_by_side, training_bytes, vision_step
from encoders.config import VisionConfig
from encoders.pretrain.engine import autocast
from evals.bench.ranks import in_its_own_process
from evals.memory import peak_memory_bytes
from evals.study_rows import MethodCost, StudyCosts

ROUNDS = 5


def measure_costs(
    methods: tuple[Method, ...], vision: VisionConfig, batch: int, done: Callable[[str], None]
) -> StudyCosts:
    """Count and measure every method on batches of the study's shape, on CPU; `done` hears of each."""
    changed = {method.name: replace(vision, **method.changes) for method in methods}
    cast = autocast(torch.device("cpu"), "auto")
    steps = {method.name: vision_step(method, changed[method.name], batch, cast) for method in methods}
    seconds = seconds_side_by_side(steps, ROUNDS, done)
    costs = []
    for method in methods:
        row = count_method(method, changed[method.name])
        work = partial(resident_bytes, method, changed[method.name], batch)
        costs.append(
            MethodCost(
                method=method.name,
                mask=method.mask,
                tokens=row.tokens,
                parameters=row.parameters,
                trainable=row.trainable,
                activation_bytes=row.activation_bytes,
                training_bytes=training_bytes(row, batch),
                train_flops=row.train_flops,
                step_seconds=seconds[method.name],
                measured_bytes=in_its_own_process(work),
            )
        )
        done(f"memory of {method.name}")
    return StudyCosts(
        batch=batch,
        frames=vision.frames,
        size=vision.size,
        threads=torch.get_num_threads(),
        methods=tuple(costs),
    )


def ticks(methods: tuple[Method, ...]) -> int:
    """How often `measure_costs` calls back."""
    return ROUNDS + 1 + len(methods)


def resident_bytes(method: Method, vision: VisionConfig, batch: int) -> int:
    """How much a step of `batch` videos raises this process's peak over that of a step of one.

    To be run in a process that has done nothing else: its first step loads what every step needs.
    """
    torch.set_num_threads(1)
    cast = autocast(torch.device("cpu"), "auto")
    vision_step(method, vision, 1, cast)()
    before = peak_memory_bytes()
    vision_step(method, vision, batch, cast)()
    return peak_memory_bytes() - before
