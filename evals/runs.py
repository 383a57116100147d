"""`longvid runs FOLDER`: list the runs under a folder, and those that can't be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evals import console
from evals.benchmark_app import WIDE

if TYPE_CHECKING:
    from evals.find_runs import Found

COLUMNS = ("run", "value", "figure", "task", "status", "items", "model", "route")
LEAST = ("route", "model", "figure", "items")


def runs(
    places: Annotated[list[Path], typer.Argument(metavar="FOLDER…", help="Folders that hold runs, at any depth.")],
    form: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    wide: WIDE = False,
) -> None:
    """List the runs under folders; damaged and foreign ones are named with the reason."""
    from json import dumps

    from evals.find_runs import read_runs
    from tasks.errors import RecordError

    if form not in ("table", "json"):
        raise RecordError(f"unknown format '{form}'; formats are table, json")
    found, skipped = read_runs(places)
    found = sorted(found, key=lambda run: (run.results.task.name, str(run.folder)))
    rows = [facts(run) for run in found]
    if form == "json":
        left_out = [{"run": str(row.folder), "reason": row.reason} for row in skipped]
        console.emit(dumps({"runs": rows, "skipped": left_out}, indent=2))
        return
    base = places[0] if len(places) == 1 and places[0] not in {run.folder for run in found} else None
    title = f"{console.number_of(len(rows), 'run')}{f' under {base}' if base else ''}"
    texts = [cells(run, base) for run in found]
    console.show_table(title, COLUMNS, texts, numeric=("value", "items"), least=LEAST, wide=wide)
    for row in skipped:
        console.warn(f"{row.folder}: {row.reason}")


def facts(run: Found) -> dict[str, str | float | None]:
    """Return the facts of one run."""
    results = run.results
    return {
        "run": str(run.folder),
        "task": results.task.name,
        "model": results.model.name,
        "route": results.protocol.get("route"),
        "status": f"{results.status}, imported" if results.imported else results.status,
        "figure": results.primary.name,
        "value": results.primary.value,
        "items": results.counts.answered,
    }


def cells(run: Found, base: Path | None = None) -> list[str]:
    """Format a line; figures have their own unit, the folder is relative to `base`."""
    from evals.report import NOT_MEASURED, shown
    from tasks.registry import family_of

    row = facts(run)
    value = row["value"]
    texts = {name: NOT_MEASURED if fact is None else str(fact) for name, fact in row.items()}
    if base is not None:
        texts["run"] = str(run.folder.relative_to(base))
    if isinstance(value, float):
        texts["value"] = shown(str(row["figure"]), value, family_of(run.results.task.family))
    return [texts[name] for name in COLUMNS]
