"""Models that never look: a uniformly random choice and one fixed choice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from baselines.models import ChanceOptions, ConstantOptions
from tasks.errors import ModelError
from tasks.model import ModelInfo, OptionRequest
from tasks.routes import Route


@dataclass(frozen=True, slots=True)
class ConstantModel:
    """Chooses the same option every time."""

    choice: int
    route = Route.GIVEN

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(name="constant", parameters=0)

    def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
        for request in requests:
            if not 0 <= self.choice < len(request.options):
                msg = f"choice={self.choice} is not an option of {request.item_id} (0 to {len(request.options) - 1})"
                raise ModelError(msg)
        return [self.choice for _ in requests]


@dataclass(frozen=True, slots=True)
class ChanceModel:
    """Chooses uniformly, from a digest of seed and item id: the same on any machine, in any order."""

    seed: int = 0
    route = Route.GIVEN

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(name="chance", parameters=0)

    def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
        return [self._draw(request.item_id, len(request.options)) for request in requests]

    def _draw(self, item_id: str, options: int) -> int:
        digest = hashlib.sha256(f"{self.seed}:{item_id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % options


def build_constant(options: ConstantOptions) -> ConstantModel:
    """The constant model."""
    return ConstantModel(options.choice)


def build_chance(options: ChanceOptions) -> ChanceModel:
    """The chance model."""
    return ChanceModel(options.seed)
