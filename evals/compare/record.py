"""A run as a comparison reads it: from its own files, without a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evals.record import Results, Run, Sample
from evals.store import RESULTS, read_results, read_run, read_samples
from evals.vector_store import Vectors, read_vectors
from tasks.errors import RecordError

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
    """Read a run. Raises RecordError for damaged files, and where run.json is not the one results.json tells of."""
    run = read_run(folder)
    samples = read_samples(folder)
    results = read_results(folder) if (folder / RESULTS).exists() else None
    if results is not None and any(getattr(results, name) != getattr(run, name) for name in DECIDING):
        raise RecordError(f"{folder}: run.json is not the one that {RESULTS} was made from; score the run again")
    answered = {key: sample for key, sample in samples.items() if sample.error is None}
    return Record(folder, run.name, run, answered, read_vectors(folder, samples), results)


def read_records(folders: Sequence[Path]) -> list[Record]:
    """The runs to compare, at least two different ones, each with a name of its own."""
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise RecordError("a comparison needs two or more different run directories")
    records = [read_record(folder) for folder in folders]
    times = Counter(record.name for record in records)
    return [replace(r, name=str(r.folder)) if times[r.name] > 1 else r for r in records]
