"""Where training stands, on disk: safetensors and JSON in one folder that appears whole or not at all.

Only what trains is stored: the frozen rest comes from the stage before. Random numbers need no
storage, because every step seeds them from its own number.
"""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import nn

from encoders.config import Bounds, check_bounds, read_dataclass, read_json
from encoders.pretrain.optimiser import load_optimiser, optimiser_tensors
from encoders.pretrain.shards import share_like, whole_tensors
from encoders.pretrain.step import trainable
from encoders.weights import read_tensors, save_tensors
from tasks.errors import ModelError

FOLDER = "checkpoints"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is: steps done (which is the data's cursor too), samples seen and bad ones met."""

    step: Annotated[int, Bounds(0, 1 << 53)] = 0
    samples: Annotated[int, Bounds(0, 1 << 53)] = 0
    bad: Annotated[int, Bounds(0, 1 << 53)] = 0

    def __post_init__(self) -> None:
        """Refuse counts that can't be. Raises ModelError."""
        check_bounds(self, "progress")


def save_checkpoint(
    run: Path, module: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress, keep: int, *, write: bool
) -> None:
    """Write `RUN/checkpoints/STEP/` and delete all but the last `keep`.

    Every process must call it, as each may hold a share of the tensors; the one that is to `write` writes.
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
    """The finished checkpoints of a run, oldest first."""
    return sorted(path for path in (run / FOLDER).glob("[0-9]*") if path.is_dir())


def load_checkpoint(run: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Continue from a run's last checkpoint; `Progress()` where it has none. Raises ModelError for another model's."""
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
        raise ModelError(f"{last} is of another model or another choice of what trains: {differing[0]} differs")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(share_like(tensors[name], parameter))
    load_optimiser(module, optimiser, read_tensors(last / "optimiser.safetensors"))
    return progress
