"""Turn predictions made elsewhere into a record, scored by the same code as our own.

Items that a file has no answer for are recorded as failed, so that the run is partial and names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.record import ErrorRow, Results, Run, Sample
from evals.runner import answered_sample, beginning, claim, with_current_part, with_run_facts, write_results
from evals.store import SampleLog, SampleReader, VectorLog, Vectors, locked
from tasks.durable import sync_folder
from tasks.labels import labels_of
from tasks.task import Item, Prediction, Task

LEFT_OUT = "the predictions file has nothing for it"


def import_run(task: Task[Any], run: Run, folder: Path, answers: Mapping[str, Prediction | str]) -> Results:
    """Write the record of a file's answers; a text in place of a prediction says why the item has none."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        now, run = run.provenance, claim(folder, run)
        reader = SampleReader(folder)
        kept = beginning(folder, task.items(), reader.read()).kept
        missing = [item for item in task.items() if item.id not in kept]
        if missing:
            run, stretch = with_current_part(folder, run, now)
            with VectorLog(folder, kept) as vector_log, SampleLog(folder, vector_log.sync) as log:
                sync_folder(folder)
                read = (imported_sample(task, item, answers.get(item.id, LEFT_OUT)) for item in missing)
                log.append(*[with_run_facts(sample, None, stretch, vectors, vector_log) for sample, vectors in read])
        return write_results(task, run, folder, {item.id for item in missing}, reader)


def imported_sample(task: Task[Any], item: Item, answer: Prediction | str) -> tuple[Sample, Vectors | None]:
    """The row of an imported answer with its vectors, or of one that the file leaves out."""
    if isinstance(answer, str):
        error = ErrorRow(kind="NotImported", message=answer)
        return Sample(id=item.id, cluster=item.cluster, labels=labels_of(item), error=error), None
    sample = answered_sample(task, item, answer)
    return sample.model_copy(update={"seconds": {}, "peak_memory_bytes": None}), answer.vectors
