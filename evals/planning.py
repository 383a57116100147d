"""What a run will take, from a probe of a few items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

from evals.lanes import in_lanes
from tasks.model import appetite_of
from tasks.task import Item, Task, TokenUsage


@dataclass(frozen=True, slots=True)
class Plan:
    """Items, tokens and time of a run; the estimates are means over the probed items."""

    task: str
    items: int
    clusters: int
    items_with_video: int
    probed: int
    prompt_tokens_per_item: float
    completion_tokens_per_item: float
    seconds_per_item: float

    @property
    def seconds(self) -> float:
        """Estimated seconds for the whole run."""
        return self.seconds_per_item * self.items

    @property
    def prompt_tokens(self) -> float:
        """Estimated prompt tokens for the whole run."""
        return self.prompt_tokens_per_item * self.items


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """`count` items at the mid-points of equal stretches of the list."""
    count = min(count, len(items))
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def make_plan(task: Task[Any], model: object, probe: int, limit: int | None) -> Plan:
    """Answer one item to warm up, then `probe` others with the clock running. Errors are not caught."""
    task.check(model)
    items: Sequence[Item] = list(task.items())[:limit]
    warm_up, *others = spread(items, probe + 1)
    probed = others or [warm_up]
    task.predict(model, [warm_up])
    usage = TokenUsage()
    started = perf_counter()
    appetite = appetite_of(model)
    asked = in_lanes(partial(task.predict, model), probed, batch=appetite.batch, lanes=appetite.lanes)
    for predictions, _ in asked:
        usage = sum((prediction.trace.usage for prediction in predictions), usage)
    seconds = perf_counter() - started
    return Plan(
        task=task.info.name,
        items=len(items),
        clusters=len({item.cluster for item in items}),
        items_with_video=sum(item.clip.path is not None for item in items),
        probed=len(probed),
        prompt_tokens_per_item=usage.prompt / len(probed),
        completion_tokens_per_item=usage.completion / len(probed),
        seconds_per_item=seconds / len(probed),
    )
