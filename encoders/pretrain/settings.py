"""A stage's settings, read from a TOML file of stages.

A file has one table per stage; settings shared by stages are in the table `common`. The table's
name is what `--stage` takes, and its `stage` says which step of the recipe it is, if the name
doesn't. `[short-masked]` with `stage = "short"` and `model.mask = 0.75` is the EffShortViViT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from encoders.config import AdaptConfig, ConfigError, LanguageShape, read_dataclass
from encoders.pretrain.checkpoint import Plan
from encoders.pretrain.contrastive import StatementLoss, Views
from encoders.pretrain.data import View
from encoders.vit import MaskBy
from tasks.errors import ModelError
from tasks.files import is_file, parse_toml, read_toml

Stage = Literal["image", "short", "texts", "long", "lm", "captions"]
COMMON = "common"
SOURCES = ("kitchen", "manifest", "folder", "shards")
VIEW_OF: Mapping[Stage, View] = {
    "image": "image",
    "short": "clip",
    "texts": "facts",
    "long": "video",
    "lm": "video",
    "captions": "video",
}


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The encoder and its initial weights.

    `init` is `scratch`, another stage of the file, a .safetensors file of ours, or
    `openclip:NAME[@PRETRAINED]`. The encoder is `preset`'s, or that of `init` if none is named,
    with the changes in `vision` and `text`. `time_std` scales new time positions (see
    encoders.transfer), `mask` is the share of tokens dropped in training, anywhere in space-time or, with `mask_by`
    "time", the same share at each time step; `adapt` says what is trained.
    `checkpointing` recomputes the vision tower's blocks in the backward pass.
    """

    init: str
    preset: str | None = None
    vision: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)
    time_std: float = 0.0
    mask: float = 0.0
    mask_by: MaskBy = "anywhere"
    checkpointing: bool = False
    adapt: AdaptConfig = field(default_factory=AdaptConfig)


@dataclass(frozen=True, slots=True)
class FileSettings:
    """Videos in files. `path` is a manifest (.jsonl), a folder of videos with captions, or tar shards.

    `decoders` processes read ahead, `fit` says how a frame becomes a square.
    """

    path: str
    decoders: int = 2
    fit: Literal["crop", "squash"] = "crop"
    beyond: Literal["spread", "cut"] = "spread"


@dataclass(frozen=True, slots=True)
class KitchenSettings:
    """The built-in kitchen, made in memory: `videos` of a split from number `first` on.

    `false_captions` limits the reordered paragraphs of each. Of clips, the share `steps` shows one step from start to
    end, and `between` separates the sentences of the others. Each whole video has `questions` answered questions of
    kitchen-qa's kinds, as captions after that task's prompt. `statements` are made if used; with `brief_apart`,
    those of brief events are separate kinds; with `signals`, there are those of the sides of flame and lid. `kinds`, if
    not empty, leaves only statements of these.
    """

    videos: int
    split: Literal["train", "val", "test"] = "train"
    first: int = 0
    false_captions: int = 4
    steps: float = 0.0
    between: str = " "
    questions: int = 0
    statements: bool = True
    brief_apart: bool = False
    signals: bool = False
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataSettings:
    """The data of batches: `batch` samples over all processes, each of `frames` frames.

    `view` is the part of a video that is read: one frame ("image"), a clip of `frames / fps` seconds
    ("clip") or all of it ("video"). `family` neighbouring samples stay together, so that videos which
    differ little are negatives of each other. Exactly one source must be named.
    """

    batch: int
    frames: int = 1
    fps: float = 1.0
    view: View | None = None
    family: int = 1
    kitchen: KitchenSettings | None = None
    manifest: FileSettings | None = None
    folder: FileSettings | None = None
    shards: FileSettings | None = None

    def __post_init__(self) -> None:
        """Check that exactly one source is named. Raises ModelError."""
        named = [name for name in SOURCES if getattr(self, name) is not None]
        if len(named) != 1:
            raise ConfigError(f"name one source of {', '.join(SOURCES)}; found {' and '.join(named) or 'none'}")


@dataclass(frozen=True, slots=True)
class MixedSettings:
    """Batches of images or of clips among those of videos: one every `every` steps.

    Images are the paper's for image → short; both in the long stage are our choice, so that it forgets neither. `views`
    gives the texts of each sample, the stage's by default; `mask` is the share of tokens dropped, by the stage's
    `mask_by`. The `held_out` videos are measured with the stage's evaluation.
    """

    every: int
    data: DataSettings
    views: Views | None = None
    mask: float = 0.0
    held_out: int = 0


@dataclass(frozen=True, slots=True)
class LossSettings:
    """The contrastive loss: texts of a video, and how many videos are encoded at a time (0: all).

    `statements` says how the loss over statements counts; without it there is none.
    """

    views: Views = field(default_factory=Views)
    statements: StatementLoss | None = None
    chunk: int = 0

    def __post_init__(self) -> None:
        """Check that statements and their loss are set together. Raises ModelError."""
        if (self.statements is None) != (self.views.statements == 0):
            raise ConfigError(f"views bring {self.views.statements} statements: set both or neither of them")


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """Evaluation during training: on the first `videos` samples of a held-out source."""

    videos: int
    data: DataSettings


@dataclass(frozen=True, slots=True)
class VideoToTextSettings:
    """What the stage `captions` puts between the encoder of `init` and the language model `lm`.

    `lm` is `smollm2`, `transformers:NAME_OR_FOLDER`, or a stage of the same file that trained one.
    `connector` holds fields of encoders.v2t.model. Captions have at most `limit` tokens. With `draws`
    every video is encoded once, under that many masks, before training: for sources whose spatial tokens
    fit in memory. What was trained is written as `stored`.
    """

    lm: str = "smollm2"
    lm_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    connector: dict[str, Any] = field(default_factory=dict)
    limit: int = 256
    draws: int = 0
    stored: Literal["bfloat16", "float32"] = "float32"


@dataclass(frozen=True, slots=True)
class StageSettings:
    """One stage. `name` is the name of its weights."""

    stage: Stage
    name: str
    model: ModelSettings
    data: DataSettings
    training: Plan
    seed: int = 0
    device: str = "auto"
    images: MixedSettings | None = None
    clips: MixedSettings | None = None
    loss: LossSettings = field(default_factory=LossSettings)
    evaluation: EvaluationSettings | None = None
    v2t: VideoToTextSettings = field(default_factory=VideoToTextSettings)
    lm: LanguageShape = field(default_factory=LanguageShape)


def read_settings(path: Path, stage: str, *, seed: int | None = None, changes: Sequence[str] = ()) -> StageSettings:
    """Read the settings of one stage of a file, with `changes` as KEY=VALUE. Raises ModelError naming file and key."""
    table = _stage_table(path, stage)
    for change in changes:
        table = merged(table, parse_toml(change, f"--set '{change}'"))
    if seed is not None:
        table["seed"] = seed
    return read_dataclass(StageSettings, {"stage": stage, **_spread(table)}, f"{path}: {stage}")


def weights_name(path: Path, stage: str) -> str:
    """Return the name of a stage's weights file."""
    name = _stage_table(path, stage).get("name")
    if not isinstance(name, str):
        raise ModelError(f"{path}: {stage}: key 'name' is missing")
    return f"{name}.safetensors"


def _stage_table(path: Path, stage: str) -> dict[str, Any]:
    tables = read_tables(path)
    if stage not in tables or stage == COMMON:
        known = ", ".join(name for name in tables if name != COMMON)
        raise ModelError(f"{path} has no stage '{stage}'; it has {known or 'none'}")
    return merged(tables.get(COMMON, {}), tables[stage])


def read_tables(path: Path) -> dict[str, dict[str, Any]]:
    """Read the tables of a file, including `common`. Raises ModelError if it is missing or not TOML."""
    if not is_file(path):
        raise ModelError(f"no training config at {path}")
    tables = read_toml(path, "training config")
    loose = [name for name, value in tables.items() if not isinstance(value, dict)]
    if loose:
        raise ModelError(f"{path}: key '{loose[0]}' is outside of any stage; put it into [{COMMON}]")
    return tables


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge tables recursively; `above` takes precedence."""
    out = dict(below)
    for key, value in above.items():
        under = out.get(key)
        out[key] = merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return out


def _spread(table: dict[str, Any]) -> dict[str, Any]:
    """Merge the stage's data settings into those of images, clips and evaluation, which take precedence."""
    out = dict(table)
    for part in ("images", "clips", "evaluation"):
        if isinstance(out.get(part), dict):
            below, above = table.get("data", {}), out[part].get("data", {})
            if isinstance(below, dict) and isinstance(above, dict):  # anything else is refused later, naming its key
                out[part] = {**out[part], "data": merged(below, above)}
    return out
