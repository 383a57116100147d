"""What each item of a run scored, by one figure: what breakdowns average and what the worst and best are sorted by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evals.record import Sample
from evals.vector_store import Vectors
from tasks.ranks import one_to_one, ranks_from_vectors
from tasks.retrieval import DIRECTIONS, PRIMARY

# Per-item scores that break down, by the end of their name; corpus figures such as CIDEr-D do not.
SCORES = ("accuracy", "rouge_l")


@dataclass(frozen=True, slots=True)
class ItemFigures:
    """A figure's name and its values, 0 to 1, by item id; items without a value (failed, hidden) are left out."""

    name: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ranking:
    """How one direction of a retrieval run came out: per query its rank, and the ids that came first."""

    rank: Mapping[str, int]
    first: Mapping[str, tuple[str, ...]]


def item_figures(samples: Mapping[str, Sample], vectors: Mapping[str, Vectors]) -> ItemFigures | None:
    """Accuracy, ROUGE-L or recall at 1 (text to video) of each item; None where nothing was scored item by item."""
    if vectors:
        ranks = retrieval_ranking(vectors, shown=0).rank
        return ItemFigures(PRIMARY, {key: float(rank == 1) for key, rank in ranks.items()})
    names = sorted({name for sample in samples.values() for name in sample.scores if name.endswith(SCORES)})
    for name in names:
        values = {
            key: value
            for key, sample in samples.items()
            if sample.error is None and (value := sample.scores.get(name)) is not None
        }
        if values:
            return ItemFigures(name, values)
    return None


def retrieval_ranking(vectors: Mapping[str, Vectors], direction: str = "text_to_video", shown: int = 3) -> Ranking:
    """Ranks with the family's own tie rule, and the `shown` nearest items of each query among the answered ones."""
    query, gallery = DIRECTIONS[direction]
    ids = list(vectors)
    table = np.stack([vectors[key] for key in ids])
    ranks = ranks_from_vectors(table[:, query], table[:, gallery], one_to_one(len(ids)))
    first: dict[str, tuple[str, ...]] = {}
    for row, key in enumerate(ids if shown else ()):
        nearest = np.argsort(-(table[:, gallery] @ table[row, query]), kind="stable")[:shown]
        first[key] = tuple(ids[place] for place in nearest)
    return Ranking(dict(zip(ids, map(int, ranks), strict=True)), first)
