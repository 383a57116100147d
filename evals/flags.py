"""`longvid flags RUN…`: find the questions that models answer correctly without the video, and score without those.

The rule is our choice: a question is flagged if every run answers it correctly, in all rotations if there are any.
Random guesses are flagged too; the file says how many to expect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Annotated, Literal

import typer

from evals import console
from evals.compare.record import Record, read_record
from evals.figures import Group, ItemFigures, group, item_figures
from evals.record import Results, Row, changed_by_hand, read_content, seal_of, validated
from evals.store import read_samples
from tasks.durable import write_atomic
from tasks.errors import RecordError
from tasks.multiple_choice import question_id
from tasks.registry import System, split_variant
from tasks.resources import file_or_shipped, resource
from tasks.task import Metric

NEEDS, GUESSABLE = "needs the video", "answered without it"
NEED = "does it need the video?"
"""The kind of label under which pages break a figure down by flags."""
NEEDS_FIGURE = "needs_the_video"
"""Name of the primary figure on the questions that need the video, in tables that also have the one on all."""
SHIPPED = resource("evals", "flag_files")
"""Files of flags by pool and model; they hold ids of questions and nothing else of a benchmark."""


class BlindRun(Row):
    """A blind run that the flags were made from."""

    name: str
    model: str
    options: dict[str, str]
    route: str
    rotations: int
    right: int
    fingerprint: str


class Flags(Row):
    """A file of flags; `by_luck` is the number of questions that uniformly random guesses are expected to flag."""

    schema_version: Literal[1] = 1
    task: str
    questions: int
    by_luck: float
    runs: tuple[BlindRun, ...]
    guessable: tuple[str, ...]
    longvid: str
    sha256: str | None = None


def read_flags(given: Path) -> Flags:
    """Read a file of flags, or a shipped one by its name.

    Raises DataError if there is no such file, RecordError if it is not of flags or was changed by hand.
    """
    path = file_or_shipped(given, SHIPPED, "file of flags", ".json")
    content = read_content(path)
    found = validated(path, content, Flags)
    if changed := changed_by_hand(content):
        raise RecordError(f"{path} was changed by hand ({changed}): make it again with 'longvid flags'")
    return found


def write_flags(flags: Flags, path: Path) -> None:
    """Write the flags with the digest of their content."""
    content = flags.model_dump(mode="json", exclude={"sha256"})
    sealed = flags.model_copy(update={"sha256": seal_of(content)})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, sealed.model_dump_json(indent=2) + "\n")


def flags(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Runs of one benchmark that saw no video.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file of flags to write.")],
) -> None:
    """List the questions that all of these blind runs answer correctly; 'longvid report --flags' leaves them out."""
    made = make_flags([read_record(folder) for folder in runs])
    write_flags(made, out)
    count = len(made.guessable)
    console.say(
        f"{count:,} of {made.questions:,} questions of {made.task} are answered correctly by all {len(made.runs)} "
        f"blind runs; {made.by_luck:.1f} would be expected by luck alone"
    )
    console.say(f"flags: {out}\nnext: longvid report RUN --flags {out}")


def make_flags(records: Sequence[Record]) -> Flags:
    """Make flags from at least two blind runs. Raises RecordError for runs that saw a video or have other questions."""
    if len({record.folder.resolve() for record in records}) < max(2, len(records)):
        raise RecordError("flags need two or more different blind runs: with one alone too many are right by luck")
    answers = [right_by_question(record) for record in records]
    tasks = {split_variant(record.run.task.name)[0] for record in records}
    if len(tasks) > 1:
        raise RecordError(f"flags need runs of one benchmark; these runs are of {', '.join(sorted(tasks))}")
    first, *others = answers
    for record, other in zip(records[1:], others, strict=True):
        if other.keys() != first.keys():
            raise RecordError(f"{record.folder} answers different questions from {records[0].folder}")
    chances = [luck_by_question(record) for record in records]
    return Flags(
        task=tasks.pop(),
        questions=len(first),
        by_luck=sum(prod(chance[key] for chance in chances) for key in first),
        runs=tuple(
            BlindRun(
                name=record.name,
                model=record.run.model.name,
                options=record.run.model.effective or record.run.model.options,
                route=record.run.protocol.get("route", "unknown"),
                rotations=int(record.run.protocol.get("rotations", 1)),
                right=sum(right.values()),
                fingerprint=record.run.fingerprint(),
            )
            for record, right in zip(records, answers, strict=True)
        ),
        guessable=tuple(key for key in sorted(first) if all(right[key] for right in answers)),
        longvid=version("longvid"),
    )


def right_by_question(record: Record) -> dict[str, bool]:
    """Return by question whether a blind run answers it correctly in all rotations.

    Raises RecordError for a run that is incomplete, saw the video, is not of multiple choice, or lacks public answers.
    """
    run = record.run
    if run.task.family != "multiple-choice":
        raise RecordError(f"{record.folder} is a run of {run.task.name}: flags are for multiple choice")
    if run.model.system != System.TEXT:
        raise RecordError(
            f"{record.folder}: its model is of the kind '{run.model.system or 'not declared'}', not '{System.TEXT}': "
            "flags are made from runs that see no video, such as those of -m blind"
        )
    if record.results is None or record.results.status != "complete":
        raise RecordError(f"{record.folder} is not complete: finish the run first")
    right: dict[str, bool] = {}
    for key, sample in record.samples.items():
        value = sample.scores.get("accuracy")
        if value is None:
            raise RecordError(f"{record.folder}: the right answer to '{key}' is not public")
        right[question_id(key)] = right.get(question_id(key), True) and value == 1
    return right


def luck_by_question(record: Record) -> dict[str, float]:
    """Return the probability that random answers are right in all rotations of each question, from the mean chance."""
    luck: dict[str, float] = {}
    chance = record.run.task.chance
    for key in record.samples:
        luck[question_id(key)] = luck.get(question_id(key), 1.0) * chance
    return luck


def by_need(folder: Path, task_name: str, made: Flags) -> tuple[ItemFigures, list[Group]]:
    """Return a run's scores, and its figure on the questions that need the video and on those answered without it.

    Raises RecordError if the flags are of another benchmark or lack questions of the run.
    """
    from evals.store import read_run, read_vectors

    if split_variant(task_name)[0] != made.task:
        raise RecordError(f"the flags are of {made.task}, {folder} is a run of {task_name}")
    samples = read_samples(folder)
    figures = item_figures(read_run(folder).task, samples, read_vectors(folder, samples))
    if figures is None:
        raise RecordError(f"{folder} has no scores of single questions")
    named = need_labels(list(figures.values), made)
    members: dict[str, list[str]] = {}
    for key, label in named.items():
        members.setdefault(label, []).append(key)
    return figures, [group(name, members[name], figures, samples) for name in (NEEDS, GUESSABLE) if name in members]


def flags_of(task_name: str, given: Sequence[Flags]) -> Flags | None:
    """Return the flags of a task's benchmark and pool; None if none are given for it."""
    told = split_variant(task_name)[0]
    return next((made for made in given if made.task == told), None)


def needs_metric(folder: Path, results: Results, made: Flags) -> Metric:
    """Return a run's primary figure on the questions that need the video. Raises RecordError as `by_need` does."""
    figures, groups = by_need(folder, results.task.name, made)
    found = next((part for part in groups if part.label == NEEDS), None)
    return Metric(
        NEEDS_FIGURE,
        found.value if found else None,
        found.interval if found else None,
        results.primary.level,
        f"{figures.name} of questions that {len(made.runs)} blind runs do not all answer",
        found.n if found else 0,
        found.clusters if found else 0,
        primary=False,
        higher_is_better=results.primary.higher_is_better,
    )


def need_labels(ids: Sequence[str], made: Flags) -> Mapping[str, str]:
    """Return a label for each item, by id: whether it needs the video."""
    known = set(made.guessable)
    return {key: GUESSABLE if question_id(key) in known else NEEDS for key in ids}
