"""The methods the paper compares, as changes to one joint space-time encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from encoders.config import AdaptConfig, VisionConfig
from encoders.presets import VARIANTS, preset
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class Method:
    """A name, the share of tokens masked in training, config changes and what trains."""

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
    """The methods named, in the order of METHODS; all for no name. Raises ModelError for unknown names."""
    known = {method.name: method for method in METHODS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ModelError(f"no bench method '{unknown[0]}'; known are {', '.join(known)}")
    return tuple(method for method in METHODS if not names or method.name in names)


def method_config(method: Method, size: str, frames: int) -> VisionConfig:
    """The vision tower of a method at a size and frame count. Raises ModelError for unknown sizes."""
    if size not in VARIANTS:
        raise ModelError(f"no encoder size '{size}'; known are {', '.join(VARIANTS)}")
    return replace(preset(f"shortvivit-{size}").vision, frames=frames, **method.changes)
