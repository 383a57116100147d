"""Synthetic records: complete, consistent with themselves, and cheap to make by the hundred."""

from __future__ import annotations

from typing import Any

from evals.record import Cost, Counts, FloorRow, ModelRow, Provenance, Results, Run
from tasks.statistics import METHOD
from tasks.task import Metric, TaskInfo

TASK = TaskInfo(
    name="toy@500",
    family="multiple-choice",
    version="1",
    item_count=500,
    items_sha256="5" * 64,
    primary_metric="accuracy",
    chance=0.2,
    cluster="video",
    source="synthetic",
    licence="Apache-2.0",
    citation="none",
)
PROVENANCE = Provenance(
    argv=("longvid",), commit=None, uncommitted_changes=None, versions={}, platform="p", created="2030-01-01"
)


def metric(value: float | None, name: str = "accuracy", *, primary: bool = True) -> Metric:
    interval = None if value is None else (max(0.0, value - 0.04), min(1.0, value + 0.04))
    return Metric(
        name=name,
        value=value,
        interval=interval,
        level=0.95,
        method=METHOD,
        n=500,
        clusters=347,
        primary=primary,
        higher_is_better=True,
    )


def run_of(name: str = "a run", **fields: Any) -> Run:
    model = fields.pop("model", ModelRow(name="toy", options={"of": name}, parameters=7))
    base: dict[str, Any] = {
        "name": name,
        "task": TASK,
        "model": model,
        "protocol": {"route": "given"},
        "seed": 0,
        "provenance": PROVENANCE,
    }
    return Run(**{**base, **fields})


def results_of(name: str = "a run", value: float | None = 0.5, answered: int = 500, **fields: Any) -> Results:
    """A record of `answered` of the task's items; `fields` are those of Run."""
    run = run_of(name, **fields)
    total = run.task.item_count
    return Results(
        name=run.name,
        fingerprint=run.fingerprint(),
        status="complete" if answered == total else "partial" if answered else "failed",
        task=run.task,
        model=run.model,
        protocol=run.protocol,
        seed=run.seed,
        limit=run.limit,
        imported=run.imported,
        counts=Counts(task_items=total, asked=total, answered=answered, failed=0, not_reached=total - answered),
        failed_ids=(),
        metrics=(metric(value), metric(0.0, "unparsed_rate", primary=False)),
        floors=(
            FloorRow(model="chance", metric=metric(0.2)),
            FloorRow(model="constant (choice=4)", metric=metric(0.234)),
        ),
        details={},
        cost=Cost(
            prompt_tokens=50_000,
            cached_tokens=0,
            completion_tokens=5_000,
            prompt_tokens_per_item=100.0,
            completion_tokens_per_item=10.0,
            frames_per_item=16.0,
            seconds=100.0,
            seconds_per_item=0.2,
            seconds_by_stage={"read": 100.0},
            frames_wait_share=None,
            peak_memory_bytes=1 << 30,
        ),
        official=None,
        provenance=run.provenance,
        warnings=(),
    )
