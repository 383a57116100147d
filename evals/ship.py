"""`longvid ship`: what finished training stages made, into one folder, each with its training record beside it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from evals import console
from tasks.digests import file_sha256
from tasks.errors import RecordError

RECORD_SUFFIX = ".training.json"


@dataclass(frozen=True, slots=True)
class Finished:
    """A stage that ran to its end: the files it made and its record."""

    name: str
    made: tuple[Path, ...]
    record: dict[str, Any]


def ship(
    stages: Annotated[list[Path], typer.Argument(help="Folders of finished stages: OUT/STAGE of a training.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to copy to; what has the same name is replaced.")],
) -> None:
    """Copy the weights of finished stages, and write NAME.training.json: settings, metrics and digest.

    Nothing is copied unless every stage is finished.
    """
    from evals.store import write_atomic

    finished = [read_finished(folder) for folder in stages]
    out.mkdir(parents=True, exist_ok=True)
    for stage in finished:
        for path in stage.made:
            copy(path, out / path.name)
        text = json.dumps(stage.record, indent=1, ensure_ascii=False)
        write_atomic(out / f"{stage.name}{RECORD_SUFFIX}", f"{text}\n")
        console.say(f"{out / stage.name}: sha256 {stage.record['weights_sha256'][:12]}")


def read_finished(folder: Path) -> Finished:
    """What a stage's folder holds. Raises RecordError where its training is not at its end."""
    from encoders.pretrain.journal import METRICS, WALL_CLOCK, read_rows
    from evals.training_run import RUN

    if not (folder / RUN).is_file():
        raise RecordError(f"{folder} is no folder of a training stage: it has no {RUN}")
    run = json.loads((folder / RUN).read_text(encoding="utf-8"))
    name, steps = run["settings"]["name"], run["settings"]["training"]["steps"]
    rows = read_rows(folder / METRICS)
    made = tuple(sorted(path for path in folder.glob(f"{name}*") if path.name.removeprefix(name)[:1] in {"", "."}))
    if not made or not any(row["step"] == steps for row in rows):
        raise RecordError(f"{folder}: training is not finished; go on with --resume")
    weights = folder / name / "model.safetensors" if (folder / name).is_dir() else folder / f"{name}.safetensors"
    seconds = sum(float(row["seconds"]) for row in rows)
    record = {
        "weights_sha256": file_sha256(weights),
        "seconds": round(seconds, 1),
        **run,
        "metrics": [
            {key: rounded(value) for key, value in row.items() if key not in WALL_CLOCK or key == "seconds"}
            for row in rows
        ],
    }
    return Finished(name, made, record)


def rounded(value: float | str) -> float | int | str:
    """Five digits of a figure."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def copy(source: Path, target: Path) -> None:
    """A file, or a folder in place of the one there."""
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
