"""`longvid ask QUESTIONS`: questions of one's own about one's own videos, with the record that any run keeps."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from evals.benchmark_app import LIMIT, MODEL, OPTIONS, OUT, show_results
from evals.run_verb import RunChoices, carry_out, fail_without_answers

LENGTHS = "video-seconds.v1"
"""The folder of the cache that holds videos' lengths; another number where `probe` comes to measure otherwise."""


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
    from tasks.own_questions import load_own_questions
    from tasks.registry import parse_options, route_wanted

    options = parse_options(model_option or [])
    task = load_own_questions(questions, videos or questions.parent, seconds_of, route_wanted(model, options))
    choices = RunChoices(out, name, limit, max_failures=max_failures)
    folder, results = carry_out(task, model, options, choices)
    show_results([folder], [results])
    fail_without_answers(folder, results)


def seconds_of(path: Path) -> float:
    """A video's length, measured once: that takes a second or more for hours of video, at each start of a run.

    Raises VideoError.
    """
    from encoders.causal_lm.weights import cache_folder
    from encoders.video_file import probe
    from evals.store import write_atomic
    from tasks.digests import file_state_sha256

    kept: Path | None = None
    # A cache that can't be read or written costs time and nothing else.
    with suppress(OSError, ValueError):
        kept = cache_folder() / LENGTHS / file_state_sha256(path)
        if 0 < (seconds := float(kept.read_text(encoding="utf-8"))) < float("inf"):
            return seconds
    seconds = probe(path).duration
    with suppress(OSError):
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(kept, repr(seconds))
    return seconds
