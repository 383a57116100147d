"""Records in, comparison out: each run against the first, on the items that all of them answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from evals.compare.contrast import Contrast, contrast
from evals.compare.measure import is_one_item, measure
from evals.compare.protocol import mismatches, refuse, require_same_figure
from evals.compare.record import Record
from evals.compare.rows import ComparedRun, Comparison, Mismatch, Pair, SignificanceTest
from evals.compare.words import Power, caveat, conclusion, supported
from evals.leaderboard.costs import cost_columns
from evals.results import cost_of
from tasks.family import Common, Unit
from tasks.intervals import few_clusters
from tasks.paired import Floats, holm, items_needed, minimum_detectable_effect
from tasks.registry import family_of
from tasks.task import Task

SAME = 1e-6
APART_SHOWN = 5
UNKNOWN = "unknown"


def compare(
    records: Sequence[Record], task: Task[Any] | None, *, allow_mismatch: bool = False, seed: int = 0
) -> Comparison:
    """Compare every run with the first. Raises RecordError where they are not comparable, unless that is allowed."""
    require_same_figure(records)
    first, *others = records
    found = {record.name: mismatches(first, record) for record in others}
    if not allow_mismatch:
        refuse(first, found)
    primary = first.run.task.primary_metric
    family = family_of(first.run.task.family)
    common, measured = measure(records, task)
    contrasts = [contrast(measured[0], other, common, primary, family, seed) for other in measured[1:]]
    adjusted = holm([pair.p for pair in contrasts])
    whole = None if len(common.ids) == first.run.task.item_count else first.run.task.name
    pairs = [
        pair_row(common, whole, first, record, numbers, p, len(others), found[record.name], family.unit(primary))
        | outcomes(common, other.values - measured[0].values)
        for record, other, numbers, p in zip(others, measured[1:], contrasts, adjusted, strict=True)
    ]
    values = [contrasts[0].primary.first, *(pair.primary.other for pair in contrasts)]
    return Comparison(
        task=first.run.task.name,
        family=first.run.task.family,
        task_items=first.run.task.item_count,
        items=len(common.ids),
        clusters=common.count,
        metric=primary,
        runs=tuple(run_row(record, common, value) for record, value in zip(records, values, strict=True)),
        pairs=tuple(Pair(**pair) for pair in pairs),
        correction="none: one comparison" if len(others) == 1 else f"Holm, {len(others)} comparisons with {first.name}",
        notes=tuple(notes(records, values, common, task)),
    )


def pair_row(
    common: Common,
    whole: str | None,
    first: Record,
    other: Record,
    numbers: Contrast,
    p_adjusted: float,
    comparisons: int,
    found: Sequence[Mismatch],
    unit: Unit,
) -> dict[str, Any]:
    """A pair's fields but for the items' names."""
    error, seen = numbers.standard_error, abs(numbers.primary.difference)
    power = Power(
        detectable=None if error is None else minimum_detectable_effect(error, comparisons, numbers.freedom),
        items_needed=None if error is None or not seen else items_needed(seen, error, len(common.ids)),
    )
    test = SignificanceTest(method=numbers.method, p=numbers.p, p_adjusted=p_adjusted)
    said = conclusion(first.name, other.name, numbers.primary, test, power, len(common.ids), whole, unit)
    return {
        "first": first.name,
        "other": other.name,
        "differences": numbers.differences,
        "test": test,
        "detectable": power.detectable,
        "items_needed": power.items_needed,
        "mismatches": tuple(found),
        "supported": supported(numbers.primary, test),
        "conclusion": said + caveat(first.name, other.name, found),
    }


def outcomes(common: Common, gains: Floats) -> dict[str, tuple[str, ...]]:
    """The items on which the other run scores higher, lower and the same, by the primary figure."""
    places = {"wins": gains > 0, "losses": gains < 0, "ties": gains == 0}
    return {name: tuple(common.ids[i] for i in np.flatnonzero(where)) for name, where in places.items()}


def run_row(record: Record, common: Common, value: float) -> ComparedRun:
    """A run's figure and cost on the common items."""
    model = record.run.model
    return ComparedRun(
        name=record.name,
        model=model.name,
        options=model.options,
        route=record.run.protocol.get("route"),
        imported=record.run.imported,
        answered=len(record.samples),
        value=value,
        cost=cost_columns(cost_of([record.samples[key] for key in common.ids]), model.parameters),
    )


def notes(records: Sequence[Record], values: Sequence[float], common: Common, task: Task[Any] | None) -> Iterator[str]:
    """What a reader has to know: which items, read by whom, and where the numbers are not those of the records."""
    info = records[0].run.task
    if len(common.ids) < info.item_count:
        counts = ", ".join(f"{record.name} {len(record.samples)}" for record in records)
        yield (
            f"compared on the {len(common.ids)} items that all runs answered and that can be scored, of the "
            f"{info.item_count} of {info.name} (answered: {counts}): no benchmark result"
        )
    answered = set.intersection(*(set(record.samples) for record in records))
    if apart := sorted(key for key in answered if not is_one_item(records, key)):
        named = ", ".join(apart[:APART_SHOWN]) + " …" * (len(apart) > APART_SHOWN)
        yield f"{len(apart)} items are left out: the runs looked at other stretches or files ({named})"
    untold = [r.name for r in records if task is None and any(sample.clip is None for sample in r.samples.values())]
    if untold and not all(record.run.imported for record in records):
        yield f"{', '.join(untold)}: the record does not tell which clips were looked at; items are matched by id"
    if few := few_clusters(common.count, info.cluster):
        yield few
    family = family_of(info.family)
    unit = family.unit(info.primary_metric)
    if task is None and family.rank is None:
        yield "the benchmark's files were not found: scores are those that were recorded"
    if family.comparison_note:
        yield family.comparison_note
    for record, value in zip(records, values, strict=True):
        told = record.results.primary.value if record.results else None
        if told is not None and len(common.ids) == len(record.samples) and abs(told - value) > SAME:
            yield (
                f"{record.name}: results.json says {unit.text(told)}, its items are now scored {unit.text(value)}; "
                f"score the run again"
            )
        if record.run.imported and record.run.protocol.get("route") == UNKNOWN:
            yield f"{record.name} was run elsewhere: how its answers were got is not known"
