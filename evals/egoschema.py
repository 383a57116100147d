"""EgoSchema's own verbs: submission to its servers. `python -m evals.egoschema …` is `longvid egoschema …`."""

from __future__ import annotations

from typing import Annotated

import typer

from evals import console
from evals.benchmark_app import DATA, RUN_FOLDER, show_results, task_of_run
from tasks.registry import find_benchmark

BENCHMARK = find_benchmark("egoschema")


def submit(
    folder: RUN_FOLDER,
    data: DATA = None,
    upload: Annotated[bool, typer.Option("--upload", help="Send the JSON form to the server now.")] = False,
    url: Annotated[str | None, typer.Option(help="Another server's address.")] = None,
) -> None:
    """Write both submission forms of a full run; nothing is sent without --upload."""
    from evals import submission
    from tasks.errors import RecordError

    task = task_of_run(BENCHMARK, folder, data)
    if task.info.name != f"egoschema@{BENCHMARK.pools[-1]}":
        raise RecordError(f"{folder} is a run of {task.info.name}; the servers take all 5,031 answers")
    files = submission.write_submission(task, folder)
    console.say(f"wrote {files.csv_path} (Kaggle: egoschema-public) and {files.json_path} (validation server)")
    if files.unread:
        console.warn(f"{files.unread} answers could not be read and are submitted as {submission.UNREAD}")
    if upload:
        console.say(submission.upload(files.json_path, url or submission.SERVER))
        console.say(f"now keep the score: longvid egoschema set-score {folder} ACCURACY --source validation-server")


def set_score(
    folder: RUN_FOLDER,
    accuracy: Annotated[float, typer.Argument(help="The server's accuracy, from 0 to 1.")],
    source: Annotated[str, typer.Option(help="Where the score comes from.")],
    data: DATA = None,
) -> None:
    """Store the score that a server gave for a run's submission."""
    from evals.submission import set_official_score
    from tasks.errors import RecordError

    task = task_of_run(BENCHMARK, folder, data)
    if task.info.name != f"egoschema@{BENCHMARK.pools[-1]}":
        raise RecordError(
            f"{folder} is a run of {task.info.name}, whose answers are public; score it with 'longvid score'"
        )
    show_results([folder], [set_official_score(task, folder, accuracy, source)])


if __name__ == "__main__":
    from evals.cli import group_command, run_app

    run_app(group_command(BENCHMARK, BENCHMARK.name))
