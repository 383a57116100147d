"""The floors that cost nothing, on exactly the items that were answered: what never looking gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from baselines.floor_models import ConstantModel
from baselines.random_vectors import RandomVectors
from baselines.text_floor_models import text_floors
from evals.record import FloorRow, MetricRow
from tasks.captioning import CaptioningTask
from tasks.intervals import LEVEL, percentile_interval
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask
from tasks.retrieval import RetrievalTask
from tasks.task import Summary, Task

AT_ONCE = 1024
GUESSERS = 5_000


def floor_rows(task: Task[Any], items: Sequence[Any], seed: int) -> Iterator[FloorRow]:
    """The floors of a task's family on `items`: choices, texts or vectors that never looked."""
    if not items:
        return
    if isinstance(task, MultipleChoiceTask):
        yield from choice_floors(task, items, seed)
    elif isinstance(task, CaptioningTask):
        labels = {item.clip.video_id: item.label for item in items}
        quick = task.without_meteor("left out of floors; run the model by its name to have it")
        for floor in text_floors(task.training, labels, seed):
            note = " (uses the label)" if floor.details.get("uses_label") else ""
            yield model_floor(f"{floor.name}{note}", floor_summary(quick, floor, items, seed))
    elif isinstance(task, RetrievalTask):
        yield model_floor("random-vectors", floor_summary(task, RandomVectors(seed=seed), items, seed))


def model_floor(name: str, summary: Summary) -> FloorRow:
    """A floor's row: its primary figure, with all others beside it."""
    rows = [MetricRow(**asdict(metric)) for metric in summary.metrics]
    return FloorRow(model=name, metric=primary(summary), others=tuple(row for row in rows if not row.primary))


def choice_floors(task: MultipleChoiceTask, items: Sequence[ChoiceItem], seed: int) -> Iterator[FloorRow]:
    """Chance and the best constant answer, by the primary metric.

    The best constant is picked with the answers in hand: it is the most that never looking could get.
    """
    known = [item for item in items if item.answer is not None]
    if not known:
        return
    yield FloorRow(model="chance", metric=chance_metric(task.info.primary_metric, known, seed, task.groups))
    right = Counter(item.answer for item in known)
    options = min(len(item.options) for item in known)
    choice = max(range(options), key=lambda index: (right[index], -index))
    best = primary(floor_summary(task, ConstantModel(choice), known, seed))
    yield FloorRow(model=f"constant (choice={choice})", metric=best)


def chance_metric(name: str, items: Sequence[ChoiceItem], seed: int, groups: Mapping[str, str]) -> MetricRow:
    """What uniform guessing is expected to score, and the range that 95 % of guessers fall into.

    `groups` are the items' where the figure is the mean over groups; empty where it is over items.
    """
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = {}
    for item in items:
        members.setdefault(groups.get(item.id, ""), []).append(len(item.options))
    guessed, expected = np.zeros(GUESSERS), 0.0
    for _, sizes in sorted(members.items()):
        for options, count in sorted(Counter(sizes).items()):
            guessed += rng.binomial(count, 1 / options, size=GUESSERS) / (len(sizes) * len(members))
        expected += float(np.mean([1 / options for options in sizes])) / len(members)
    return MetricRow(
        name=name,
        value=expected,
        interval=percentile_interval(guessed),
        level=LEVEL,
        method=f"expected value; interval: central range of {GUESSERS} random guessers",
        n=len(items),
        clusters=len({item.cluster for item in items}),
        primary=True,
        higher_is_better=True,
    )


def floor_summary(task: Task[Any], model: object, items: Sequence[Any], seed: int) -> Summary:
    """Predict, score and summarise without a record."""
    scores = []
    for start in range(0, len(items), AT_ONCE):
        batch = items[start : start + AT_ONCE]
        scores += [task.score(item, made) for item, made in zip(batch, task.predict(model, batch), strict=True)]
    return task.summarise(scores, np.random.default_rng(seed))


def primary(summary: Summary) -> MetricRow:
    """The summary's primary figure."""
    return MetricRow(**asdict(next(metric for metric in summary.metrics if metric.primary)))
