"""The methods the paper weighs against each other, as changes to one stage: what is masked, seen and trained."""

from __future__ import annotations

from dataclasses import replace

from encoders.bench.methods import Method, find_methods
from encoders.config import AdaptConfig
from encoders.pretrain.settings import StageSettings
from tasks.errors import ModelError

COUNTED = (
    "jst-mask0",
    "jst-mask25",
    "jst-mask50",
    "jst-mask75",
    "fst",
    "frame-level",
    "adapters",
    "lora",
    "coarse-time",
    "coarse-space",
    "coarse-both",
    "tubevit",
)
"""Methods taken over from the bench as they are."""


def studied_methods(depth: int) -> tuple[Method, ...]:
    """All methods of the study for a vision tower of `depth` layers.

    Masked FST and frame-level stand for the paper's curves of each over masking. Seven eighths masked (ours) take less
    memory than any coarse method, so that each of these lies between two masks. The last third of the layers is what
    the paper's last four are of ViT-B's twelve (ours); `-patches` trains the front as well.
    """
    last = AdaptConfig("last", last=max(1, round(depth / 3)))
    return (
        *find_methods(COUNTED),
        Method("jst-mask88", 0.875),
        Method("fst-mask75", 0.75, {"attention": "factorized"}),
        Method("frame-level-mask75", 0.75, {"attention": "frame", "patches": "image"}),
        Method("last-third", adapt=replace(last, tune_patches=False)),
        Method("last-third-patches", adapt=last),
    )


def choose_methods(names: tuple[str, ...], depth: int) -> tuple[Method, ...]:
    """The methods named, in the study's order; all for no name. Raises ModelError for unknown names."""
    methods = studied_methods(depth)
    known = [method.name for method in methods]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ModelError(f"the study has no method '{unknown[0]}'; known are {', '.join(known)}")
    return tuple(method for method in methods if not names or method.name in names)


def as_method(stage: StageSettings, method: Method) -> StageSettings:
    """The stage trained by a method; all else stays, the order of its data included."""
    model = replace(stage.model, mask=method.mask, vision={**stage.model.vision, **method.changes}, adapt=method.adapt)
    return replace(stage, name=method.name, model=model)
