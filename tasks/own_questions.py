"""Multiple-choice questions of one's own, as JSON lines beside the videos.

`{"video": PATH, "question": …, "options": [two or more, as many in every line], "answer": INDEX from 0}` with, where
wanted, `"id"`, `"start"` and `"end"` in seconds and `"cluster"` (by default the video). Nothing is coerced: an answer
is a whole number, an option a text, an id a text or a whole number. The path is relative to the
videos' folder, and the video's id; a model that reads captions needs no video there, only the question's `end`. The
digest of the questions is part of the task's name, so that different files never share a table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, NotRequired

from annotated_types import MinLen
from typing_extensions import TypedDict

from tasks.answer_parser import MAX_OPTIONS
from tasks.errors import DataError
from tasks.files import Seconds, is_file, read_rows, unicode_only
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


class Row(TypedDict):
    """A line of the file."""

    video: Annotated[str, MinLen(1)]
    question: str
    options: Annotated[list[str], MinLen(2)]
    answer: NotRequired[int | None]
    id: NotRequired[str | int]
    cluster: NotRequired[str | int]
    start: NotRequired[Seconds]
    end: NotRequired[Seconds]


def load_own_questions(
    path: Path, videos: Path, seconds_of: Callable[[Path], float], route: str | None = None
) -> MultipleChoiceTask:
    """The task of a file about videos of a folder; `seconds_of` gives a video's length, or raises its own error.

    With a `route` that names options by letters, more options than there are letters are refused. Raises DataError
    naming the line and the field at fault.
    """
    items: list[ChoiceItem] = []
    lines: dict[str, int] = {}
    # Many questions are about few videos, and each is looked for and opened once.
    find, seconds = cache(is_file), cache(seconds_of)
    for number, row in read_rows(path, Row, "questions file"):
        try:
            item = question(row, number, clip_of(row, videos / row["video"], find, seconds), route)
        except DataError as error:
            raise DataError(f"questions file {path}, line {number}: {error}") from error
        if (first := lines.setdefault(item.id, number)) != number:
            msg = f"questions file {path}, line {number}: the id '{item.id}' is used twice, first in line {first}"
            raise DataError(msg)
        items.append(item)
    sizes = {len(item.options) for item in items}
    if len(sizes) > 1:
        msg = f"questions file {path}: every question needs as many options as the others, not {sorted(sizes)}"
        raise DataError(msg)
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
        source=unicode_only(path.name),
        licence="the file's owner's",
        citation="none",
    )


def question(row: Row, number: int, clip: Clip, route: str | None = None) -> ChoiceItem:
    """The question in a line of the file. Raises DataError."""
    answer, options = row.get("answer"), tuple(row["options"])
    if route in LETTER_ROUTES and len(options) > MAX_OPTIONS:
        raise DataError(f"{len(options)} options, but {TOO_MANY_FOR_LETTERS}")
    if answer is not None and not 0 <= answer < len(options):
        raise DataError(f"answer {answer} is not the index of an option, 0 to {len(options) - 1}")
    return ChoiceItem(
        id=str(row.get("id", f"q{number}")),
        cluster=str(row.get("cluster", row["video"])),
        clip=clip,
        question=row["question"],
        options=options,
        answer=answer,
    )


def clip_of(row: Row, path: Path, find: Callable[[Path], bool], seconds_of: Callable[[Path], float]) -> Clip:
    """The stretch of the video that is asked about: all of it, unless the row says otherwise. Raises DataError."""
    there = find(path)
    if "end" not in row and not there:
        raise DataError(f"there is no video {path}; put it there, or give the question's end in seconds")
    start = float(row.get("start", 0.0))
    end = float(row["end"]) if "end" in row else seconds_of(path)
    if not 0 <= start < end:
        raise DataError(f"the clip must begin before it ends, not {start:g} to {end:g} s")
    return Clip(row["video"], start, end, path if there else None)
