"""Captions and vectors made elsewhere become a record, scored by the same code as our own.

Items that a file leaves out are recorded as failed, so that the run is partial and names them.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.import_predictions import IDS_SHOWN
from evals.record import ErrorRow, Results, Run, Sample
from evals.runner import answered_sample, beginning, claim, taken_up, with_vectors, write_results
from evals.store import SampleLog, locked
from evals.vector_store import VectorLog
from evals.video_sources import unpacks_too_far
from tasks.caption_files import read_object, texts_of
from tasks.captioning import CaptioningTask, CaptionItem, one_line
from tasks.dense_captions import dense_captions, is_dense, paragraph, place
from tasks.durable import sync_folder
from tasks.errors import DataError
from tasks.files import is_file, read_arrays, unicode_only
from tasks.labels import labels_of
from tasks.retrieval import RetrievalTask, checked_vectors
from tasks.task import Item, Prediction, Task

ARRAYS = ("ids", "video", "text")
LEFT_OUT = "the predictions file has nothing for it"
# what a file says of an item: its answer, or why it has none
Imported = Prediction | ErrorRow
OUTSIDE = ErrorRow(kind="NotImported", message="the task has no such item")


def read_texts(task: CaptioningTask, path: Path) -> dict[str, Imported]:
    """Predictions by id from JSON `{id: text}`, or from a dense-captioning file; what the task lacks has an error.

    Raises DataError naming ids with several texts, or when none is the task's.
    """
    content = read_object(path)
    if is_dense(content):
        return read_dense(task, content, path)
    known, outside = of_pool(path, task.items(), list(content))
    texts = texts_of({key: content[key] for key in known}, path)
    several = [key for key, values in texts.items() if len(values) != 1]
    if several:
        msg = f"{path}: {len(several)} ids have several texts ({', '.join(several[:IDS_SHOWN])}): give one"
        raise DataError(msg)
    found: dict[str, Imported] = dict.fromkeys(outside, OUTSIDE)
    return found | {key: Prediction(key, one_line(text), text, "one line") for key, (text,) in texts.items()}


def read_dense(task: CaptioningTask, content: Mapping[str, object], path: Path) -> dict[str, Imported]:
    """Sentences placed on a task's segments, or joined where its items are whole videos (see tasks.dense_captions).

    Raises DataError when no video is the task's, or no sentence finds a place.
    """
    sentences_by_video = dense_captions(content, path)
    items: dict[str, list[CaptionItem]] = {}
    for item in task.items():
        items.setdefault(item.clip.video_id, []).append(item)
    outside = [video for video in sentences_by_video if video not in items]
    if len(outside) == len(sentences_by_video):
        raise DataError(refusal(path, "unknown videos and no known one", outside))
    found: dict[str, Imported] = {}
    for video, sentences in sentences_by_video.items():
        if video not in items:
            continue
        if items[video][0].id == video:
            text = paragraph(sentences)
            found[video] = Prediction(video, one_line(text), text, "sentences joined")
            continue
        placed = place(sentences, [item.clip for item in items[video]])
        for number, item in enumerate(items[video]):
            if placed.fault:
                found[item.id] = ErrorRow(kind="NotImported", message=f"{video}: {placed.fault}")
            elif number in placed.texts:
                text = placed.texts[number]
                found[item.id] = Prediction(item.id, one_line(text), text, placed.rule)
    reasons = [row.message for row in found.values() if isinstance(row, ErrorRow)]
    if len(reasons) == len(found):
        msg = f"predictions file {path} is refused: no video's sentences find their segments ({reasons[0]})"
        raise DataError(msg)
    return found | dict.fromkeys(outside, OUTSIDE)


def read_vector_pairs(task: RetrievalTask, path: Path) -> dict[str, Imported]:
    """Predictions by id from an .npz of `ids` [N], `video` [N, D] and `text` [N, D]. Raises DataError."""
    refuse_bombs(path)
    ids, video, text = read_arrays(path, ARRAYS, "")
    if ids.ndim != 1 or video.ndim != 2 or not video.shape[1] or video.shape != text.shape or len(ids) != len(video):
        msg = f"{path}: ids {ids.shape}, video {video.shape} and text {text.shape} must be [N] and twice [N, D]"
        raise DataError(msg)
    if not all(np.issubdtype(vectors.dtype, np.number) and np.isrealobj(vectors) for vectors in (video, text)):
        raise DataError(f"{path}: video ({video.dtype}) and text ({text.dtype}) must be real numbers")
    names = [unicode_only(str(name)) for name in ids]
    known, outside = of_pool(path, task.items(), names)
    rows = {name: i for i, name in enumerate(names) if name in known}
    found: dict[str, Imported] = dict.fromkeys(outside, OUTSIDE)
    return found | {
        name: Prediction(name, None, rule="vectors", vectors=checked_vectors(name, video[i], text[i]))
        for name, i in rows.items()
    }


def refuse_bombs(path: Path) -> None:
    """Raise DataError for an .npz with an array that a few of its bytes would blow up: vectors hardly compress."""
    if not is_file(path) or not zipfile.is_zipfile(path):
        return
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is not an .npz file of {', '.join(ARRAYS)} ({error})") from error
    with archive:
        for info in archive.infolist():
            if unpacks_too_far(info.file_size, info.compress_size):
                msg = f"{path}: {info.compress_size} bytes of {info.filename} would unpack to {info.file_size}"
                raise DataError(msg)


def of_pool(path: Path, items: Sequence[Item], ids: Sequence[str]) -> tuple[set[str], list[str]]:
    """The ids that the task has, and the others. Raises DataError for one of the task's that is repeated, or none."""
    known = {item.id for item in items}
    outside = [key for key in ids if key not in known]
    if len(outside) == len(ids):
        raise DataError(refusal(path, "unknown ids and no known one", outside))
    repeated = sorted(key for key, times in Counter(ids).items() if times > 1 and key in known)
    if repeated:
        raise DataError(refusal(path, "repeated ids", repeated))
    return known.intersection(ids), outside


def refusal(path: Path, what: str, keys: Sequence[str]) -> str:
    """Why a file is refused, with the first of the ids at fault."""
    more = " …" * (len(keys) > IDS_SHOWN)
    return f"predictions file {path} is refused: {len(keys)} {what}: {', '.join(keys[:IDS_SHOWN])}{more}"


def import_free(task: Task[Any], run: Run, folder: Path, predictions: Mapping[str, Imported]) -> Results:
    """Write the record of imported texts or vectors."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        now, run = run.provenance, claim(folder, run)
        kept = beginning(folder, task.items()).kept
        missing = [item for item in task.items() if item.id not in kept]
        if missing:
            run, stretch = taken_up(folder, run, now)
            with VectorLog(folder, kept) as vector_log, SampleLog(folder, vector_log.sync) as log:
                sync_folder(folder)
                rows = [imported(task, item, predictions.get(item.id), vector_log) for item in missing]
                log.append(*(row.model_copy(update={"stretch": stretch}) for row in rows))
        return write_results(task, run, folder)


def imported(task: Task[Any], item: Item, answer: Imported | None, vectors: VectorLog) -> Sample:
    """The row of an imported answer, or of one that the file leaves out."""
    if not isinstance(answer, Prediction):
        left_out = answer or ErrorRow(kind="NotImported", message=LEFT_OUT)
        return Sample(id=item.id, cluster=item.cluster, labels=labels_of(item), error=left_out)
    sample = answered_sample(task, item, answer)
    told = sample.model_copy(update={"seconds": {}, "peak_memory_bytes": None})
    return with_vectors(told, answer.vectors, vectors)
