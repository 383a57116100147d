"""Compute `results.json` from `run.json`, `samples.jsonl` and the task: a pure function, so `score` needs no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from evals.provenance import COMMAND, changes
from evals.record import Cost, Counts, FloorRow, OfficialScore, Results, Run, Sample, Stretch, status_of
from tasks.collector import waiting
from tasks.registry import family_of, resolved
from tasks.task import ANSWERED_BY, Item, Metric, Prediction, Score, Task, Trace, few_clusters

WAIT = "wait"
IDS_SHOWN = 5
NO_VECTORS: Mapping[str, NDArray[np.float32]] = MappingProxyType({})


def prediction_of(sample: Sample, vectors: NDArray[np.float32] | None = None) -> Prediction:
    """Return the recorded answer as a prediction; `vectors` is its row of `vectors.npy`."""
    return Prediction(
        item_id=sample.id,
        answer=sample.answer,
        raw=sample.raw,
        rule=sample.rule,
        option_scores=sample.option_scores,
        trace=Trace(
            prompt_sha256=sample.prompt_sha256,
            usage=sample.tokens,
            seconds=sample.seconds,
            frames=sample.frames,
            notes=sample.notes,
        ),
        vectors=vectors,
    )


@waiting()
def build_results(
    task: Task[Any],
    run: Run,
    samples: Mapping[str, Sample],
    official: OfficialScore | None = None,
    vectors: Mapping[str, NDArray[np.float32]] = NO_VECTORS,
    fresh: Collection[str] = (),
) -> Results:
    """Score the recorded samples in the task's own order and summarise them.

    The recorded scores of items in `fresh` were made by this process and are used unchanged.
    """
    asked = list(task.items())[: run.limit]
    rows = [(item, sample) for item in asked if (sample := samples.get(item.id)) is not None]
    failed = [item.id for item, sample in rows if sample.error is not None]
    answered = [(item, sample) for item, sample in rows if sample.error is None]
    answers = [sample for _, sample in answered]
    scores = [
        score_of(task, item, sample, vectors.get(item.id), is_fresh=item.id in fresh) for item, sample in answered
    ]
    summary = task.summarise(scores, np.random.default_rng(run.seed))
    counts = Counts(
        task_items=len(task.items()),
        asked=len(asked),
        answered=len(answered),
        failed=len(failed),
        not_reached=len(asked) - len(answered) - len(failed),
    )
    status = status_of(counts)
    resumed = stretches(run, answers)
    metrics = [metric if official is None else official_metric(metric, official) for metric in summary.metrics]
    return Results(
        name=run.name,
        fingerprint=run.fingerprint(),
        status=status,
        task=run.task,
        model=run.model,
        protocol=run.protocol,
        seed=run.seed,
        limit=run.limit,
        imported=run.imported,
        counts=counts,
        failed_ids=tuple(failed),
        metrics=tuple(metrics),
        floors=tuple(floor_rows(task, [item for item, _ in answered], run.seed)),
        details=cast("dict[str, JsonValue]", dict(summary.details)),
        cost=cost_of(answers),
        official=official,
        provenance=run.provenance,
        resumed=resumed,
        warnings=(
            *status_warnings(counts, failed, samples),
            *stretch_warnings(run, resumed, counts.answered),
            *author_warnings(answers),
            *interval_warnings(metrics, run),
            *summary.warnings,
        ),
    )


def interval_warnings(metrics: Sequence[Metric], run: Run) -> list[str]:
    """Warn if the primary figure's interval rests on few clusters."""
    primary = next(metric for metric in metrics if metric.primary)
    few = few_clusters(primary.clusters, run.task.cluster)
    return [few] if few else []


def official_metric(metric: Metric, official: OfficialScore) -> Metric:
    """Replace a figure that public data can't give by the benchmark server's score."""
    if metric.name != official.metric or metric.value is not None:
        return metric
    return replace(metric, value=official.value, method=f"official score ({official.source})")


def status_warnings(counts: Counts, failed: Sequence[str], samples: Mapping[str, Sample]) -> list[str]:
    """Say why a run is not complete, with the failed items' reasons."""
    warnings = []
    if counts.asked < counts.task_items:
        warnings.append(f"limited to the first {counts.asked} of {counts.task_items} items: not a benchmark result")
    if counts.not_reached:
        warnings.append(f"{counts.not_reached} of {counts.asked} items were not reached; run again to resume")
    if failed:
        reasons = Counter(error.message for key in failed if (error := samples[key].error))
        message, times = reasons.most_common(1)[0]
        named = ", ".join(failed[:IDS_SHOWN]) + " …" * (len(failed) > IDS_SHOWN)
        why = f"most often ({times}×): {message}" if times > 1 else f"the first: {message}"
        warnings.append(f"{len(failed)} items failed and are not scored ({named}); {why}")
    return warnings


def score_of(
    task: Task[Any], item: Item, sample: Sample, vectors: NDArray[np.float32] | None, *, is_fresh: bool
) -> Score:
    """Return an item's score: the one just recorded, or that of its raw output parsed again."""
    if is_fresh:
        return Score(item.id, item.cluster, sample.answer, sample.scores, vectors)
    return task.score(item, task.reread(item, prediction_of(sample, vectors)))


def floor_rows(task: Task[Any], answered: Sequence[Any], seed: int) -> Iterator[FloorRow]:
    """Yield the family's floors on exactly the answered items."""
    if not answered:
        return
    for floor in resolved(family_of(task.info.family).floors)(task, answered, seed):
        yield FloorRow(model=floor.name, metric=floor.metric, others=floor.others)


def stretches(run: Run, answered: Sequence[Sample]) -> tuple[Stretch, ...]:
    """Return the parts of a run after each change of provenance, with the number of items each answered."""
    counts = Counter(sample.stretch for sample in answered)
    return tuple(
        Stretch(provenance=provenance, answered=counts[number])
        for number, provenance in enumerate(run.resumed, start=1)
    )


def stretch_warnings(run: Run, resumed: Sequence[Stretch], answered: int) -> list[str]:
    """Warn of answers given by other code or another machine; a change of the command alone is not reported."""
    warnings, before = [], run.provenance
    for part in resumed:
        told = [change for change in changes(before, part.provenance) if not change.startswith(COMMAND)]
        if told and part.answered:
            warnings.append(f"{part.answered} of {answered} answers were given after a change: {'; '.join(told)}")
        before = part.provenance
    return warnings


def author_warnings(answered: Sequence[Sample]) -> list[str]:
    """Warn if a server's replies name several models: another one answered under the name asked for."""
    authors = Counter(str(sample.notes.get(ANSWERED_BY, "the model asked")) for sample in answered)
    if len(authors) < 2:
        return []
    named = ", ".join(f"{author} ({count})" for author, count in authors.most_common(IDS_SHOWN))
    return [f"the server's replies name {len(authors)} models: {named}; these are not answers of one model"]


def cost_of(samples: Sequence[Sample]) -> Cost:
    """Compute totals and means over the answered items; None where nothing was measured."""
    n = len(samples)
    stages: dict[str, float] = {}
    for sample in samples:
        for stage, seconds in sample.seconds.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    total = stages.pop("total", None)
    prompt = sum(sample.tokens.prompt for sample in samples)
    completion = sum(sample.tokens.completion for sample in samples)
    frames = [sample.frames.count for sample in samples if sample.frames]
    return Cost(
        prompt_tokens=prompt,
        cached_tokens=sum(sample.tokens.cached for sample in samples),
        completion_tokens=completion,
        prompt_tokens_per_item=prompt / n if n else None,
        completion_tokens_per_item=completion / n if n else None,
        frames_per_item=sum(frames) / len(frames) if frames else None,
        seconds=total,
        seconds_per_item=total / n if n and total is not None else None,
        seconds_by_stage=stages,
        frames_wait_share=stages[WAIT] / total if WAIT in stages and total else None,
        peak_memory_bytes=max((s.peak_memory_bytes for s in samples if s.peak_memory_bytes), default=None),
    )
