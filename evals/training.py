"""A training's folder: its record, whether it may be resumed, and what differs if it may not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.config import read_dataclass
from encoders.pretrain.checkpoint import checkpoints
from encoders.pretrain.settings import StageSettings
from encoders.pretrain.stages import Prepared
from evals.provenance import collect
from tasks.durable import write_atomic
from tasks.errors import RecordError

if TYPE_CHECKING:
    from baselines.aggregator_training import AggregatorSettings
    from encoders.pretrain.settings import StageSettings
    from encoders.pretrain.stages import Prepared


RUN = "run.json"
CONFIG = "config.toml"


def check_resume(folder: Path, *, resume: bool) -> None:
    """Raise RecordError if the folder holds a run and --resume is not given."""
    if (folder / RUN).exists() and not resume:
        raise RecordError(f"{folder} already holds a run: add --resume to continue it, or choose another --out")


def claim(
    folder: Path, config: Path, settings: StageSettings | AggregatorSettings, prepared: Prepared, argv: Sequence[str]
) -> str | None:
    """Write the record of a new run, or check that the existing one asked for the same.

    Returns a warning if the run continues under other conditions. Raises RecordError naming the
    first thing that differs.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    asked = {"settings": deciding(settings), "facts": json.loads(json.dumps(prepared.facts))}
    path = folder / RUN
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        different = difference(
            completed(before, settings, path), {**asked, "settings": without_saving(asked["settings"])}
        )
        if different:
            raise RecordError(f"{folder} was started with other settings: {different}; choose another --out")
        threads = before["torch_threads"]
        if threads != torch.get_num_threads() and checkpoints(folder):
            return f"begun with {threads} threads, now {torch.get_num_threads()}: the last digits will differ"
        return None
    record = {
        **asked,
        "parallel": settings.training.parallel,
        "torch_threads": torch.get_num_threads(),
        "provenance": collect(argv).model_dump(mode="json"),
    }
    shutil.copyfile(config, folder / CONFIG)
    write_atomic(path, json.dumps(record, indent=2) + "\n")
    return None


def deciding(settings: StageSettings | AggregatorSettings) -> dict[str, Any]:
    """Return the settings that identify a run. Sharing among processes is not part of them.

    Nor is the step at which a run stops: it does the same up to there.
    """
    found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    del found["training"]["parallel"]
    found["training"].pop("until", None)
    return found


def without_saving(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out how often a checkpoint is saved and how many are kept: a run that goes on may change both."""
    training = {name: value for name, value in settings["training"].items() if name not in ("save", "keep")}
    return {**settings, "training": training}


def completed(
    before: Mapping[str, Any], settings: StageSettings | AggregatorSettings, path: Path
) -> dict[str, dict[str, Any]]:
    """Return an earlier run's settings, adding newer settings at the values that were implied then.

    Raises ModelError naming `path` if one of its settings no longer exists.
    """
    then = deciding(read_dataclass(type(settings), before["settings"], f"{path}: settings"))
    return {"settings": then, "facts": before["facts"]}


def difference(before: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> str | None:
    """Return the first key of `now` whose value in `before` differs, with both values; None if there is none.

    Facts about a run's data that were not recorded then are filled in from the settings.
    """
    for key, value in now.items():
        name = f"{where}{key}"
        if key not in before and where.startswith("facts.data."):
            continue
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            found = difference(old, value, f"{name}.")
        else:
            found = None if value == old else f"{name} was {old!r}, now {value!r}"
        if found:
            return found
    return None
