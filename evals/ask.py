"""`longvid ask QUESTIONS`: questions of one's own about one's own videos, with the record that any run keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evals.benchmark_app import LIMIT, MODEL, OPTIONS, OUT, show_results
from evals.run_verb import RunChoices, carry_out, fail_without_answers


def ask(
    questions: Annotated[
        Path, typer.Argument(help='JSON lines {"video", "question", "options", "answer"}, a line each.')
    ],
    model: MODEL,
    model_option: OPTIONS = None,
    videos: Annotated[Path | None, typer.Option(help="Where the videos are; default: beside the questions.")] = None,
    out: OUT = None,
    name: Annotated[str | None, typer.Option(help="The run's name in reports; default: its folder's.")] = None,
    limit: LIMIT = None,
    max_failures: Annotated[int, typer.Option(min=0, help="Stop after more failed items than this.")] = 25,
) -> None:
    """Ask a model your own questions about your own videos. The same command resumes."""
    from encoders.video_file import probe
    from tasks.own_questions import load_own_questions
    from tasks.registry import parse_options, route_wanted

    options = parse_options(model_option or [])
    task = load_own_questions(
        questions, videos or questions.parent, lambda path: probe(path).duration, route_wanted(model, options)
    )
    choices = RunChoices(out, name, limit, max_failures=max_failures)
    folder, results = carry_out(task, model, options, choices)
    show_results([folder], [results])
    fail_without_answers(folder, results)
