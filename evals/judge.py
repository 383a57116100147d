"""`longvid judge RUN --judge llm=…`: have a language model judge a finished run's free answers, as a separate run.

The judge's replies are the new record's raw outputs. The same command resumes and parses them again with the current
rules; with other labels, only the agreement is computed again.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer
from typing_extensions import TypedDict

from evals import console
from evals.benchmark_app import DATA, VIDEOS
from tasks.digests import text_sha256
from tasks.errors import DataError, RecordError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evals.record import Results, Run
    from tasks.judged_answers import JudgedItem, JudgedTask
    from tasks.task import TaskInfo


class LabelRow(TypedDict):
    """A line of a labels file: whether people judge the run's answer to a question to be right."""

    id: str
    right: bool


def judge(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A complete run of questions with free-text answers.")],
    judge: Annotated[
        list[str],
        typer.Option("--judge", metavar="KEY=VALUE", help="The judge: llm=…, and its other options."),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run directory; default: next to the run.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help='Human verdicts on the answers, as JSON lines {"id": …, "right": true}.')
    ] = None,
    data: DATA = None,
    videos: VIDEOS = None,
) -> None:
    """Have a language model judge a run's free-text answers, and measure how far it agrees with human labels.

    The result carries the judge's name and is never in one table with another judge's.
    """
    from baselines.judge import build_judge
    from tasks.registry import parse_options

    options = parse_options(judge)
    asked = judged_answers(run, labels, data, videos)
    with console.working("loading the judge"):
        built = build_judge(options)
    folder, results = judge_answers(asked, built, out)
    show(folder, results)


@dataclass(frozen=True, slots=True)
class AnswersToJudge:
    """A complete run's free-text answers to questions with known answers; `right` holds human verdicts by item id."""

    folder: Path
    run: Run
    info: TaskInfo
    items: tuple[JudgedItem, ...]
    right: Mapping[str, bool]


def judge_run(
    folder: Path,
    built: object,
    *,
    out: Path | None = None,
    labels: Path | None = None,
    data: Path | None = None,
    videos: Path | None = None,
) -> tuple[Path, Results]:
    """Have a loaded model judge a run's answers. Return the new run's folder and results.

    Raises RecordError for a run that is not complete or has no free-text answers, DataError for faulty labels or if no
    question has known answers.
    """
    return judge_answers(judged_answers(folder, labels, data, videos), built, out)


def judge_answers(asked: AnswersToJudge, built: object, out: Path | None) -> tuple[Path, Results]:
    """Have a loaded model judge answers. Return the new run's folder and results."""
    from evals.run_verb import run_with_progress
    from evals.runner import RunSettings

    task = judged_task(asked, built)
    place = out or asked.folder.with_name(f"{asked.folder.name}-judged-{task.judge.slug}")
    return place, run_with_progress(task, built, judged_record(asked.run, task), RunSettings(place))


def judged_answers(folder: Path, labels: Path | None, data: Path | None, videos: Path | None) -> AnswersToJudge:
    """Read what there is to judge, which needs no judge. Raises RecordError and DataError as `judge_run` does."""
    from evals.benchmarks import task_of_run
    from evals.store import read_results, read_run, read_samples
    from tasks.free_answers import FreeAnswerTask
    from tasks.judged_answers import judged_items

    run = read_run(folder)
    task = task_of_run(run, data, videos)
    if not isinstance(task, FreeAnswerTask):
        raise RecordError(f"{folder} is a run of {run.task.name}: only free-text answers can be judged")
    if (status := read_results(folder).status) != "complete":
        raise RecordError(f"{folder} is {status}: finish the run first")
    samples = read_samples(folder)
    replies = {
        item.id: None if samples[item.id].answer is None else str(samples[item.id].answer) for item in task.items()
    }
    items = judged_items(task.items(), replies)
    if not items:
        raise DataError(f"{run.task.name}: no question has known answers to judge against")
    right = read_labels(labels, {item.id for item in items}) if labels else {}
    return AnswersToJudge(folder, run, task.info, tuple(items), right)


def judged_task(asked: AnswersToJudge, built: object) -> JudgedTask:
    """Build the task of judging a run's answers with a loaded model."""
    from tasks.judged_answers import Judge, JudgedTask, judged_info, load_judge_prompt
    from tasks.model import Model, ModelInfo

    info = built.info if isinstance(built, Model) else ModelInfo(type(built).__name__)
    named = Judge(info.name, info.weights_sha256, load_judge_prompt())
    return JudgedTask(judged_info(asked.info, named, len(asked.items)), asked.items, named, asked.right)


def judged_record(run: Run, task: JudgedTask) -> Run:
    """Return the new run's record: that of the system that answered, with the judge and the replies in its protocol."""
    from evals.provenance import collect

    replies = json.dumps([[item.id, item.reply] for item in task.items()], ensure_ascii=False)
    protocol = {**run.protocol, **task.protocol(None), "replies_sha256": text_sha256(replies)}
    changes = {
        "task": task.info,
        "protocol": protocol,
        "limit": None,
        "provenance": collect(sys.argv),
        "resumed": (),
    }
    return run.model_copy(update=changes)


def read_labels(path: Path, known: set[str]) -> Mapping[str, bool]:
    """Read human verdicts by item id. Raises DataError naming the line for an unknown or repeated id."""
    from tasks.files import read_rows

    found: dict[str, bool] = {}
    for number, row in read_rows(path, LabelRow, "labels file"):
        where = f"labels file {path}, line {number}"
        if row["id"] not in known:
            raise DataError(f"{where}: no judged question has the id '{row['id']}'")
        if row["id"] in found:
            raise DataError(f"{where}: the id '{row['id']}' is used twice")
        found[row["id"]] = row["right"]
    return found


def show(folder: Path, results: Results) -> None:
    """Print the judge's agreement with the labels, then the figure, then the warnings."""
    from evals.benchmark_app import in_words

    figures = {metric.name: metric for metric in results.metrics}
    named = f"{results.protocol['judge']} ({results.protocol['judge_prompt']})"
    if (same := figures.get("judge_agreement")) and (kappa := figures.get("judge_kappa")):
        ends = "" if kappa.interval is None else f" ({' to '.join(f'{end:.2f}' for end in kappa.interval)})"
        value = "unknown" if kappa.value is None else f"{kappa.value:.2f}"
        console.say(f"{named} agrees with the labels in {in_words(same)}; Cohen's kappa {value}{ends}")
    console.say(f"{results.name}, judged by {named}: {in_words(results.primary)}")
    for warning in results.warnings:
        console.warn(warning)
    console.say(f"record: {folder}\nnext: longvid leaderboard {quote(console.path_text(folder.parent))}")
