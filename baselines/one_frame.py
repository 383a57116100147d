"""One centre frame: what a benchmark gives away to a model that sees no motion and no order.

Any model that takes `frames=N` serves: an encoder for questions and retrieval, a captioner for captions and summaries.
A video encoder gets the frame repeated to a tubelet, a still video.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, runtime_checkable

from baselines.models import OneFrameOptions
from baselines.parts import BuildModel, parse_spec
from tasks.errors import ModelError
from tasks.model import ModelInfo
from tasks.registry import build_model

OTHER_POLICIES = ("frames", "fps", "cap", "beyond_cap")


@runtime_checkable
class Renamable(Protocol):
    """A model whose description is its own to change."""

    info: ModelInfo


def build_one_frame(options: OneFrameOptions, build: BuildModel = build_model) -> object:
    """The model named by `of`, made to look at the middle frame alone. Raises ModelError."""
    name, given = parse_spec(options.of)
    clashing = [key for key in OTHER_POLICIES if key in given]
    if clashing:
        raise ModelError(f"one-frame looks at one frame: leave {', '.join(clashing)} out of of='{options.of}'")
    model = build(name, one_frame(given))
    if not isinstance(model, Renamable):
        raise ModelError(f"model '{name}' can't be a one-frame model")
    model.info = replace(model.info, name=f"one-frame:{model.info.name}")
    return model


def one_frame(options: Mapping[str, str]) -> dict[str, str]:
    """Options of a model that looks at the mid-point of the clip."""
    return {**options, "frames": "1"}
