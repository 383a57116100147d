"""Multiple-choice questions of one's own, as JSON lines beside the videos.

`{"video": PATH, "question": …, "options": [two or more, as many in every line], "answer": INDEX from 0}` with, where
wanted, `"id"`, `"start"` and `"end"` in seconds and `"cluster"` (by default the video). The path is relative to the
videos' folder, and the video's id; a model that reads captions needs no video there, only the question's `end`. The
digest of the questions is part of the task's name, so that different files never share a table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.answer_parser import MAX_OPTIONS
from tasks.errors import DataError
from tasks.multiple_choice import (
    LETTER_ROUTES,
    TOO_MANY_FOR_LETTERS,
    ChoiceItem,
    ChoicePrompts,
    MultipleChoiceTask,
    item_set_digest,
)
from tasks.task import Clip, TaskInfo

PREFIX = "own-"
PROMPTS = ChoicePrompts(
    similarity="own-similarity.v1", loglik="own-loglik.v1", letter="own-letter.v1", generate="own-generate.v1"
)


def load_own_questions(
    path: Path, videos: Path, seconds_of: Callable[[Path], float], route: str | None = None
) -> MultipleChoiceTask:
    """The task of a file about videos of a folder; `seconds_of` gives a video's length, or raises its own error.

    With a `route` that names options by letters, more options than there are letters are refused. Raises DataError
    naming the line at fault.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"questions file {path} can't be read ({error})"
        raise DataError(msg) from error
    items = [
        question(f"questions file {path}, line {number}", line, number, videos, seconds_of, route)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not items:
        msg = f"questions file {path} is empty"
        raise DataError(msg)
    sizes = {len(item.options) for item in items}
    if len(sizes) > 1:
        msg = f"questions file {path}: every question needs as many options as the others, not {sorted(sizes)}"
        raise DataError(msg)
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            msg = f"questions file {path}: id '{item.id}' stands there twice"
            raise DataError(msg)
        seen.add(item.id)
    return MultipleChoiceTask(task_info(path, items), items, PROMPTS)


def task_info(path: Path, items: list[ChoiceItem]) -> TaskInfo:
    """The task's description; its name holds the first letters of the questions' digest."""
    digest = item_set_digest(items)
    return TaskInfo(
        name=f"{PREFIX}{digest[:8]}@{len(items)}",
        family="multiple-choice",
        version="1",
        item_count=len(items),
        items_sha256=digest,
        primary_metric="accuracy",
        chance=1 / len(items[0].options),
        cluster="video",
        source=path.name,
        licence="the file's owner's",
        citation="none",
    )


def question(
    where: str, line: str, number: int, videos: Path, seconds_of: Callable[[Path], float], route: str | None = None
) -> ChoiceItem:
    """One line of the file. Raises DataError."""
    try:
        row: dict[str, Any] = json.loads(line)
        video, options = str(row["video"]), tuple(map(str, row["options"]))
        answer = None if row.get("answer") is None else int(row["answer"])
        item = ChoiceItem(
            id=str(row.get("id", f"q{number}")),
            cluster=str(row.get("cluster", video)),
            clip=clip_of(videos / video, row, where, seconds_of),
            question=str(row["question"]),
            options=options,
            answer=answer,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{where} must hold video, question, options and answer ({error!r})"
        raise DataError(msg) from error
    if isinstance(row["options"], str) or len(options) < 2:
        msg = f"{where}: options must be a list of at least two texts"
        raise DataError(msg)
    if route in LETTER_ROUTES and len(options) > MAX_OPTIONS:
        msg = f"{where}: {len(options)} options, but {TOO_MANY_FOR_LETTERS}"
        raise DataError(msg)
    if answer is not None and not 0 <= answer < len(options):
        msg = f"{where}: answer {answer} is not the index of an option, 0 to {len(options) - 1}"
        raise DataError(msg)
    return item


def clip_of(path: Path, row: Mapping[str, Any], where: str, seconds_of: Callable[[Path], float]) -> Clip:
    """The stretch of the video that is asked about: all of it, unless the row says otherwise."""
    there = path.is_file()
    if "end" not in row and not there:
        msg = f"{where}: there is no video {path}; put it there, or give the question's end in seconds"
        raise DataError(msg)
    start = float(row.get("start", 0.0))
    end = float(row["end"]) if "end" in row else seconds_of(path)
    if not 0 <= start < end:
        msg = f"{where}: the clip must begin before it ends, not {start:g} to {end:g} s"
        raise DataError(msg)
    return Clip(str(row["video"]), start, end, path if there else None)
