"""Runs of toy tasks whose answers are known, and edits of their records."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evals.compare.build import compare
from evals.compare.record import read_records
from evals.compare.rows import Comparison
from evals.new_run import describe_run
from evals.record import Results
from evals.runner import answer, rescore, with_run_facts, write_results
from evals.store import RUN, SampleLog, VectorLog, write_row
from tasks.model import ModelInfo, OptionRequest
from tasks.multiple_choice import MultipleChoiceTask
from tasks.routes import Route
from tasks.task import Task


@dataclass(frozen=True)
class Right:
    """Answers the given share of a task's questions rightly, drawn by a seed; the others by the next option."""

    task: MultipleChoiceTask
    share: float
    seed: int = 0
    name: str = "right"
    details: Mapping[str, str | int] | None = None
    route = Route.GIVEN

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(self.name, parameters=1_000_000, details=self.details or {})

    def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
        draws = np.random.default_rng(self.seed).random(len(self.task.items()))
        right = {item.id: draw < self.share for item, draw in zip(self.task.items(), draws, strict=True)}
        answers = {item.id: item.answer or 0 for item in self.task.items()}
        return [(answers[r.item_id] + (not right[r.item_id])) % len(r.options) for r in requests]


def run_as(
    task: Task[Any], model: object, folder: Path, *, limit: int | None = None, options: Mapping[str, str] | None = None
) -> Results:
    """A run named as its folder; all samples are written at once, which a real run never does."""
    run = describe_run(task, model, folder.name, options or {}, ["longvid"], limit=limit)
    items = list(task.items())[:limit]
    folder.mkdir(parents=True)
    write_row(folder / RUN, run)
    with SampleLog(folder) as log, VectorLog(folder, {}) as vectors:
        log.append(*(with_run_facts(sample, None, 0, pair, vectors) for sample, pair in answer(task, model, items)))
    return write_results(task, run, folder)


def edit_run(folder: Path, task: Task[Any], change: Callable[[dict[str, Any]], object]) -> None:
    """Another protocol for a record: run.json changed, results.json made anew from it."""
    path = folder / "run.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    rescore(task, folder)


def compared(task: Task[Any] | None, *folders: Path, **options: Any) -> Comparison:
    """The comparison of recorded runs."""
    return compare(read_records(folders), task, **options)
