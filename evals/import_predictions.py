"""Predictions made elsewhere become a record, scored by the same code as our own."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.record import FramesRow, Results, Run, Sample
from evals.runner import claim, taken_up, write_results
from evals.store import SampleLog, locked, read_samples
from tasks.errors import DataError
from tasks.labels import labels_of
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask
from tasks.task import Prediction

IDS_SHOWN = 5
DIGITS_READ = 9
ID_FIELDS = ("q_uid", "id", "item_id")
ANSWER_FIELDS = ("answer", "prediction", "pred")


@dataclass(frozen=True, slots=True)
class Imported:
    """One line of a predictions file, unchecked: the answer as written and, where given, a count of frames."""

    id: str
    answer: object
    frames: int | None = None


def read_predictions(path: Path) -> list[Imported]:
    """Read JSON (`{id: answer}`, `{id: {"answer": …}}` or a list of rows) or CSV with a header.

    Repeated ids are kept, so that the check can name them. Raises DataError naming the file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"predictions file {path} can't be read ({error})"
        raise DataError(msg) from error
    if path.suffix.lower() == ".csv":
        return [from_row(path, row) for row in csv_rows(path, text)]
    try:
        content = json.loads(text, object_pairs_hook=Pairs)
    except ValueError as error:
        msg = f"predictions file {path} is not valid JSON ({error})"
        raise DataError(msg) from error
    if isinstance(content, Pairs):
        return [
            from_row(path, {**dict(value), "id": key}) if isinstance(value, Pairs) else Imported(key, value)
            for key, value in content
        ]
    if isinstance(content, list):
        return [from_row(path, dict(row) if isinstance(row, Pairs) else {}) for row in content]
    msg = f"predictions file {path} must hold an object of ids to answers or a list of rows"
    raise DataError(msg)


def csv_rows(path: Path, text: str) -> list[Mapping[str, Any]]:
    """The rows of a CSV file with a header. Raises DataError naming the file."""
    try:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        msg = f"predictions file {path} is not valid CSV ({error})"
        raise DataError(msg) from error


class Pairs(list[tuple[str, Any]]):
    """A JSON object with its repeated keys still there."""


def from_row(path: Path, row: Mapping[str, Any]) -> Imported:
    """A row with an id field and an answer field; `count_frame` is kept where there."""
    key = next((str(row[name]) for name in ID_FIELDS if row.get(name) is not None), None)
    answer = next((row[name] for name in ANSWER_FIELDS if name in row), None)
    if key is None or answer is None:
        msg = f"predictions file {path}: a row lacks an id ({', '.join(ID_FIELDS)}) or an answer: {dict(row)}"
        raise DataError(msg)
    frames = row.get("count_frame")
    return Imported(key, answer, frames if isinstance(frames, int) else None)


def checked_answers(
    path: Path, predictions: Sequence[Imported], pool: Sequence[ChoiceItem], everything: Sequence[ChoiceItem]
) -> dict[str, tuple[int, int | None]]:
    """Answer index and frame count by id: exactly the pool's ids, or all the benchmark's.

    Raises DataError that names ids with answers out of range, repeated, unknown or missing.
    """
    options = {item.id: len(item.options) for item in everything}
    answers = {p.id: (index_of(p.answer), p.frames) for p in predictions}
    wanted = (
        set(options)
        if any(p.id in options.keys() - {i.id for i in pool} for p in predictions)
        else {item.id for item in pool}
    )
    faults = {
        "answers outside the options": [
            key for key, (index, _) in answers.items() if key in options and not in_range(index, options[key])
        ],
        "repeated ids": [key for key, times in Counter(p.id for p in predictions).items() if times > 1],
        "unknown ids": [key for key in answers if key not in options],
        "missing ids": sorted(wanted - answers.keys()),
    }
    found = [
        f"{len(ids)} {what}: {', '.join(ids[:IDS_SHOWN])}{' …' * (len(ids) > IDS_SHOWN)}"
        for what, ids in faults.items()
        if ids
    ]
    if found:
        msg = f"predictions file {path} is refused: {'; '.join(found)}"
        raise DataError(msg)
    return {key: (index, frames) for key, (index, frames) in answers.items() if index is not None}


def index_of(answer: object) -> int | None:
    """An option's index from 3, "3" or 3.0; None for anything else, booleans included."""
    if isinstance(answer, bool):
        return None
    if isinstance(answer, float) and answer.is_integer():
        return int(answer)
    if isinstance(answer, int):
        return answer
    text = str(answer).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS_READ else None


def in_range(index: int | None, options: int) -> bool:
    """Whether an index is one of the options."""
    return index is not None and 0 <= index < options


def import_run(
    task: MultipleChoiceTask, run: Run, folder: Path, answers: Mapping[str, tuple[int, int | None]]
) -> Results:
    """Write the record of imported answers."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        now, run = run.provenance, claim(folder, run)
        done = read_samples(folder)
        missing = [item for item in task.items() if item.id not in done]
        if missing:
            run, stretch = taken_up(folder, run, now)
            rows = (imported_sample(task, item, *answers[item.id]) for item in missing)
            with SampleLog(folder) as log:
                log.append(*(row.model_copy(update={"stretch": stretch}) for row in rows))
        return write_results(task, run, folder)


def imported_sample(task: MultipleChoiceTask, item: ChoiceItem, index: int, frames: int | None) -> Sample:
    """The row of an imported answer."""
    score = task.score(item, Prediction(item.id, index, str(index), "given"))
    return Sample(
        id=item.id,
        cluster=item.cluster,
        answer=index,
        raw=str(index),
        rule="given",
        scores=dict(score.values),
        frames=FramesRow(count=frames) if frames is not None else None,
        labels=labels_of(item),
    )
