"""Training checkpoints: safetensors and JSON in one folder that is written atomically.

Only trained parameters are stored; the frozen rest comes from the previous stage. Random state needs no
storage, because every step is seeded by its number.
"""

from __future__ import annotations

import json
import math
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from typing import Annotated, Literal

import torch
from jsonlines import Reader, Writer
from torch import Tensor, nn

from encoders.adapt import matches
from encoders.config import Bounds, ConfigError, check_bounds, read_dataclass, read_json
from encoders.dual import MAX_SCALE
from encoders.pretrain.step import BadSample, trainable
from encoders.pretrain.world import share_like, whole_tensors
from encoders.weights import read_tensors, save_tensors
from tasks.durable import whole_file
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class Plan:
    """Optimisation and book-keeping of one stage (all our choice: the paper's appendix is not public).

    `lr` is reached after `warmup` steps and falls along a cosine to `lr · floor`. Parameters whose
    names match a pattern of `rates` train at that multiple of it. `clip` bounds the gradient's norm.
    Training ends after step `until` if that is given, before the rate is at its lowest: for a stage that another one
    continues. It can be raised later. Checkpoints are saved every `save` steps, and the last `keep` are kept; metrics
    are logged every `log` steps.
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
        """Check the values. Raises ModelError."""
        for name, least in (("steps", 1), ("log", 1), ("save", 1), ("keep", 1), ("warmup", 0), ("evaluate", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"training plan: {name} must be at least {least}, not {getattr(self, name)}")
        for name, every in (("save", self.save), ("evaluate", self.evaluate)):
            # A checkpoint inside a group of steps would have to store half a row of the log.
            if every % self.log:
                raise ConfigError(f"training plan: {name} ({every}) must be a multiple of log ({self.log})")
        if not 0 <= self.until <= self.steps:
            raise ConfigError(f"training plan: until ({self.until}) must lie within the {self.steps} steps")
        if self.warmup >= self.steps:
            raise ConfigError(f"training plan: warmup ({self.warmup}) leaves nothing of {self.steps} steps")

    @property
    def end(self) -> int:
        """The step after which training is over."""
        return self.until or self.steps


def rate_at(plan: Plan, step: int) -> float:
    """Return the learning rate of step `step`, counted from 0: linear warm-up, then a cosine to the floor."""
    if step < plan.warmup:
        return plan.lr * (step + 1) / plan.warmup
    done = (step - plan.warmup) / max(plan.steps - plan.warmup, 1)
    return plan.lr * (plan.floor + (1 - plan.floor) * (1 + math.cos(math.pi * done)) / 2)


NO_DECAY = (
    "*.positions.*",
    "*.positions",
    "*position_embeddings*",
    "*class_token",
    "*.query",
    "*log_scale",
    "*.latents",
)
"""Tables and single vectors without weight decay; one-dimensional parameters never have any."""


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: to matrices, but not to norms, biases, positions and the temperature."""
    return parameter.ndim >= 2 and not matches(name, NO_DECAY)


def rate_of(name: str, plan: Plan) -> float:
    """Return a parameter's multiple of the learning rate: that of the first matching pattern."""
    return next((rate for pattern, rate in (plan.rates or {}).items() if fnmatchcase(name, pattern)), 1.0)


def build_optimiser(module: nn.Module, plan: Plan) -> torch.optim.AdamW:
    """Build AdamW over the trainable parameters. Raises ModelError if there are none, or a pattern matches none."""
    parameters = trainable(module)
    if not parameters:
        raise ModelError("nothing to train: every parameter is frozen")
    for pattern in plan.rates or {}:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            raise ModelError(f"training plan: rates: '{pattern}' matches no trainable parameter")
    groups: dict[tuple[float, float], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in parameters.items():
        decay = plan.weight_decay if decays(name, parameter) else 0.0
        groups.setdefault((rate_of(name, plan), decay), []).append((name, parameter))
    return torch.optim.AdamW(
        [
            {"params": members, "weight_decay": decay, "rate": rate, "lr": plan.lr * rate}
            for (rate, decay), members in groups.items()
        ],
        betas=(plan.beta1, plan.beta2),
        eps=plan.eps,
        fused=True,
    )


@torch.no_grad()
def clamp_scales(module: nn.Module) -> None:
    """Clamp every trained log-scale between 0 and its ceiling, as CLIP does after each step."""
    for name, parameter in trainable(module).items():
        if name.endswith("log_scale"):
            parameter.clamp_(0.0, MAX_SCALE)


def set_rate(optimiser: torch.optim.Optimizer, plan: Plan, step: int) -> float:
    """Set every group's learning rate for step `step`; return the base rate."""
    base = rate_at(plan, step)
    for group in optimiser.param_groups:
        group["lr"] = base * group["rate"]
    return base


def optimiser_tensors(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as `KIND.PARAMETER` tensors; parameters that were never updated have none."""
    return {
        f"{kind}.{name}": value
        for name, parameter in trainable(module).items()
        for kind, value in optimiser.state.get(parameter, {}).items()
    }


def load_optimiser(module: nn.Module, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore the state of `optimiser_tensors`. Raises ModelError for tensors of other parameters."""
    left = dict(tensors)
    for name, parameter in trainable(module).items():
        found = {kind: left.pop(f"{kind}.{name}") for kind in KINDS if f"{kind}.{name}" in left}
        other = [kind for kind, value in found.items() if value.ndim and value.shape != parameter.shape]
        if other or (found and "step" not in found):
            raise ModelError(f"the optimiser's state is of another model: {other[0] if other else 'no step'} of {name}")
        if found:
            optimiser.state[parameter] = {
                kind: share_like(value, parameter) if value.ndim else value.to(parameter.device)
                for kind, value in found.items()
            }
    if left:
        raise ModelError(f"the optimiser's state is of another model: {next(iter(left))}")


KINDS = ("step", "exp_avg", "exp_avg_sq")


METRICS = "metrics.jsonl"
BAD = "bad-samples.jsonl"
Row = dict[str, float | int | str]
WALL_CLOCK = ("seconds", "samples_per_second", "memory_bytes")
"""Fields of a row that differ from run to run; all others are the same for the same seed and machine."""


class Journal:
    """Appends to the record of a run; rows after `step`, the last checkpoint, are removed first.

    If `folder` is None, nothing is written, as in all processes but the first.
    """

    def __init__(self, folder: Path | None, step: int) -> None:
        self._folder = folder
        if folder is not None:
            for name in (METRICS, BAD):
                _cut(folder / name, step)

    def write(self, row: Row) -> None:
        """Add a row of metrics."""
        self._append(METRICS, [row])

    def bad(self, step: int, samples: Iterable[BadSample]) -> None:
        """Record samples that could not be read at a step."""
        self._append(BAD, ({"step": step, "key": sample.key, "error": sample.error} for sample in samples))

    def _append(self, name: str, rows: Iterable[Mapping[str, object]]) -> None:
        found = list(rows)
        if self._folder is not None and found:
            with (self._folder / name).open("a", encoding="utf-8") as file:
                Writer(file).write_all(found)


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a record; a torn last line is left out."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return list(Reader(StringIO(text[: text.rfind("\n") + 1]), loads=json.loads))


def _cut(path: Path, step: int) -> None:
    rows = [row for row in read_rows(path) if int(row["step"]) <= step]
    if path.is_file():
        with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
            Writer(file).write_all(rows)


FOLDER = "checkpoints"


@dataclass(frozen=True, slots=True)
class Progress:
    """Training progress: steps done (also the data's cursor), samples seen, and bad samples."""

    step: Annotated[int, Bounds(0, 1 << 53)] = 0
    samples: Annotated[int, Bounds(0, 1 << 53)] = 0
    bad: Annotated[int, Bounds(0, 1 << 53)] = 0

    def __post_init__(self) -> None:
        """Check the counts. Raises ModelError."""
        check_bounds(self, "progress")


def save_checkpoint(
    run: Path, module: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress, keep: int, *, write: bool
) -> None:
    """Write `RUN/checkpoints/STEP/` and delete all but the last `keep`.

    Every process must call it, as each may hold a shard of the tensors; only the one with `write` writes.
    """
    model = whole_tensors(trainable(module), keep=write)
    state_of_optimiser = whole_tensors(optimiser_tensors(module, optimiser), keep=write)
    if not write:
        return
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{secrets.token_hex(4)}"
    temporary.mkdir()
    save_tensors(model, temporary / "model.safetensors")
    save_tensors(state_of_optimiser, temporary / "optimiser.safetensors")
    state = {"step": progress.step, "samples": progress.samples, "bad": progress.bad}
    (temporary / "state.json").write_text(json.dumps(state) + "\n", encoding="utf-8")
    target = folder / f"{progress.step:08d}"
    if target.exists():
        shutil.rmtree(target)
    temporary.rename(target)
    for old in checkpoints(run)[:-keep]:
        shutil.rmtree(old)
    for half in folder.glob(".*"):
        shutil.rmtree(half)


def checkpoints(run: Path) -> list[Path]:
    """List the finished checkpoints of a run, oldest first."""
    return sorted(path for path in (run / FOLDER).glob("[0-9]*") if path.is_dir())


def load_checkpoint(run: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Load a run's last checkpoint; `Progress()` if there is none. Raises ModelError for another model's."""
    found = checkpoints(run)
    if not found:
        return Progress()
    last = found[-1]
    progress = read_dataclass(Progress, read_json(last / "state.json"), str(last / "state.json"))
    tensors = read_tensors(last / "model.safetensors")
    own = trainable(module)
    differing = sorted(set(tensors) ^ set(own)) or [
        n for n in own if own[n].shape != tensors[n].shape or not tensors[n].is_floating_point()
    ]
    if differing:
        raise ModelError(f"{last} is of another model or another set of trained parameters: {differing[0]} differs")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(share_like(tensors[name], parameter))
    load_optimiser(module, optimiser, read_tensors(last / "optimiser.safetensors"))
    return progress
