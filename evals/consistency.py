"""Whether a result agrees with itself: what a schema can't say about `results.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from evals.record import Counts, Results, Status


def status_of(counts: Counts) -> Status:
    """Complete only when every item of the task has an answer; failed when none has."""
    if counts.answered == 0:
        return "failed"
    return "complete" if counts.answered == counts.task_items else "partial"


def contradictions(results: Results) -> Iterator[str]:
    """What can't be true at once, in a few words each."""
    counts = results.counts
    if min(counts.model_dump().values()) < 0:
        yield "a count is negative"
    if counts.answered + counts.failed + counts.not_reached != counts.asked or counts.asked > counts.task_items:
        yield f"the counts don't add up ({counts.answered} answered of {counts.asked} asked of {counts.task_items})"
    if counts.task_items != results.task.item_count:
        yield f"{counts.task_items} items are counted where {results.task.name} has {results.task.item_count}"
    if results.status != status_of(counts):
        yield f"the status is {results.status}, the counts say {status_of(counts)}"
    primary = [metric.name for metric in results.metrics if metric.primary]
    if primary != [results.task.primary_metric]:
        yield f"the primary figure is {', '.join(primary) or 'missing'}, the task's is {results.task.primary_metric}"
    twice = [name for name, times in Counter(metric.name for metric in results.metrics).items() if times > 1]
    if twice:
        yield f"{twice[0]} stands there twice"
    turned = [metric.name for metric in results.metrics if metric.interval and metric.interval[0] > metric.interval[1]]
    if turned:
        yield f"the interval of {turned[0]} ends before it begins"
