"""Build `run.json` for a new run of a model on a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evals.provenance import collect, redact_options
from evals.record import ModelRow, Place, Run
from tasks.model import Model, ModelInfo
from tasks.task import Task

RUNS = Path("runs")


def describe_run(
    task: Task[Any],
    model: object,
    name: str,
    options: Mapping[str, str],
    argv: Sequence[str],
    *,
    seed: int = 0,
    limit: int | None = None,
    system: str | None = None,
    effective: Mapping[str, str] | None = None,
    place: Place | None = None,
) -> Run:
    """Collect what is known before any item; `system` and `effective` are as in `ModelRow`, `place` as in `Run`."""
    info = model.info if isinstance(model, Model) else ModelInfo(name=type(model).__name__)
    facts = asdict(info)
    facts.pop("name")
    return Run(
        name=name,
        task=task.info,
        model=ModelRow(
            name=info.name,
            options=redact_options(dict(options)),
            effective=None if effective is None else redact_options(dict(effective)),
            system=system,
            **facts,
        ),
        protocol=dict(task.protocol(model)),
        seed=seed,
        limit=limit,
        place=place,
        provenance=collect(argv),
    )


def describe_import(
    task: Task[Any],
    name: str,
    protocol: Mapping[str, str],
    digest: str,
    argv: Sequence[str],
    place: Place | None = None,
) -> Run:
    """Do the same for predictions made elsewhere; the file's digest takes the place of the model's facts."""
    return Run(
        name=name,
        task=task.info,
        model=ModelRow(name=name, options={}, device="elsewhere", details={"predictions_sha256": digest}),
        protocol=dict(protocol),
        seed=0,
        imported=True,
        place=place,
        provenance=collect(argv),
    )


def default_folder(run: Run) -> Path:
    """`runs/<task>/<model>-<route>-<digest>`: the same command finds its run again, even one of an earlier version."""
    earlier, now = (
        RUNS / run.task.name / "-".join(filter(None, (run.model.name, run.protocol.get("route", ""), digest[:8])))
        for digest in (run.as_given().fingerprint(), run.fingerprint())
    )
    return earlier if earlier.is_dir() and not now.is_dir() else now
