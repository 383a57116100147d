"""A split on disk: videos, and annotations in the formats of YouCook2 and EgoSchema.

`annotations.json` reads like YouCook2's file, `questions.json`, `subset_answers.json` and `uid_to_video.json` like
EgoSchema's, `SHA256SUMS` like that of `sha256sum`. A video is in `SHA256SUMS` only if it is complete, so an
interrupted run resumes, and a damaged file is made again.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from tasks.digests import file_sha256
from tasks.durable import write_atomic
from tasks.errors import DataError
from tasks.files import read_text, text_lines
from tasks.kitchen.benchmark import ALL, LONGER, SPLIT, training_plans
from tasks.kitchen.plan import Plan, make_plan
from tasks.kitchen.render import write_video
from tasks.kitchen.texts import dish, questions, steps, texts
from tasks.kitchen.world import DEFAULT, WorldConfig
from tasks.machine import usable_cores
from tasks.task import JsonValue
from tasks.video_files import VIDEOS

ANNOTATIONS = "annotations.json"
SUMS = "SHA256SUMS"
WorkT = TypeVar("WorkT")
MadeT = TypeVar("MadeT")
SUBSETS = {"train": "training", "val": "validation", "test": "testing"}


@dataclass(frozen=True, slots=True)
class Made:
    """A video that is now in place, and whether it had to be made."""

    path: Path
    new: bool


def generate(folder: Path, videos: Sequence[int] = ALL, config: WorldConfig = DEFAULT) -> Iterator[Made]:
    """Write the annotations of the whole test split into `folder`, and make `videos` by index.

    Raises DataError if the folder holds annotations of another world; nothing is overwritten.
    """
    if unknown := [video for video in videos if video not in ALL]:
        msg = f"the test split of kitchen has {len(ALL)} videos to make, from 0 on, and none at {unknown[0]}"
        raise DataError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    plans = [make_plan(SPLIT, index, config) for index in ALL]
    for name, content in annotation_files(plans).items():
        write_once(folder / name, json.dumps(content, indent=1) + "\n")
    yield from make_videos(folder, [plans[video] for video in videos])


generate_5min, generate_10min, generate_20min = (partial(generate, config=config) for config in LONGER.values())


def make_videos(folder: Path, plans: Sequence[Plan]) -> Iterator[Made]:
    """Make the missing or damaged videos of a folder, one per core at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    known = read_sums(folder / SUMS)
    names = {plan: f"{VIDEOS}/{plan.id}.mp4" for plan in plans}
    missing = {plan for plan, name in names.items() if not is_whole(folder / name, known.get(name))}
    written = side_by_side(write_to, [(plan, folder / name) for plan, name in names.items() if plan in missing])
    for plan, name in names.items():
        if plan in missing:
            known[name] = file_sha256(next(written))
            write_sums(folder / SUMS, known)
        yield Made(folder / name, plan in missing)


def is_whole(path: Path, digest: str | None) -> bool:
    """Whether a file exists and matches its digest."""
    return path.is_file() and digest is not None and file_sha256(path) == digest


def side_by_side(work: Callable[[WorkT], MadeT], todo: Sequence[WorkT]) -> Iterator[MadeT]:
    """Yield what `work` makes of each thing, in order, in a process per core; an interrupt leaves the rest undone."""
    workers = min(len(todo), usable_cores())
    if workers < 2:
        yield from map(work, todo)
        return
    # Spawned, not forked: a process that has decoded or computed may hold locks on which a fork would wait.
    # Interrupts are handled by the parent; a worker finishes its video.
    quiet = (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), signal.signal, quiet)
    try:
        yield from pool.map(work, todo)
    finally:
        pool.shutdown(cancel_futures=True)


def write_to(work: tuple[Plan, Path]) -> Path:
    """Write a video and say where."""
    write_video(*work)
    return work[1]


def write_split(path: Path, split: str, videos: int) -> None:
    """Write the annotations of a split's first `videos` videos alone, in the format of YouCook2's file."""
    database = {plan.id: database_row(plan) for plan in (make_plan(split, index) for index in range(videos))}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_once(path, json.dumps({"database": database}, indent=1) + "\n")


def annotation_files(plans: Sequence[Plan]) -> dict[str, JsonValue]:
    """Return the annotation files by name, as JSON values."""
    asked = [(plan, question) for plan in plans for question in questions(plan)]
    rows: list[JsonValue] = []
    for _, question in asked:
        options = {f"option {number}": text for number, text in enumerate(texts(question.options))}
        rows.append({"q_uid": question.id, "kind": question.kind, "question": question.text, **options})
    database = {plan.id: database_row(plan) for plan in (*training_plans(), *plans)}
    return {
        ANNOTATIONS: {"database": database},
        "questions.json": rows,
        "subset_answers.json": {question.id: question.answer for _, question in asked},
        "uid_to_video.json": {
            question.id: {"video_uid": plan.id, "starting_sec": 0.0, "ending_sec": plan.duration, "family": plan.family}
            for plan, question in asked
        },
    }


def database_row(plan: Plan) -> dict[str, JsonValue]:
    """Return a video in the format of YouCook2's annotation file; texts of training videos are included for floors."""
    return {
        "subset": SUBSETS[plan.split],
        "duration": plan.duration,
        "recipe_type": dish(plan),
        "annotations": [
            {"segment": [step.start, step.end], "id": number, "sentence": step.sentence}
            for number, step in enumerate(steps(plan))
        ],
    }


def write_once(path: Path, content: str) -> None:
    """Write a text file, or check that an existing one is the same. Raises DataError if it differs."""
    if path.is_file():
        if read_text(path, "") != content:
            msg = f"{path} belongs to another version of kitchen; move {path.parent} away and prepare again"
            raise DataError(msg)
        return
    write_atomic(path, content)


def read_sums(path: Path) -> dict[str, str]:
    """Read digests by file name; empty if there is no file. Raises DataError naming an invalid line."""
    known = {}
    lines = text_lines(read_text(path, "")) if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        digest, gap, name = line.partition("  ")
        if not gap or len(digest) != 64:
            msg = f"{path}, line {number} is not a digest with a file name; delete the file and prepare again"
            raise DataError(msg)
        known[name] = digest
    return known


def write_sums(path: Path, known: dict[str, str]) -> None:
    """Write all digests atomically."""
    write_atomic(path, "".join(f"{digest}  {name}\n" for name, digest in known.items()))
