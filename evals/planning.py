"""Estimate the cost of a run from a few probed items, which are answered as in a run and not kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from evals.record import Cost, Sample
from evals.results import cost_of
from evals.runner import answer, run_batches, with_run_facts
from evals.store import Vectors
from tasks.errors import DataError
from tasks.model import batch_hint_of, looking_ahead
from tasks.task import Item, Task


@dataclass(frozen=True, slots=True)
class Plan:
    """Estimated items, tokens, time and disk space of a run, from means over the probed items that had an answer.

    `fastest` and `slowest` are seconds of single items; `fault` is the most frequent failure reason, empty if none
    failed; `cost` is that of the answered probes.
    """

    task: str
    items: int
    clusters: int
    clips: int
    items_with_video: int
    probed: int
    failed: int
    fault: str
    prompt_tokens_per_item: float
    completion_tokens_per_item: float
    seconds_per_item: float
    fastest: float
    slowest: float
    record_bytes_per_item: float
    cost: Cost

    @property
    def seconds(self) -> float:
        """Estimated seconds for the whole run."""
        return self.seconds_per_item * self.items

    @property
    def prompt_tokens(self) -> float:
        """Estimated prompt tokens for the whole run."""
        return self.prompt_tokens_per_item * self.items

    @property
    def record_bytes(self) -> float:
        """Estimated size of the record on disk."""
        return self.record_bytes_per_item * self.items


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """Return `count` items at the mid-points of equal segments of the list."""
    count = min(count, len(items))
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def make_plan(task: Task[Any], model: object, probe: int, limit: int | None) -> Plan:
    """Answer one item to warm up, then `probe` others with the clock running.

    Items that fail are counted, as a run would record them. Raises ModelError if the model can't do the task, and
    DataError with the reason if no probed item has an answer.
    """
    task.check(model)
    items: Sequence[Item] = list(task.items())[:limit]
    warm_up, *others = spread(items, probe + 1)
    answer(task, model, [warm_up])
    rows: list[tuple[Sample, Vectors | None]] = []
    seconds: list[float] = []
    batch_hint = batch_hint_of(model)
    ask = partial(answer, task, model)
    probed = others or [warm_up]
    with looking_ahead(model, [item.clip for item in probed]):
        for answers, waited in run_batches(ask, probed, batch=batch_hint.batch, lanes=batch_hint.lanes):
            share = waited / len(answers)
            rows += [(with_run_facts(sample, share), vectors) for sample, vectors in answers]
            seconds += [share for sample, _ in answers if sample.error is None]
    answered = [(sample, vectors) for sample, vectors in rows if sample.error is None]
    faults = Counter(sample.error.message for sample, _ in rows if sample.error is not None)
    fault = faults.most_common(1)[0][0] if faults else ""
    if not answered:
        msg = f"none of {len(rows)} probed items of {task.info.name} has an answer: {fault}"
        raise DataError(msg)
    cost = cost_of([sample for sample, _ in answered])
    room = sum(len(s.model_dump_json()) + 1 + (0 if vectors is None else vectors.nbytes) for s, vectors in answered)
    return Plan(
        task=task.info.name,
        items=len(items),
        clusters=len({item.cluster for item in items}),
        clips=len({(item.clip.video_id, item.clip.start, item.clip.end) for item in items}),
        items_with_video=sum(item.clip.path is not None for item in items),
        probed=len(rows),
        failed=len(rows) - len(answered),
        fault=fault,
        prompt_tokens_per_item=cost.prompt_tokens / len(answered),
        completion_tokens_per_item=cost.completion_tokens / len(answered),
        seconds_per_item=sum(seconds) / len(answered),
        fastest=min(seconds),
        slowest=max(seconds),
        record_bytes_per_item=room / len(answered),
        cost=cost,
    )


def plan_lines(plan: Plan, cluster: str, free_bytes: float) -> list[tuple[str, str]]:
    """Format a plan as lines; `cluster` says what items are grouped by."""
    cost = plan.cost
    stages = ", ".join(f"{name} {value / (plan.probed - plan.failed):.2f} s" for name, value in stages_of(cost))
    is_shared = cost.frames_per_item is not None and plan.clips < plan.items
    time = (
        f"{plan.seconds_per_item:.2f} s an item ({plan.fastest:.2f} to {plan.slowest:.2f}), "
        f"{'at most' if is_shared else 'about'} {plan.seconds / 60:.1f} min in all"
    )
    if is_shared:
        time += f"; items share {plan.clips:,} clips, and each is decoded once"
    tokens = [
        ("prompt tokens", f"{plan.prompt_tokens_per_item:,.0f} an item, about {plan.prompt_tokens:,.0f} in all"),
        ("completion tokens", f"{plan.completion_tokens_per_item:,.0f} an item"),
    ]
    return [
        ("items", f"{plan.items:,} in {plan.clusters} clusters ({cluster})"),
        ("with video", str(plan.items_with_video)),
        ("probed", f"{plan.probed} items" + (f", {plan.failed} failed: {plan.fault}" if plan.failed else "")),
        ("frames", "none" if cost.frames_per_item is None else f"{cost.frames_per_item:.1f} an item"),
        *(tokens if plan.prompt_tokens or plan.completion_tokens_per_item else ()),
        ("time", time),
        ("of which", stages or "no stage is timed separately"),
        ("peak memory", "not known" if cost.peak_memory_bytes is None else f"{cost.peak_memory_bytes / 1e9:.2f} GB"),
        ("record on disk", f"about {plan.record_bytes / 1e6:.1f} MB ({free_bytes / 1e9:.0f} GB are free here)"),
    ]


def stages_of(cost: Cost) -> list[tuple[str, float]]:
    """Return stages with their seconds, longest first."""
    return sorted(cost.seconds_by_stage.items(), key=lambda stage: -stage[1])
