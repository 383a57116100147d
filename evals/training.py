"""A training as a folder: its record, whether it may be taken up again, and what differs where it may not."""

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
    """Raise RecordError when the folder holds a run and nobody asked for it to go on."""
    if (folder / RUN).exists() and not resume:
        raise RecordError(f"{folder} holds a run already: add --resume to go on with it, or choose another --out")


def claim(
    folder: Path, config: Path, settings: StageSettings | AggregatorSettings, prepared: Prepared, argv: Sequence[str]
) -> str | None:
    """Write the record of a new run, or make sure that the one there asked for the same.

    Returns a warning where the run goes on under other conditions. Raises RecordError naming the
    first thing that differs.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    asked = {"settings": deciding(settings), "facts": json.loads(json.dumps(prepared.facts))}
    path = folder / RUN
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        different = difference(completed(before, settings, path), asked)
        if different:
            raise RecordError(f"{folder} was started otherwise: {different}; choose another --out")
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
    """The settings that identify a run. How processes share the work does not: checkpoints are whole either way.

    Nor is how far along its schedule a run goes: it does the same up to there.
    """
    found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    del found["training"]["parallel"]
    found["training"].pop("until", None)
    return found


def completed(
    before: Mapping[str, Any], settings: StageSettings | AggregatorSettings, path: Path
) -> dict[str, dict[str, Any]]:
    """What an earlier run asked for, with the settings that did not exist then at the values they stood for.

    Raises ModelError naming `path` where a setting of then is none any more.
    """
    then = deciding(read_dataclass(type(settings), before["settings"], f"{path}: settings"))
    return {"settings": then, "facts": before["facts"]}


def difference(before: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> str | None:
    """The first key of `now` that `before` has otherwise, with both values; None where there is none.

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
