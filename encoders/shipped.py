"""Shipped weights and training configurations, as named by `weights=kitchen` and the like."""

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
    """Find a file by its path, or a shipped one: `kitchen` is the one named `own`, `kitchen:NAME` another.

    Raises ModelError that says where a shipped one was looked for and how to get it.
    """
    kind, colon, name = value.partition(":")
    return shipped(name if colon else own) if kind == KITCHEN else Path(value)


def shipped(name: str) -> Path:
    """Find the shipped `NAME.safetensors` in the package, in the folder of LONGVID_CHECKPOINTS, or one level below.

    The folder may therefore be the output of `longvid pretrain`, which has a folder for each stage; of two stages with
    weights of this name, the one that continued the other is used.
    """
    folder = checkpoint_folder()
    found = [path for pattern in ("", "*/") for path in sorted(folder.glob(f"{pattern}{name}.safetensors"))]
    if found:
        begun_from = {_init(path.parent) for path in found}
        return next((path for path in found if path.parent.name not in begun_from), found[0])
    there = sorted(path.stem for path in folder.glob("*.safetensors"))
    # The recipe's models are tiny; there are no weights of the larger ones.
    recipe = "'make recipe' trains it; or " if TINY in name or not there else ""
    has = f" (it has {', '.join(there)})" if there else ""
    msg = (
        f"no {name}.safetensors in {folder}{has}: {recipe}name a folder of 'longvid pretrain' with "
        f"{CHECKPOINTS_VARIABLE}=FOLDER, or a file with weights=FILE"
    )
    raise ModelError(msg)


def _init(stage: Path) -> str | None:
    """Return what a stage's weights started from, None if the folder is not a stage's."""
    record = stage / "run.json"
    if not record.is_file():
        return None
    init: str = json.loads(record.read_text(encoding="utf-8"))["settings"]["model"]["init"]
    return init


def checkpoint_folder() -> Path:
    """Return the folder of shipped weights."""
    chosen = os.environ.get(CHECKPOINTS_VARIABLE)
    return Path(chosen).expanduser() if chosen else SHIPPED
