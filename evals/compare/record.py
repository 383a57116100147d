"""Read runs for a comparison, from their own files and without a model, and align them on the items they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evals.clips import same_clip
from evals.record import Results, Run, Sample
from evals.results import prediction_of
from evals.store import RESULTS, Vectors, read_results, read_run, read_samples, read_vectors
from tasks.errors import RecordError
from tasks.family import Answers, Common, Measured
from tasks.registry import family_of
from tasks.statistics import cluster_codes
from tasks.task import Task

DECIDING = ("task", "model", "protocol", "seed", "imported")


@dataclass(frozen=True, slots=True)
class Record:
    """A run with its answered items; `name` is the run's, or its folder where two runs share one."""

    folder: Path
    name: str
    run: Run
    samples: Mapping[str, Sample]
    vectors: Mapping[str, Vectors]
    results: Results | None


def read_record(folder: Path) -> Record:
    """Read a run. Raises RecordError for damaged files, and if results.json was made from another run.json."""
    run = read_run(folder)
    samples = read_samples(folder)
    results = read_results(folder) if (folder / RESULTS).exists() else None
    if results is not None and any(getattr(results, name) != getattr(run, name) for name in DECIDING):
        raise RecordError(f"{folder}: run.json is not the one that {RESULTS} was made from; score the run again")
    answered = {key: sample for key, sample in samples.items() if sample.error is None}
    return Record(folder, run.name, run, answered, read_vectors(folder, samples), results)


def read_records(folders: Sequence[Path]) -> list[Record]:
    """Read two or more different runs to compare, each with a unique name."""
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise RecordError("a comparison needs two or more different run directories")
    records = [read_record(folder) for folder in folders]
    times = Counter(record.name for record in records)
    return [replace(r, name=str(r.folder)) if times[r.name] > 1 else r for r in records]


SAME = 1e-9


def measure(records: Sequence[Record], task: Task[Any] | None) -> tuple[Common, list[Measured]]:
    """Measure all runs on the items that each answered.

    Raises RecordError if there are none, or no way to score them.
    """
    family = family_of(records[0].run.task.family)
    if family.rank is not None:
        answers = [recorded(record) for record in records]
        comparable = [set(record.vectors) for record in records]
    else:
        answers = [recorded(record) if task is None else read_again(record, task) for record in records]
        comparable = [scored(found) for found in answers]
        if task is None:
            for record, found, ids in zip(records, answers, comparable, strict=True):
                check_recorded(
                    record, [value for key in ids if (value := found.scores[key].get(found.primary)) is not None]
                )
    common = common_items(records, comparable, task)
    return common, [family.measure(found, common, task) for found in answers]


def recorded(record: Record) -> Answers:
    """Return a run's answers as recorded."""
    return Answers(
        primary=record.run.task.primary_metric,
        predictions={key: prediction_of(sample, record.vectors.get(key)) for key, sample in record.samples.items()},
        scores={key: sample.scores for key, sample in record.samples.items()},
    )


def read_again(record: Record, task: Task[Any]) -> Answers:
    """Return a run's answers, parsed and scored by the current code."""
    answered = [item for item in task.items() if item.id in record.samples]
    read = {item.id: task.reread(item, prediction_of(record.samples[item.id])) for item in answered}
    return Answers(
        primary=task.info.primary_metric,
        predictions=read,
        scores={item.id: task.score(item, read[item.id]).values for item in answered},
    )


def scored(answers: Answers) -> set[str]:
    """Return the items whose primary score is known; all of them for corpus-level figures such as CIDEr-D."""
    if not any(answers.primary in values for values in answers.scores.values()):
        return set(answers.scores)
    return {key for key, values in answers.scores.items() if values.get(answers.primary) is not None}


def check_recorded(record: Record, values: Sequence[float]) -> None:
    """Raise RecordError if the recorded scores do not give the value in results.json, as after parsing again."""
    told = record.results.primary.value if record.results else None
    if not values or (told is not None and abs(float(np.mean(values)) - told) > SAME):
        raise RecordError(
            f"{record.folder}: {record.run.task.primary_metric} can't be computed from the record alone; name the "
            f"benchmark's files with --data"
        )


def common_items(records: Sequence[Record], answered: Sequence[set[str]], task: Task[Any] | None) -> Common:
    """Return the items that all runs share, in the order of the task or the first record; the clips must match too."""
    shared = {key for key in set.intersection(*answered) if is_one_item(records, key)}
    order: Iterator[str] = (item.id for item in task.items()) if task else iter(records[0].samples)
    ids = tuple(key for key in order if key in shared)
    if not ids:
        raise RecordError(f"{' and '.join(record.name for record in records)} have no scored item in common")
    codes, count = cluster_codes([records[0].samples[key].cluster for key in ids])
    return Common(ids, codes, count)


def is_one_item(records: Sequence[Record], key: str) -> bool:
    """Whether all runs answered an id about the same segment of the same file, as far as the records say."""
    first, *others = (record.samples[key].clip for record in records)
    return all(same_clip(first, other) for other in others)
