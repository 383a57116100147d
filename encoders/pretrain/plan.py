"""How long and how fast a stage trains, as data; the learning rate is a pure function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class Plan:
    """Optimisation and book-keeping of one stage (ours throughout: the paper's appendix is not public).

    `lr` is reached after `warmup` steps and falls along a cosine to `lr · floor`. Parameters whose
    names fit a pattern of `rates` train at that multiple of it. `clip` bounds the gradient's norm.
    Training ends after step `until` where that is given, with the rate not yet at its lowest: for a stage from which
    another goes on. It may be put off later.
    Checkpoints come every `save` steps, of which the last `keep` stay; metrics every `log` steps.
    Several processes each hold the whole model (`parallel` "ddp"), or a share of its weights, gradients
    and optimiser state ("fsdp", for encoders that are large).
    """

    steps: int
    lr: float
    warmup: int = 0
    floor: float = 0.0
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-8
    clip: float = 1.0
    rates: dict[str, float] | None = None
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    parallel: Literal["ddp", "fsdp"] = "ddp"
    log: int = 10
    save: int = 100
    keep: int = 2
    evaluate: int = 0
    until: int = 0

    def __post_init__(self) -> None:
        """Refuse plans that can't be followed. Raises ModelError."""
        for name, least in (("steps", 1), ("log", 1), ("save", 1), ("keep", 1), ("warmup", 0), ("evaluate", 0)):
            if getattr(self, name) < least:
                raise ModelError(f"training plan: {name} must be at least {least}, not {getattr(self, name)}")
        for name, every in (("save", self.save), ("evaluate", self.evaluate)):
            # A checkpoint inside a group of steps would have to keep half a row of the log.
            if every % self.log:
                raise ModelError(f"training plan: {name} ({every}) must be a multiple of log ({self.log})")
        if not 0 <= self.until <= self.steps:
            raise ModelError(f"training plan: until ({self.until}) must lie within the {self.steps} steps")
        if self.warmup >= self.steps:
            raise ModelError(f"training plan: warmup ({self.warmup}) leaves nothing of {self.steps} steps")

    @property
    def end(self) -> int:
        """The step after which training is over."""
        return self.until or self.steps


def rate_at(plan: Plan, step: int) -> float:
    """The learning rate of step `step`, counted from 0: linear warm-up, then a cosine to the floor."""
    if step < plan.warmup:
        return plan.lr * (step + 1) / plan.warmup
    done = (step - plan.warmup) / max(plan.steps - plan.warmup, 1)
    return plan.lr * (plan.floor + (1 - plan.floor) * (1 + math.cos(math.pi * done)) / 2)
