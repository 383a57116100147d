"""The floors that cost nothing, on exactly the items that were answered: chance and the best constant answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from baselines.floor_models import ConstantModel
from evals.record import FloorRow, MetricRow
from tasks.intervals import LEVEL, RESAMPLES, percentile_interval
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask
from tasks.task import Summary, Task


def floor_rows(task: Task[Any], items: Sequence[Any], seed: int) -> Iterator[FloorRow]:
    """The floors of a multiple-choice task, by its primary metric.

    The best constant is picked with the answers in hand: it is the most that never looking could get.
    """
    known = [item for item in items if isinstance(item, ChoiceItem) and item.answer is not None]
    if not isinstance(task, MultipleChoiceTask) or not known:
        return
    yield FloorRow(model="chance", metric=chance_metric(task.info.primary_metric, known, seed))
    right = Counter(item.answer for item in known)
    options = min(len(item.options) for item in known)
    choice = max(range(options), key=lambda index: (right[index], -index))
    best = primary(floor_summary(task, ConstantModel(choice), known, seed))
    yield FloorRow(model=f"constant (choice={choice})", metric=best)


def chance_metric(name: str, items: Sequence[ChoiceItem], seed: int) -> MetricRow:
    """What uniform guessing is expected to score, and the range that 95 % of guessers fall into."""
    rng = np.random.default_rng(seed)
    right = np.zeros(RESAMPLES)
    for options, count in sorted(Counter(len(item.options) for item in items).items()):
        right += rng.binomial(count, 1 / options, size=RESAMPLES)
    return MetricRow(
        name=name,
        value=float(np.mean([1 / len(item.options) for item in items])),
        interval=percentile_interval(right / len(items)),
        level=LEVEL,
        method=f"expected value; interval: central range of {RESAMPLES} random guessers",
        n=len(items),
        clusters=len({item.cluster for item in items}),
        primary=True,
        higher_is_better=True,
    )


def floor_summary(task: Task[Any], model: object, items: Sequence[Any], seed: int) -> Summary:
    """Predict, score and summarise without a record."""
    predictions = task.predict(model, items)
    scores = [task.score(item, prediction) for item, prediction in zip(items, predictions, strict=True)]
    return task.summarise(scores, np.random.default_rng(seed))


def primary(summary: Summary) -> MetricRow:
    """The summary's primary figure."""
    return MetricRow(**asdict(next(metric for metric in summary.metrics if metric.primary)))
