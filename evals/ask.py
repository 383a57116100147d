"""`longvid ask`: ask your own questions about your own videos; keeps a record as any run does."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals import console
from evals.benchmark_app import LIMIT, MODEL, OPTIONS, OUT, show_results
from evals.benchmarks import is_place, load_task, own_benchmark, place_of, seconds_of
from evals.run_verb import RunChoices, carry_out, fail_without_answers
from tasks.errors import DataError
from tasks.free_answers import FreeItem, free_question
from tasks.registry import parse_options, route_wanted
from tasks.task import Clip, Item

if TYPE_CHECKING:
    from evals.record import Results, Sample
    from tasks.task import Task

WIDTH = 80
SHOWN = 20
ASKED = "questions.jsonl"
"""The file in the run's folder that keeps a question given on the command line."""


def ask(
    questions: Annotated[
        str,
        typer.Argument(
            metavar="QUESTIONS|VIDEO",
            help='A file of JSON lines {"video", "question", "options", "answer"} or a folder with one; or a video.',
        ),
    ],
    model: MODEL,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUESTION [OPTION]…",
            help="For a video: the question and its options; without options the answer is free text.",
        ),
    ] = None,
    model_option: OPTIONS = None,
    videos: Annotated[Path | None, typer.Option(help="Where the videos are; default: beside the questions.")] = None,
    out: OUT = None,
    name: Annotated[str | None, typer.Option(help="The run's name in reports; default: its folder's.")] = None,
    limit: LIMIT = None,
    max_failures: Annotated[int, typer.Option(min=0, help="Stop after more failed items than this.")] = 25,
) -> None:
    """Ask a model your own questions about your own videos, and show its answers. The same command resumes."""
    options, place = parse_options(model_option or []), Path(questions)
    choices = RunChoices(out, name, limit, max_failures=max_failures)
    if words:
        ask_about_video(place, words, videos, model, options, choices)
        return
    if not is_place(place) and place.suffix.lower() != ".jsonl":
        there = "" if place.exists() else f"there is no file {place}; "
        raise DataError(
            f"{there}ask takes a file of questions that ends in .jsonl, a folder with one, or a video and a question: "
            f'longvid ask {questions} "What happens?" "this" "that" -m {model}'
        )
    with console.working(f"reading {place}"):
        task = task_of(place, videos, route_wanted(model, options))
    folder, results = carry_out(task, model, options, choices_with_place(choices, place, videos))
    show_results([folder], [results])
    show_answers(task, folder, limit)
    fail_without_answers(folder, results)


def task_of(place: Path, videos: Path | None, route: str | None) -> Task[Any]:
    """Load the task of a questions file or a folder. Raises DataError naming the line and the field at fault."""
    from tasks.folder import load_own_questions

    if place.is_dir():
        benchmark = own_benchmark(place, videos)
        return load_task(benchmark, benchmark.pools[0], None, to_ask=True)
    return load_own_questions(place, videos, seconds_of, route)


def choices_with_place(choices: RunChoices, place: Path, videos: Path | None) -> RunChoices:
    """Add to the choices where the questions are, for the record."""
    return replace(choices, place=place_of(own_benchmark(place, videos)))


def ask_about_video(
    video: Path,
    words: Sequence[str],
    videos: Path | None,
    model: str,
    options: Mapping[str, str],
    choices: RunChoices,
) -> None:
    """Ask the question given on the command line. Raises DataError, or ModelError if the model can't answer."""
    question, *given = words
    path = video if videos is None or video.is_absolute() else videos / video
    if video.suffix.lower() == ".jsonl":
        raise DataError(f"{video} already holds questions; a question on the command line needs a video")
    if not path.is_file():
        raise DataError(f"there is no video {path}")
    if len(given) == 1:
        raise DataError(f"give two options or more, not '{given[0]}' alone, or none at all for a free answer")
    folder, task, results = (ask_choice if given else ask_freely)(path, question, given, model, options, choices)
    show_answers(task, folder, None)
    console.say(f"record: {folder}\npage: longvid report {quote(str(folder))} --format html")
    fail_without_answers(folder, results)


def ask_choice(
    path: Path, question: str, given: Sequence[str], model: str, options: Mapping[str, str], choices: RunChoices
) -> tuple[Path, Task[Any], Results]:
    """Ask for one of the options; the question is kept beside the record, so that it can be scored and shown again."""
    from tempfile import TemporaryDirectory

    from evals.record import Place
    from evals.store import RUN, read_run, write_atomic, write_row
    from tasks.folder import load_own_questions

    row = json.dumps({"video": path.name, "question": question, "options": list(given)}, ensure_ascii=False) + "\n"
    with TemporaryDirectory() as passing:
        asked = Path(passing) / ASKED
        asked.write_text(row, encoding="utf-8")
        try:
            task = load_own_questions(asked, path.parent, seconds_of, route_wanted(model, options))
        except DataError as error:
            # The file is ours, and gone: the question was given on the command line.
            raise DataError(str(error).removeprefix(f"questions file {asked}, line 1: ")) from error
    folder, results = carry_out(task, model, options, choices)
    write_atomic(folder / ASKED, row)
    place = Place(path=str((folder / ASKED).resolve()), videos=str(path.parent.resolve()))
    write_row(folder / RUN, read_run(folder).model_copy(update={"place": place}))
    return folder, task, results


def ask_freely(
    path: Path,
    question: str,
    given: Sequence[str],  # noqa: ARG001 - there are none
    model: str,
    options: Mapping[str, str],
    choices: RunChoices,
) -> tuple[Path, Task[Any], Results]:
    """Ask for an answer in the model's own words."""
    task = free_question(FreeItem("q1", path.name, Clip(path.name, 0.0, seconds_of(path), path), question))
    folder, results = carry_out(task, model, options, choices)
    return folder, task, results


def show_answers(task: Task[Any], folder: Path, limit: int | None) -> None:
    """Print questions with their answers in lines of 80 columns: the first few, and where to find the others."""
    from evals.store import read_samples

    samples = read_samples(folder)
    asked = [item for item in list(task.items())[:limit] if item.id in samples]
    for item in asked[:SHOWN]:
        for line in answer_lines(item, samples[item.id]):
            console.say(line)
    if len(asked) > SHOWN:
        console.say(f"… and {len(asked) - SHOWN} more in {folder}/samples.jsonl")
        console.say(f"all of them on a page: longvid report {quote(str(folder))} --format html")


def answer_lines(item: Item, sample: Sample) -> Iterator[str]:
    """Lay out a question and its outcome in lines."""
    asked = getattr(item, "question", "") or getattr(item, "text", "") or item.clip.video_id
    yield from wrapped(f"{item.id}: ", str(asked))
    if sample.error is not None:
        yield from wrapped("  failed: ", sample.error.message)
        return
    options: Sequence[str] = getattr(item, "options", ())
    right: int | None = getattr(item, "answer", None)
    chosen = sample.answer if isinstance(sample.answer, int) and sample.answer < len(options) else None
    if not options:
        yield from wrapped("  ", str(sample.answer if sample.answer is not None else sample.raw))
        return
    verdict = "" if right is None else " (right)" if chosen == right else " (wrong)"
    if chosen is None:
        yield from wrapped("  no option could be read from: ", f"{sample.raw or 'an empty reply'}{verdict}")
    else:
        yield from wrapped("  ", option_text(chosen, options) + verdict)
    if right is not None and chosen != right:
        yield from wrapped("  correct: ", option_text(right, options))


def option_text(place: int, options: Sequence[str]) -> str:
    """Format an option with its letter: `B. a pancake`."""
    from tasks.multiple_choice import option_names

    return f"{option_names(len(options))[place]}. {options[place]}"


def wrapped(start: str, text: str) -> Iterator[str]:
    """Wrap a text to 80 columns; the first line begins with `start`, the others are indented."""
    words = " ".join(text.split())
    yield from textwrap.wrap(
        f"{start}{words}", WIDTH, subsequent_indent="  " if start.lstrip() == start else "    ", break_on_hyphens=False
    ) or [start.rstrip()]
