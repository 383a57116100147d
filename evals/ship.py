"""`longvid ship`: what finished training stages made, into one folder, each with its training record beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals import console
from tasks.digests import file_sha256
from tasks.errors import RecordError

if TYPE_CHECKING:
    from encoders.pretrain.checkpoint import Row

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

    Where a stage went on with another's training under the same name, the record has that one's too. Nothing is copied
    unless every stage is finished.
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
    from encoders.pretrain.checkpoint import METRICS, read_rows
    from evals.training import RUN

    if not (folder / RUN).is_file():
        raise RecordError(f"{folder} is not the folder of a training stage: it has no {RUN}")
    run = json.loads((folder / RUN).read_text(encoding="utf-8"))
    name, steps = run["settings"]["name"], run["settings"]["training"]["steps"]
    rows = read_rows(folder / METRICS)
    made = tuple(sorted(path for path in folder.glob(f"{name}*") if path.name.removeprefix(name)[:1] in {"", "."}))
    if not made or not any(row["step"] == steps for row in rows):
        raise RecordError(f"{folder}: training is not finished; go on with --resume")
    weights = folder / name / "model.safetensors" if (folder / name).is_dir() else folder / f"{name}.safetensors"
    earlier = earlier_parts(folder, run)
    record = {
        "weights_sha256": file_sha256(weights),
        "seconds": seconds_of(rows),
        **run,
        **({"earlier": earlier} if earlier else {}),
        "metrics": compact(rows),
    }
    return Finished(name, made, record)


def earlier_parts(folder: Path, run: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages beside this one whose training it went on with under the same name: their settings and metrics."""
    from encoders.pretrain.checkpoint import METRICS, read_rows
    from evals.training import RUN

    model = run["settings"].get("model")
    stage = str(model.get("init")) if isinstance(model, dict) else ""
    before = folder.parent / stage
    if not stage or not (before / RUN).is_file():
        return []
    part = json.loads((before / RUN).read_text(encoding="utf-8"))
    if part["settings"]["name"] != run["settings"]["name"]:
        return []
    rows = read_rows(before / METRICS)
    return [
        *earlier_parts(before, part),
        {"stage": stage, "seconds": seconds_of(rows), "settings": part["settings"], "metrics": compact(rows)},
    ]


def seconds_of(rows: Sequence[Row]) -> float:
    """The seconds that a record's rows took."""
    return round(sum(float(row["seconds"]) for row in rows), 1)


def compact(rows: Sequence[Row]) -> list[dict[str, float | int | str]]:
    """Rows without what the clock decides but their seconds, in five digits."""
    from encoders.pretrain.checkpoint import WALL_CLOCK

    return [
        {key: rounded(value) for key, value in row.items() if key not in WALL_CLOCK or key == "seconds"} for row in rows
    ]


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
