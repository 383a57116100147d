"""Run a model over a task's items: answers are written at once, so that a kill loses only those in flight.

`run_task` is the way in: it claims the folder (`claim`), asks for what has no answer yet (`run_items`, which sends
batches through `answer`), and makes `results.json` from what is on disk (`write_results`), also after an interrupt. A
`Sample` is an item's row in `samples.jsonl`.
"""

from __future__ import annotations

import re
import resource
import sys
import traceback
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, TypeVar, cast

from pydantic import JsonValue

from evals.benchmarks import OWN_TASKS
from evals.clips import difference, looked_at, with_content
from evals.provenance import changes
from evals.record import ClipRow, ErrorRow, Provenance, Results, Run, Sample
from evals.results import build_results
from evals.store import (
    RESULTS,
    RUN,
    SAMPLES,
    SampleLog,
    SampleReader,
    VectorLog,
    Vectors,
    as_bytes,
    locked,
    lost_vectors,
    read_official,
    read_results,
    read_run,
    read_vectors,
    write_row,
    write_sealed,
)
from tasks.durable import sync_folder
from tasks.errors import RecordError, RunError
from tasks.labels import labels_of
from tasks.model import batch_hint_of, looking_ahead
from tasks.task import Item, Prediction, Task

STATUS = Path("/proc/self/status")
RECENT_SECONDS = 0.02
HIGH_WATER = re.compile(rb"VmHWM:\s*(\d+)")


def recent_peak_bytes() -> int:
    """Peak memory, read at intervals: reading it for each answer of a cheap model takes longer than the answer."""
    return _peak_at(int(monotonic() / RECENT_SECONDS))


@lru_cache(maxsize=1)
def _peak_at(moment: int) -> int:  # noqa: ARG001 - another moment, another value
    return peak_memory_bytes()


def peak_memory_bytes() -> int:
    """Peak resident memory of this process alone.

    Linux's `ru_maxrss` starts at the peak of the parent process, so the process's own high-water mark is read where the
    system provides it.
    """
    try:
        with STATUS.open("rb", buffering=0) as file:
            found = HIGH_WATER.search(file.read())
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


A = TypeVar("A")
B = TypeVar("B")


def run_batches(
    answer: Callable[[Sequence[A]], B], todo: Sequence[A], *, batch: int, lanes: int
) -> Iterator[tuple[B, float]]:
    """Yield the answers to `todo` in batches as they come, each with the seconds since the previous one.

    The seconds therefore add up to the time that passed, for any number of `lanes` (concurrent calls). Several lanes
    are daemon threads: an interrupt ends the run at once, and answers in flight are lost.
    """
    batches = [todo[start : start + batch] for start in range(0, len(todo), batch)]
    if lanes == 1 or len(batches) <= 1:
        yield from _timed(map(answer, batches))
        return
    with ThreadPool(min(lanes, len(batches))) as pool:
        yield from _timed(pool.imap_unordered(answer, batches))


def _timed(results: Iterator[B]) -> Iterator[tuple[B, float]]:
    """Yield each result with the seconds spent waiting for it."""
    while True:
        started = perf_counter()
        try:
            result = next(results)
        except StopIteration:
            return
        yield result, perf_counter() - started


TOTAL = "total"
CLIPS_KNOWN = 1024
DECIDING = {"task", "model", "protocol", "seed", "imported"}
ITEMS = "task.items_sha256"
SERVED_FROM = "served_from"
"""What a server loaded, which records of before December 2026 and many servers don't say."""
OTHER_ITEMS = (
    "Its items differ: a question, an option, an answer, a video, a start or an end; records from before December "
    "2026 do not say which clips your own questions were about, and can't be continued"
)
CLIP_CHANGED, VECTORS_LOST = "ClipChanged", "VectorsLost"
OnSample = Callable[[Sample], None]


class TooManyFailuresError(RecordError):
    """More items failed than the run allows; what was answered is on disk."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How to run: the output folder, how many items at once (None: as many as the model wants), and when to give up."""

    out: Path
    batch_size: int | None = None
    max_failures: int = 25
    retry_failed: bool = True


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a run finds in its folder when it starts.

    Attributes:
        kept: rows of earlier parts of the run that still count, by the item's id.
        stale: why an earlier answer no longer counts, by the item's id.
        asked: the number of items that this run is to answer in all.
    """

    kept: Mapping[str, Sample]
    stale: Mapping[str, str]
    asked: int


def ignore_beginning(beginning: Beginning) -> None:
    """Do nothing; for callers that need not know what the folder held."""


def run_task(
    task: Task[Any],
    model: object,
    run: Run,
    settings: RunSettings,
    on_sample: OnSample,
    on_begin: Callable[[Beginning], None] = ignore_beginning,
) -> Results:
    """Run what is not yet done and write `results.json`, even if stopped by failures or an interrupt.

    Args:
        task: The task.
        model: The model.
        run: The run's description, with the provenance of this part of it.
        settings: The output folder, and when to give up.
        on_sample: Called with every new row.
        on_begin: Called once, before the first item is asked.

    Returns:
        The results, as written.

    Raises:
        ModelError: The model can't do the task; raised before any work.
        RecordError: The folder holds another run, or was removed during the run.
        TooManyFailuresError: More items failed than allowed.
        OSError: The disk can't be written.
    """
    task.check(model)
    settings.out.mkdir(parents=True, exist_ok=True)
    with locked(settings.out):
        now, run = run.provenance, claim(settings.out, run)
        reader = SampleReader(settings.out)
        fresh: set[str] = set()
        try:
            run = run_items(task, model, run, now, settings, on_sample, on_begin, reader, fresh)
        except (KeyboardInterrupt, TooManyFailuresError):
            write_results(task, read_run(settings.out), settings.out, fresh, reader)
            raise
        return write_results(task, run, settings.out, fresh, reader)


def claim(folder: Path, run: Run) -> Run:
    """Write the folder's `run.json`, or read the existing one if it is the same run."""
    if not (folder / RUN).exists():
        strangers = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
        if strangers:
            msg = f"{folder} is not empty and holds no run ({', '.join(strangers[:3])} …); choose another --out"
            raise RecordError(msg)
        write_row(folder / RUN, run)
        return run
    earlier = read_run(folder)
    if not same_run(earlier, run):
        changed = differences(earlier, run)
        tasks = earlier.task.name, run.task.name
        if tasks[0] != tasks[1] and not all(name.startswith(OWN_TASKS) for name in tasks):
            msg = f"{folder} holds another run, of {tasks[0]} in place of {tasks[1]}; choose another --out or delete it"
            raise RecordError(msg)
        why = f". {OTHER_ITEMS}" if ITEMS in changed else ""
        msg = f"{folder} holds another run (different: {', '.join(changed)}); choose another --out or delete it{why}"
        raise RecordError(msg)
    changed_since = {"limit": run.limit, "place": run.place or earlier.place}
    if any(getattr(earlier, name) != value for name, value in changed_since.items()):
        earlier = earlier.model_copy(update=changed_since)
        write_row(folder / RUN, earlier)
    return earlier


def with_current_part(folder: Path, run: Run, now: Provenance) -> tuple[Run, int]:
    """Add the current provenance to the run if it changed, and return the run with the number of its current part.

    Call this only if there is something to do, so that a finished run stays unchanged.
    """
    last = (run.provenance, *run.resumed)[-1]
    if changes(last, now):
        run = run.model_copy(update={"resumed": (*run.resumed, now)})
        write_row(folder / RUN, run)
    return run, len(run.resumed)


def same_run(earlier: Run, now: Run) -> bool:
    """Whether all that decides the answers is the same; options include defaults if both records have them."""
    if earlier.model.effective is None or now.model.effective is None:
        earlier, now = earlier.as_given(), now.as_given()
    earlier, now = as_far_as_both_say(earlier, now)
    return earlier.fingerprint() == now.fingerprint()


def as_far_as_both_say(earlier: Run, now: Run) -> tuple[Run, Run]:
    """Return both runs without what a server loaded, if one of them does not say it: that contradicts nothing."""
    if all(SERVED_FROM in run.model.details for run in (earlier, now)):
        return earlier, now

    def without(run: Run) -> Run:
        details = {name: fact for name, fact in run.model.details.items() if name != SERVED_FROM}
        return run.model_copy(update={"model": run.model.model_copy(update={"details": details})})

    return without(earlier), without(now)


def differences(earlier: Run, now: Run) -> list[str]:
    """Return the fields that make two runs different, by dotted name."""
    both = earlier.model.effective is not None and now.model.effective is not None
    earlier, now = as_far_as_both_say(earlier, now)
    model = dict.fromkeys({"options" if both else "effective", "system"}, True)
    flat_earlier, flat_now = (
        flatten(run.model_dump(mode="json", include=DECIDING, exclude={"model": model})) for run in (earlier, now)
    )
    changed = (key for key in flat_earlier | flat_now if flat_earlier.get(key) != flat_now.get(key))
    return sorted(key.replace("model.effective.", "model.options.") for key in changed)


def flatten(value: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Flatten nested mappings into one with dotted keys."""
    flat: dict[str, object] = {}
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, Mapping):
            flat |= flatten(inner, f"{name}.")
        else:
            flat[name] = inner
    return flat


def run_items(
    task: Task[Any],
    model: object,
    run: Run,
    now: Provenance,
    settings: RunSettings,
    on_sample: OnSample,
    on_begin: Callable[[Beginning], None],
    reader: SampleReader,
    fresh: set[str],
) -> Run:
    """Answer the items that have no row yet, in the task's order; return the run with its updated provenance.

    The ids of items answered here are added to `fresh`: their scores are current and need not be computed again.
    """
    asked = list(task.items())[: run.limit]
    found = beginning(settings.out, asked, reader.read())
    on_begin(found)
    done = {key for key, sample in found.kept.items() if is_done(sample, settings)}
    todo = [item for item in asked if item.id not in done]
    stretch = len(run.resumed)  # which part of an interrupted run this is, from 0
    if todo:
        run, stretch = with_current_part(settings.out, run, now)
    batch_hint = batch_hint_of(model)
    batch = settings.batch_size or batch_hint.batch
    failures = Failures(settings)
    began = perf_counter()
    with (
        VectorLog(settings.out, found.kept) as vector_log,
        SampleLog(settings.out, vector_log.sync) as log,
        looking_ahead(model, [item.clip for item in todo]),
    ):
        sync_folder(settings.out)
        # Starting what reads ahead is part of the time that the first items take.
        starting = perf_counter() - began
        for outcomes, seconds in run_batches(partial(answer, task, model), todo, batch=batch, lanes=batch_hint.lanes):
            share, starting = (seconds + starting) / len(outcomes), 0.0
            rows = [with_run_facts(row, share, stretch, vectors, vector_log) for row, vectors in outcomes]
            log.append(*rows)
            fresh.update(row.id for row in rows)
            for row in rows:
                on_sample(row)
            failures.count(rows)
    return run


def is_done(sample: Sample, settings: RunSettings) -> bool:
    """Whether an item need not be asked again; an item whose earlier answer became stale did not fail by itself."""
    if sample.error is None:
        return True
    return not settings.retry_failed and sample.error.kind not in (CLIP_CHANGED, VECTORS_LOST)


class Failures:
    """Counts failed items and ends the run if there are more than allowed."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._failed = 0

    def count(self, rows: Sequence[Sample]) -> None:
        """Count the failures among new rows. Raises TooManyFailuresError."""
        errors = [row.error for row in rows if row.error is not None]
        self._failed += len(errors)
        if errors and self._failed > self._settings.max_failures:
            msg = (
                f"{self._failed} items failed (--max-failures {self._settings.max_failures}); the answered ones are "
                f"kept in {self._settings.out}. The last error: {errors[-1].message}"
            )
            raise TooManyFailuresError(msg)


def beginning(folder: Path, asked: Sequence[Item], samples: Mapping[str, Sample]) -> Beginning:
    """Return those rows of earlier parts of the run, `samples`, that still count.

    Answers about another clip or file, and rows whose vectors are not on disk, are asked again. Each of them gets a row
    that says so before anything new is written, so that it is never scored, however the run ends.
    """
    lost = lost_vectors(folder, samples)
    look = lru_cache(maxsize=CLIPS_KNOWN)(looked_at)
    stale: dict[str, Sample] = {}
    for item in asked:
        sample = samples.get(item.id)
        if sample is None or sample.error is not None:
            continue
        if fault := lost.get(item.id):
            stale[item.id] = stale_sample(item, VECTORS_LOST, fault)
        elif fault := difference(sample.clip, item.clip, look):
            stale[item.id] = stale_sample(item, CLIP_CHANGED, fault)
    for key in lost.keys() - stale.keys():
        # Not an item of this run, or past its limit: it stays lost until it is asked for.
        error = ErrorRow(kind=VECTORS_LOST, message=lost[key])
        stale[key] = Sample(id=key, cluster=samples[key].cluster, labels=samples[key].labels, error=error)
    if stale:
        with SampleLog(folder) as log:
            log.append(*stale.values())
    kept = {key: sample for key, sample in samples.items() if key not in stale}
    return Beginning(kept, {key: row.error.message for key, row in stale.items() if row.error}, len(asked))


def stale_sample(item: Item, kind: str, why: str) -> Sample:
    """Return the row of an item that has to be asked again."""
    return Sample(
        id=item.id, cluster=item.cluster, labels=labels_of(item), error=ErrorRow(kind=kind, message=f"{why}; ask again")
    )


def with_run_facts(
    sample: Sample,
    seconds: float | None,
    stretch: int = 0,
    vectors: Vectors | None = None,
    log: VectorLog | None = None,
) -> Sample:
    """Return the sample with what only the run knows.

    That is its share of the run's time, unless it failed or no model was asked (`seconds` is None); which part of the
    run answered it; and, for retrieval, the row at which its vectors were written, with their checksum.
    """
    known: dict[str, object] = {"stretch": stretch}
    if sample.error is None and seconds is not None:
        known["seconds"] = {**sample.seconds, TOTAL: seconds}
    if vectors is not None and log is not None:
        known |= {"vector_row": log.append(vectors), "vectors_crc32": zlib.crc32(as_bytes(vectors))}
    return sample.model_copy(update=known)


def answer(task: Task[Any], model: object, batch: Sequence[Item]) -> list[tuple[Sample, Vectors | None]]:
    """Answer a batch; if it fails, answer its halves, so that one bad item costs only itself."""
    try:
        clips = [looked_at(item.clip) for item in batch]
        predictions = task.predict(model, batch)
        rows = []
        for item, prediction, clip in zip(batch, predictions, clips, strict=True):
            seen = with_content(clip, item.clip, frames_seen=prediction.trace.frames is not None)
            rows.append((answered_sample(task, item, prediction, seen), prediction.vectors))
    except RunError:
        raise
    except Exception as error:  # noqa: BLE001 - the one per-item boundary: the error becomes data
        if len(batch) > 1:
            middle = len(batch) // 2
            return answer(task, model, batch[:middle]) + answer(task, model, batch[middle:])
        return [(failed_sample(batch[0], error), None)]
    return rows


def answered_sample(task: Task[Any], item: Item, prediction: Prediction, clip: ClipRow | None = None) -> Sample:
    """Return the row of an answered item; `clip` is what the model was asked about, if it was asked here."""
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
        frames=trace.frames,
        tokens=trace.usage,
        seconds=dict(trace.seconds),
        peak_memory_bytes=recent_peak_bytes(),
        notes=cast("dict[str, JsonValue]", dict(trace.notes)),
        labels=labels_of(item),
        clip=clip,
    )


def failed_sample(item: Item, error: Exception) -> Sample:
    """Return the row of a failed item: what went wrong and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    message = " ".join(str(error).split()) or type(error).__name__
    return Sample(
        id=item.id,
        cluster=item.cluster,
        labels=labels_of(item),
        error=ErrorRow(kind=type(error).__name__, message=message, where=where),
    )


def write_results(
    task: Task[Any], run: Run, folder: Path, fresh: Collection[str] = (), reader: SampleReader | None = None
) -> Results:
    """Summarise what is on disk; the items of `fresh` were scored by this process.

    A `reader` of the folder's rows reads those that were added since it was last asked.
    """
    samples = (reader or SampleReader(folder)).read()
    results = build_results(task, run, samples, read_official(folder), read_vectors(folder, samples), fresh)
    return write_sealed(folder, results)


def rescore(task: Task[Any], folder: Path) -> Results:
    """Parse every recorded raw output again with the current parser, and rewrite `results.json`; needs no model."""
    run = read_run(folder)
    if (run.task.name, run.task.items_sha256) != (task.info.name, task.info.items_sha256):
        msg = f"{folder} is a run of {run.task.name} on items other than those of this {task.info.name}"
        raise RecordError(msg)
    refuse_lost_answers(folder)
    with locked(folder):
        return write_results(task, run, folder)


def refuse_lost_answers(folder: Path) -> None:
    """Raise RecordError where results were made of answers that are no longer there: 0 would replace their figures."""
    there = folder / SAMPLES
    if not (folder / RESULTS).is_file() or (there.is_file() and there.stat().st_size):
        return
    try:
        answered = read_results(folder).counts.answered
    except RecordError:
        return  # what can't be read is written anew
    if answered:
        what = "is empty" if there.is_file() else "is missing"
        msg = f"{there} {what}, but {RESULTS} beside it is of {answered} answers: put it back, or run the same again"
        raise RecordError(msg)
