"""Captions and vectors made elsewhere become a record, scored by the same code as our own.

Items that a file leaves out are recorded as failed, so that the run is partial and names them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.import_predictions import IDS_SHOWN
from evals.record import ErrorRow, Results, Run, Sample
from evals.runner import answered_sample, claim, with_vectors, write_results
from evals.store import SampleLog, locked, read_samples
from evals.vector_store import VectorLog
from tasks.caption_files import read_captions
from tasks.captioning import CaptioningTask, one_line
from tasks.errors import DataError
from tasks.retrieval import RetrievalTask, checked_vectors
from tasks.task import Item, Prediction, Task

ARRAYS = ("ids", "video", "text")


def read_texts(task: CaptioningTask, path: Path) -> dict[str, Prediction]:
    """Predictions by id from JSON `{id: text}`. Raises DataError naming unknown ids and ids with several texts."""
    texts = read_captions(path)
    refuse_unknown(path, task.items(), list(texts))
    several = [key for key, values in texts.items() if len(values) != 1]
    if several:
        msg = f"{path}: {len(several)} ids have several texts ({', '.join(several[:IDS_SHOWN])}): give one"
        raise DataError(msg)
    return {key: Prediction(key, one_line(text), text, "one line") for key, (text,) in texts.items()}


def read_vector_pairs(task: RetrievalTask, path: Path) -> dict[str, Prediction]:
    """Predictions by id from an .npz of `ids` [N], `video` [N, D] and `text` [N, D]. Raises DataError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            ids, video, text = (file[name] for name in ARRAYS)
    except (OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        msg = f"{path} is no .npz file of {', '.join(ARRAYS)} ({error})"
        raise DataError(msg) from error
    if ids.ndim != 1 or video.ndim != 2 or video.shape != text.shape or len(ids) != len(video):
        msg = f"{path}: ids {ids.shape}, video {video.shape} and text {text.shape} must be [N], [N, D] and [N, D]"
        raise DataError(msg)
    names = [str(name) for name in ids]
    refuse_unknown(path, task.items(), names)
    return {
        name: Prediction(name, None, rule="vectors", vectors=checked_vectors(name, video[i], text[i]))
        for i, name in enumerate(names)
    }


def refuse_unknown(path: Path, items: Sequence[Item], ids: Sequence[str]) -> None:
    """Refuse ids that the task does not have, or that stand there twice."""
    known = {item.id for item in items}
    strange = [key for key in ids if key not in known]
    repeated = sorted({key for key in ids if ids.count(key) > 1}) if len(set(ids)) < len(ids) else []
    for what, keys in (("unknown ids", strange), ("repeated ids", repeated)):
        if keys:
            msg = f"predictions file {path} is refused: {len(keys)} {what}: {', '.join(keys[:IDS_SHOWN])}"
            raise DataError(msg)


def import_free(task: Task[Any], run: Run, folder: Path, predictions: Mapping[str, Prediction]) -> Results:
    """Write the record of imported texts or vectors."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        run = claim(folder, run)
        done = read_samples(folder)
        with SampleLog(folder) as log, VectorLog(folder, done) as vector_log:
            for item in task.items():
                if item.id not in done:
                    log.append(imported(task, item, predictions.get(item.id), vector_log))
        return write_results(task, run, folder)


def imported(task: Task[Any], item: Item, prediction: Prediction | None, vectors: VectorLog) -> Sample:
    """The row of an imported answer, or of one that the file leaves out."""
    if prediction is None:
        left_out = ErrorRow(kind="NotImported", message="the predictions file has no such id")
        return Sample(id=item.id, cluster=item.cluster, error=left_out)
    sample = answered_sample(task, item, prediction)
    told = sample.model_copy(update={"seconds": {}, "peak_memory_bytes": None})
    return with_vectors(told, prediction.vectors, vectors)
