"""Carry out the verb `run` once the task is known: build the model, keep the record, show progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evals import console
from tasks.errors import RecordError

if TYPE_CHECKING:
    from evals.record import Place, Results, Run, Sample
    from evals.runner import Beginning, RunSettings
    from tasks.task import Task


@dataclass(frozen=True, slots=True)
class RunChoices:
    """A run's options on the command line besides the model; `place` is the location of a user's own benchmark."""

    out: Path | None = None
    name: str | None = None
    limit: int | None = None
    batch_size: int | None = None
    max_failures: int = 25
    retry_failed: bool = True
    seed: int = 0
    place: Place | None = None


def carry_out(task: Task[Any], model: str, options: Mapping[str, str], choices: RunChoices) -> tuple[Path, Results]:
    """Build the model and ask it every item; return the run's folder and its results."""
    from evals.preparing import warn_of_kitchen
    from tasks.registry import build_model, deciding, effective, find_model

    with console.working(f"loading {model}"):
        built = build_model(model, options)
    given, system = deciding(model, options), find_model(model).system
    warn = partial(warn_of_kitchen, options, [item.clip.video_id for item in task.items()])
    return ask_model(task, built, model, given, choices, system, effective(model, options), warn)


def ask_model(
    task: Task[Any],
    built: object,
    model: str,
    options: Mapping[str, str],
    choices: RunChoices,
    system: str | None = None,
    effective: Mapping[str, str] | None = None,
    before: Callable[[], None] = lambda: None,
) -> tuple[Path, Results]:
    """Ask a built model every item; return the run's folder and its results.

    `before` is called once it is known that the model can be asked: no warning stands before an error.
    """
    from evals.new_run import default_folder, describe_run
    from evals.preparing import prepare_model, require_videos
    from evals.runner import RunSettings

    task.check(built)
    require_videos(task, built, system, choices.limit)
    before()
    prepare_model(built, [item.clip for item in list(task.items())[: choices.limit]])
    name = choices.name or model
    record = describe_run(
        task,
        built,
        name,
        options,
        sys.argv,
        seed=choices.seed,
        limit=choices.limit,
        system=system,
        effective=effective,
        place=choices.place,
    )
    folder = choices.out or default_folder(record)
    record = record.model_copy(update={"name": choices.name or folder.resolve().name})
    settings = RunSettings(folder, choices.batch_size, choices.max_failures, choices.retry_failed)
    return folder, run_with_progress(task, built, record, settings)


def fail_without_answers(folder: Path, results: Results) -> None:
    """Exit with 1 if an item failed, so that a script does not take a partial run for a complete one."""
    if results.status == "failed":
        console.fail(f"no item has an answer; the reasons are in {folder}/samples.jsonl")
        raise typer.Exit(1)
    if results.counts.failed:
        console.fail(
            f"{results.counts.failed} of {results.counts.asked} items failed; the reasons are in "
            f"{folder}/samples.jsonl, and the same command tries them again"
        )
        raise typer.Exit(1)


class Progress:
    """The progress bar of a run: it appears once the folder is read, and shows the mean so far."""

    def __init__(self, task: Task[Any], folder: Path, bar: ExitStack) -> None:
        from tasks.registry import family_of

        self._label, self._metric = task.info.name, task.info.primary_metric
        # A mean over the items so far is not a mean over groups, so it has the name of the items' own score.
        self._of_items = family_of(task.info.family).item_score
        self._folder = folder
        self._bar = bar
        self._sum, self._count = 0.0, 0
        self._left = 0
        self._tick: console.Ticker | None = None

    def begin(self, found: Beginning) -> None:
        """Print what is already done, and which answers no longer count."""
        finished = sum(sample.error is None for sample in found.kept.values())
        for sample in found.kept.values():
            self._add(sample)
        if found.kept or found.stale:
            console.say(f"resuming {self._folder}: {finished} of {found.asked} items are done")
        if found.stale:
            key, why = next(iter(found.stale.items()))
            console.warn(f"{len(found.stale)} items are asked again; the first, {key}: {why}")
        self._left = found.asked - finished
        self._tick = self._bar.enter_context(console.progress(self._label, found.asked, finished))

    def show(self, sample: Sample) -> None:
        """Count one more row."""
        self._add(sample)
        name = self._of_items if self._of_items in sample.scores else self._metric
        mean = f"{name} {self._sum / self._count:.3f}" if self._count else ""
        if self._tick is not None:
            self._tick(f"failed: {sample.id}: {sample.error.message}" if sample.error else mean)
        self._left -= 1
        if not self._left:
            self._bar.enter_context(console.working("scoring"))

    def _add(self, sample: Sample) -> None:
        value = sample.scores.get(self._metric)
        if value is not None:
            self._sum += value
            self._count += 1


def run_with_progress(task: Task[Any], model: object, record: Run, settings: RunSettings) -> Results:
    """Run behind a progress bar; an interrupt leaves a partial record and exits with 130."""
    from evals.runner import run_task

    try:
        with saying_what_is_kept(settings.out), ExitStack() as bar:
            progress = Progress(task, settings.out, bar)
            return run_task(task, model, record, settings, progress.show, progress.begin)
    except KeyboardInterrupt:
        console.fail(f"interrupted; the finished items are in {settings.out}, and the same command resumes there")
        raise typer.Exit(130) from None


@contextmanager
def saying_what_is_kept(folder: Path) -> Iterator[None]:
    """Turn errors of writing to a run's folder into a RecordError that says what is left: a full disk names no file."""
    try:
        yield
    except OSError as error:
        raise RecordError(f"{error.filename or folder}: {error.strerror or error}; {kept_in(folder)}") from error


def kept_in(folder: Path) -> str:
    """Say what is left of a run whose files could no longer be written."""
    from evals.store import RUN, SAMPLES

    if (folder / SAMPLES).is_file():
        return f"what was already recorded is kept in {folder}"
    if (folder / RUN).is_file():
        return f"{folder / SAMPLES} no longer exists, and no answer is kept"
    return "no run can be kept there; choose another --out"
