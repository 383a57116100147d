"""How an aggregator's language model is trained, read from a TOML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from encoders.causal_lm.lora import LoraShape
from encoders.config import read_dataclass
from encoders.pretrain.checkpoint import Plan
from encoders.pretrain.settings import merged
from tasks.errors import ModelError
from tasks.files import is_file, parse_toml, read_toml


@dataclass(frozen=True, slots=True)
class AggregatorSettings:
    """`name` is what the adapter is called.

    Each step asks all questions about `batch` of the first `videos` training videos; the first `held_out` videos of val
    are measured on. `segments` is the aggregator's option, the same when the adapter is used. `temperature`: see
    baselines.aggregator_training.step.
    """

    name: str
    training: Plan
    llm: str = "smollm2"
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    lora: LoraShape = field(default_factory=LoraShape)
    segments: Literal["auto", "uniform", "captions"] = "captions"
    temperature: float = 0.1
    batch: int = 2
    videos: int = 400
    held_out: int = 40
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse settings that can't be followed. Raises ModelError."""
        for name in ("batch", "videos", "held_out"):
            if getattr(self, name) < 1:
                raise ModelError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.temperature > 0:
            raise ModelError(f"temperature must be positive, not {self.temperature}")


def read_aggregator_settings(path: Path, *, seed: int | None = None, changes: Sequence[str] = ()) -> AggregatorSettings:
    """The settings of a file, with `changes` as KEY=VALUE of TOML. Raises ModelError naming file and key."""
    if not is_file(path):
        raise ModelError(f"no training config at {path}")
    table: dict[str, object] = read_toml(path, "training config")
    for change in changes:
        table = merged(table, parse_toml(change, f"--set '{change}'"))
    if seed is not None:
        table["seed"] = seed
    return read_dataclass(AggregatorSettings, table, str(path))
