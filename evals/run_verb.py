"""What the verb `run` does once the task is known: build the model, keep the record, show how far it is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evals import console

if TYPE_CHECKING:
    from evals.record import Results, Run, Sample
    from evals.runner import RunSettings
    from tasks.task import Task


@dataclass(frozen=True, slots=True)
class RunChoices:
    """What the command line says of a run beside its model."""

    out: Path | None = None
    name: str | None = None
    limit: int | None = None
    batch_size: int | None = None
    max_failures: int = 25
    retry_failed: bool = True
    seed: int = 0


def carry_out(task: Task[Any], model: str, options: Mapping[str, str], choices: RunChoices) -> tuple[Path, Results]:
    """Build the model and ask it every item; the run's folder and its results."""
    from tasks.registry import build_model, deciding, find_model

    built = build_model(model, options)
    return ask_model(task, built, model, deciding(model, options), choices, find_model(model).system)


def ask_model(
    task: Task[Any],
    built: object,
    model: str,
    options: Mapping[str, str],
    choices: RunChoices,
    system: str | None,
) -> tuple[Path, Results]:
    """Ask a model that is built every item; the run's folder and its results."""
    from evals.new_run import default_folder, describe_run
    from evals.preparing import prepare_model
    from evals.runner import RunSettings

    task.check(built)
    prepare_model(built, [item.clip for item in list(task.items())[: choices.limit]])
    name = choices.name or model
    record = describe_run(task, built, name, options, sys.argv, seed=choices.seed, limit=choices.limit, system=system)
    folder = choices.out or default_folder(record)
    record = record.model_copy(update={"name": choices.name or folder.resolve().name})
    settings = RunSettings(folder, choices.batch_size, choices.max_failures, choices.retry_failed)
    return folder, run_with_progress(task, built, record, settings)


def fail_without_answers(folder: Path, results: Results) -> None:
    """Exit code 1 where no item has an answer."""
    if results.status == "failed":
        console.fail(f"no item has an answer; the reasons are in {folder}/samples.jsonl")
        raise typer.Exit(1)


def run_with_progress(task: Task[Any], model: object, record: Run, settings: RunSettings) -> Results:
    """Run behind a progress bar; an interrupt leaves a partial record and exit code 130."""
    from evals.runner import run_task
    from evals.store import read_samples

    done = read_samples(settings.out) if settings.out.is_dir() else {}
    total = min(len(task.items()), record.limit or len(task.items()))
    finished = sum(sample.error is None for sample in done.values())
    if finished:
        console.say(f"resuming {settings.out}: {finished} of {total} items are done")
    values = [v for sample in done.values() if (v := sample.scores.get(task.info.primary_metric)) is not None]
    try:
        with console.progress(task.info.name, total, finished) as tick:

            def on_sample(sample: Sample) -> None:
                value = sample.scores.get(task.info.primary_metric)
                if value is not None:
                    values.append(value)
                mean = f"{task.info.primary_metric} {sum(values) / len(values):.3f}" if values else ""
                tick(f"failed: {sample.id}: {sample.error.message}" if sample.error else mean)

            return run_task(task, model, record, settings, on_sample)
    except KeyboardInterrupt:
        console.fail(f"interrupted; the finished items are in {settings.out}, and the same command resumes there")
        raise typer.Exit(130) from None
