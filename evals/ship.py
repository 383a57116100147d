"""`longvid ship`: copy the weights of finished training stages into one folder, each with its training record."""

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
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to copy to; files of the same name are replaced.")],
) -> None:
    """Copy the weights of finished stages, and write NAME.training.json: settings, metrics and digest.

    If a stage continued another's training under the same name, the record includes the other's too. Nothing is copied
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
    """Read a stage's folder. Raises RecordError if its training is not finished."""
    from encoders.pretrain.checkpoint import METRICS, read_rows
    from evals.training import RUN

    if not (folder / RUN).is_file():
        raise RecordError(f"{folder} is not the folder of a training stage: it has no {RUN}")
    run = json.loads((folder / RUN).read_text(encoding="utf-8"))
    name, steps = run["settings"]["name"], run["settings"]["training"]["steps"]
    rows = read_rows(folder / METRICS)
    made = tuple(sorted(path for path in folder.glob(f"{name}*") if path.name.removeprefix(name)[:1] in {"", "."}))
    if not made or not any(row["step"] == steps for row in rows):
        raise RecordError(f"{folder}: training is not finished; continue it with --resume")
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
    """Return settings and metrics of the sibling stages whose training this one continued under the same name."""
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
    """Return the seconds that a record's rows took."""
    return round(sum(float(row["seconds"]) for row in rows), 1)


def compact(rows: Sequence[Row]) -> list[dict[str, float | int | str]]:
    """Drop wall-clock fields except the seconds, and round figures to five digits."""
    from encoders.pretrain.checkpoint import WALL_CLOCK

    return [
        {key: rounded(value) for key, value in row.items() if key not in WALL_CLOCK or key == "seconds"} for row in rows
    ]


def rounded(value: float | str) -> float | int | str:
    """Round a figure to five digits."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def copy(source: Path, target: Path) -> None:
    """Copy a file, or a folder that replaces an existing one."""
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
