"""What each item of a run scored, by one figure: what breakdowns average and what the worst and best are sorted by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evals.record import Sample
from evals.vector_store import Vectors
from tasks.registry import family_of
from tasks.task import TaskInfo


@dataclass(frozen=True, slots=True)
class ItemFigures:
    """A figure's name and its values by item id; items without a value (failed, hidden) are left out.

    `right_or_wrong`: they are all 0 or 1.
    """

    name: str
    values: Mapping[str, float]
    right_or_wrong: bool = False


def item_figures(task: TaskInfo, samples: Mapping[str, Sample], vectors: Mapping[str, Vectors]) -> ItemFigures | None:
    """The family's figure of each item; None where nothing was scored item by item."""
    family = family_of(task.family)
    if family.rank is not None:
        if not vectors:
            return None
        ranks = next(iter(family.rank(vectors, 0).values())).rank
        return ItemFigures(task.primary_metric, {key: float(rank == 1) for key, rank in ranks.items()}, True)
    end = family.item_score or task.primary_metric
    names = sorted({name for sample in samples.values() for name in sample.scores if name.endswith(end)})
    for name in names:
        values = {
            key: value
            for key, sample in samples.items()
            if sample.error is None and (value := sample.scores.get(name)) is not None
        }
        if values:
            return ItemFigures(name, values, family.right_or_wrong)
    return None
