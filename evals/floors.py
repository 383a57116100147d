"""The floors that cost nothing, run as models through the same scoring: chance and the best constant answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from baselines.floor_models import ChanceModel, ConstantModel
from evals.record import FloorRow, MetricRow
from tasks.multiple_choice import MultipleChoiceTask
from tasks.task import Summary, Task


def floor_rows(task: Task[Any], items: Sequence[Any], seed: int) -> Iterator[FloorRow]:
    """Chance and the best constant on exactly these items, by the task's primary metric.

    The best constant is picked with the answers in hand: it is the most that never looking could get.
    """
    if not isinstance(task, MultipleChoiceTask) or not items:
        return
    known = [item for item in items if item.answer is not None]
    if not known:
        return
    yield FloorRow(model="chance", metric=primary(floor_summary(task, ChanceModel(seed), known, seed)))
    options = min(len(item.options) for item in known)
    constants = [
        (choice, primary(floor_summary(task, ConstantModel(choice), known, seed))) for choice in range(options)
    ]
    choice, best = max(constants, key=lambda pair: (pair[1].value or 0.0, -pair[0]))
    yield FloorRow(model=f"constant (choice={choice})", metric=best)


def floor_summary(task: Task[Any], model: object, items: Sequence[Any], seed: int) -> Summary:
    """Predict, score and summarise without a record."""
    predictions = task.predict(model, items)
    scores = [task.score(item, prediction) for item, prediction in zip(items, predictions, strict=True)]
    return task.summarise(scores, np.random.default_rng(seed))


def primary(summary: Summary) -> MetricRow:
    """The summary's primary figure."""
    return MetricRow(**asdict(next(metric for metric in summary.metrics if metric.primary)))
