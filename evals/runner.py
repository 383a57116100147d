"""Run a model over a task's items: what is finished is written at once, so that a kill loses what is in flight."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from pydantic import JsonValue

from evals.lanes import in_lanes
from evals.memory import peak_memory_bytes
from evals.record import ErrorRow, FramesRow, Results, Run, Sample, TokensRow
from evals.results import build_results
from evals.store import (
    RUN,
    SampleLog,
    locked,
    read_official,
    read_run,
    read_samples,
    write_row,
    write_sealed,
)
from evals.vector_store import VectorLog, Vectors, read_vectors
from tasks.errors import RecordError, ReplyTypeError
from tasks.labels import labels_of
from tasks.model import appetite_of, looking_ahead
from tasks.task import Item, Prediction, Task

TOTAL = "total"
OnSample = Callable[[Sample], None]


class TooManyFailuresError(RecordError):
    """More items failed than the run allows; what was answered is on disk."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How to run: where to, how many items at once (None: as many as the model wants), and when to give up."""

    out: Path
    batch_size: int | None = None
    max_failures: int = 25
    retry_failed: bool = True


def run_task(task: Task[Any], model: object, run: Run, settings: RunSettings, on_sample: OnSample) -> Results:
    """Run what is not yet done and write `results.json`, also when stopped by failures or an interrupt.

    Raises ModelError before any work when the model can't do the task, RecordError when the folder holds
    another run, TooManyFailuresError, and OSError when the disk can't be written.
    """
    task.check(model)
    settings.out.mkdir(parents=True, exist_ok=True)
    with locked(settings.out):
        run = claim(settings.out, run)
        try:
            run_items(task, model, run, settings, on_sample)
        except (KeyboardInterrupt, TooManyFailuresError):
            write_results(task, run, settings.out)
            raise
        return write_results(task, run, settings.out)


def claim(folder: Path, run: Run) -> Run:
    """Start the folder's `run.json`, or take up the one that is there if it is the same run."""
    if not (folder / RUN).exists():
        strangers = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
        if strangers:
            msg = f"{folder} is not empty and holds no run ({', '.join(strangers[:3])} …); choose another --out"
            raise RecordError(msg)
        write_row(folder / RUN, run)
        return run
    earlier = read_run(folder)
    if earlier.fingerprint() != run.fingerprint():
        changed = ", ".join(differences(earlier, run))
        msg = f"{folder} holds another run (different: {changed}); choose another --out or delete it"
        raise RecordError(msg)
    if earlier.limit != run.limit:
        earlier = earlier.model_copy(update={"limit": run.limit})
        write_row(folder / RUN, earlier)
    return earlier


def differences(earlier: Run, now: Run) -> list[str]:
    """The fields that make two runs different, by dotted name."""
    names = {"task", "model", "protocol", "seed", "imported"}
    flat_earlier, flat_now = (flatten(run.model_dump(mode="json", include=names)) for run in (earlier, now))
    return sorted(key for key in flat_earlier | flat_now if flat_earlier.get(key) != flat_now.get(key))


def flatten(value: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, object] = {}
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, Mapping):
            flat |= flatten(inner, f"{name}.")
        else:
            flat[name] = inner
    return flat


def run_items(task: Task[Any], model: object, run: Run, settings: RunSettings, on_sample: OnSample) -> None:
    """Answer the items that have no row yet, in the task's order."""
    done = read_samples(settings.out)
    kept = {key for key, sample in done.items() if sample.error is None or not settings.retry_failed}
    todo = [item for item in list(task.items())[: run.limit] if item.id not in kept]
    appetite = appetite_of(model)
    batch = settings.batch_size or appetite.batch
    failures, last_error = 0, ""
    with (
        VectorLog(settings.out, done) as vector_log,
        SampleLog(settings.out, vector_log.sync) as log,
        looking_ahead(model, [item.clip for item in todo]),
    ):
        answers = in_lanes(partial(answer, task, model), todo, batch=batch, lanes=appetite.lanes)
        for outcomes, seconds in answers:
            for answered, vectors in outcomes:
                sample = with_vectors(timed(answered, seconds / len(outcomes)), vectors, vector_log)
                log.append(sample)
                on_sample(sample)
                if sample.error is not None:
                    failures += 1
                    last_error = sample.error.message
            if failures > settings.max_failures:
                raise TooManyFailuresError(
                    f"{failures} items failed (--max-failures {settings.max_failures}); the answered ones are kept "
                    f"in {settings.out}. The last error: {last_error}"
                )


def with_vectors(sample: Sample, vectors: Vectors | None, log: VectorLog) -> Sample:
    """The sample with the row that its vectors, now written, got."""
    return sample if vectors is None else sample.model_copy(update={"vector_row": log.append(vectors)})


def answer(task: Task[Any], model: object, batch: Sequence[Item]) -> list[tuple[Sample, Vectors | None]]:
    """Answers to a batch; where it fails, to its halves, so that one bad item costs only itself."""
    try:
        predictions = task.predict(model, batch)
        return [
            (answered_sample(task, item, prediction), prediction.vectors)
            for item, prediction in zip(batch, predictions, strict=True)
        ]
    except ReplyTypeError:
        raise
    except Exception as error:  # noqa: BLE001 - the one per-item boundary: the error becomes data
        if len(batch) > 1:
            middle = len(batch) // 2
            return answer(task, model, batch[:middle]) + answer(task, model, batch[middle:])
        return [(failed_sample(batch[0], error), None)]


def timed(sample: Sample, seconds: float) -> Sample:
    """The sample with its share of the run's time; a failed one has none."""
    return sample if sample.error else sample.model_copy(update={"seconds": {**sample.seconds, TOTAL: seconds}})


def answered_sample(task: Task[Any], item: Item, prediction: Prediction) -> Sample:
    """The row of an answered item."""
    trace = prediction.trace
    return Sample(
        id=item.id,
        cluster=item.cluster,
        answer=prediction.answer,
        raw=prediction.raw,
        rule=prediction.rule,
        option_scores=prediction.option_scores,
        scores=dict(task.score(item, prediction).values),
        prompt_sha256=trace.prompt_sha256,
        frames=FramesRow.model_validate(trace.frames, from_attributes=True) if trace.frames else None,
        tokens=TokensRow.model_validate(trace.usage, from_attributes=True),
        seconds=dict(trace.seconds),
        peak_memory_bytes=peak_memory_bytes(),
        notes=cast("dict[str, JsonValue]", dict(trace.notes)),
        labels=labels_of(item),
    )


def failed_sample(item: Item, error: Exception) -> Sample:
    """The row of an item without an answer: what went wrong and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    message = " ".join(str(error).split()) or type(error).__name__
    return Sample(
        id=item.id,
        cluster=item.cluster,
        labels=labels_of(item),
        error=ErrorRow(kind=type(error).__name__, message=message, where=where),
    )


def write_results(task: Task[Any], run: Run, folder: Path) -> Results:
    """Summarise what is on disk."""
    samples = read_samples(folder)
    results = build_results(task, run, samples, read_official(folder), read_vectors(folder, samples))
    return write_sealed(folder, results)


def rescore(task: Task[Any], folder: Path) -> Results:
    """Read every recorded raw output again with today's parser, and write `results.json` anew; no model needed."""
    run = read_run(folder)
    if (run.task.name, run.task.items_sha256) != (task.info.name, task.info.items_sha256):
        msg = f"{folder} is a run of {run.task.name} on other items than this {task.info.name}"
        raise RecordError(msg)
    with locked(folder):
        return write_results(task, run, folder)
