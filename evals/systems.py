"""Which side of the encoder-or-aggregator question a model stands on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from evals.models import MODELS

ENCODER, AGGREGATOR, TEXT, ELSEWHERE = "encoder", "aggregator", "text", "elsewhere"
SYSTEMS: Mapping[str, str] = MappingProxyType(
    {
        ENCODER: "encoder",
        AGGREGATOR: "aggregator: captions read by a language model",
        TEXT: "text alone, no video",
        ELSEWHERE: "imported: run elsewhere",
    }
)


def system_of(model: str, *, imported: bool = False) -> str:
    """One of `SYSTEMS`, by the room that the model is built in."""
    if imported:
        return ELSEWHERE
    spec = MODELS.get(model)
    if spec is not None and spec.build.startswith("encoders."):
        return ENCODER
    return AGGREGATOR if model.startswith(AGGREGATOR) else TEXT
