"""Weights and training configurations that come with the package: what `weights=kitchen` and its like stand for."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tasks.errors import ModelError
from tasks.resources import resource

KITCHEN, TINY = "kitchen", "-tiny"
CHECKPOINTS_VARIABLE = "LONGVID_CHECKPOINTS"
SHIPPED = resource("encoders", "checkpoints")
CONFIGS = resource("encoders", "configs", "pretrain")


def weights_file(value: str, own: str) -> Path:
    """A file by its path, or a shipped one: `kitchen` is the one named `own`, `kitchen:NAME` another.

    Raises ModelError that says where a shipped one was looked for and how to get it.
    """
    kind, colon, name = value.partition(":")
    return shipped(name if colon else own) if kind == KITCHEN else Path(value)


def shipped(name: str) -> Path:
    """The shipped `NAME.safetensors`: in the package, or in the folder of LONGVID_CHECKPOINTS, or a level below.

    So the folder may be the output of `longvid pretrain`, which has a folder for each stage; of two stages that made
    weights of this name, the one that went on from the other counts.
    """
    folder = checkpoint_folder()
    found = [path for pattern in ("", "*/") for path in sorted(folder.glob(f"{pattern}{name}.safetensors"))]
    if found:
        begun_from = {_init(path.parent) for path in found}
        return next((path for path in found if path.parent.name not in begun_from), found[0])
    there = sorted(path.stem for path in folder.glob("*.safetensors"))
    # The recipe's models are tiny; of the larger ones no weights of ours exist.
    recipe = "'make recipe' trains it; or " if TINY in name or not there else ""
    has = f" (it has {', '.join(there)})" if there else ""
    msg = (
        f"no {name}.safetensors in {folder}{has}: {recipe}name a folder of 'longvid pretrain' with "
        f"{CHECKPOINTS_VARIABLE}=FOLDER, or a file with weights=FILE"
    )
    raise ModelError(msg)


def _init(stage: Path) -> str | None:
    """What a stage's weights started from, None where the folder is no stage's."""
    record = stage / "run.json"
    if not record.is_file():
        return None
    init: str = json.loads(record.read_text(encoding="utf-8"))["settings"]["model"]["init"]
    return init


def checkpoint_folder() -> Path:
    """Where shipped weights are looked for."""
    chosen = os.environ.get(CHECKPOINTS_VARIABLE)
    return Path(chosen).expanduser() if chosen else SHIPPED
