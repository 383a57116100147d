"""EgoSchema's submission files, their upload on an explicit command, and the score that comes back."""

from __future__ import annotations

import csv
import http.client
import io
import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evals.record import OfficialScore, Results, Sample
from evals.results import prediction_of
from evals.runner import rescore
from evals.store import OFFICIAL, read_run, read_samples, write_atomic, write_row
from tasks.errors import DataError, RecordError
from tasks.multiple_choice import ChoiceItem
from tasks.task import Task

SERVER = "https://validation-server.onrender.com/api/upload/"
UNREAD = -1


@dataclass(frozen=True, slots=True)
class Submission:
    """The two files written, and how many replies could not be parsed (submitted as -1, never guessed)."""

    csv_path: Path
    json_path: Path
    unread: int


def write_submission(task: Task[ChoiceItem], folder: Path) -> Submission:
    """Write `submission.csv` (`q_uid,answer`) and `submission.json`. Raises RecordError on unanswered items."""
    answers = submission_answers(task, read_samples(folder), folder)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["q_uid", "answer"])
    writer.writerows(answers.items())
    csv_path, json_path = folder / "submission.csv", folder / "submission.json"
    write_atomic(csv_path, table.getvalue())
    write_atomic(json_path, json.dumps(answers, indent=1) + "\n")
    return Submission(csv_path, json_path, sum(answer == UNREAD for answer in answers.values()))


def submission_answers(task: Task[ChoiceItem], samples: Mapping[str, Sample], folder: Path) -> dict[str, int]:
    """Return answers by id in the task's order, parsed from the recorded replies as `score` does."""
    missing = [i.id for i in task.items() if i.id not in samples or samples[i.id].error is not None]
    if missing:
        msg = (
            f"{folder} has no answer for {len(missing)} of {len(task.items())} items ({missing[0]} …): "
            f"a submission needs all; run again to resume"
        )
        raise RecordError(msg)
    chosen = {item.id: task.reread(item, prediction_of(samples[item.id])).answer for item in task.items()}
    return {key: answer if isinstance(answer, int) else UNREAD for key, answer in chosen.items()}


def upload(json_path: Path, url: str = SERVER, timeout: float = 60.0) -> str:
    """Send the JSON form to a validation server and return its reply. Raises DataError if it is rejected."""
    if not url.startswith(("https://", "http://")):
        msg = f"'{url}' is not a web address"
        raise DataError(msg)
    try:
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
            url, data=json_path.read_bytes(), headers={"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=timeout) as reply:  # noqa: S310
            return str(reply.read().decode("utf-8", errors="replace"))
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = " ".join(str(error).split())
        msg = (
            f"{url} did not take the submission ({reason}); {json_path} is kept: try later, or submit the CSV on "
            f"https://www.kaggle.com/competitions/egoschema-public"
        )
        raise DataError(msg) from error


def set_official_score(task: Task[ChoiceItem], folder: Path, value: float, source: str) -> Results:
    """Store the server's accuracy (a fraction of 1) beside the run and rewrite its results."""
    read_run(folder)
    if not 0.0 <= value <= 1.0:
        msg = f"an accuracy is a fraction of 1, not {value}; write 0.57 for 57 %"
        raise DataError(msg)
    write_row(folder / OFFICIAL, OfficialScore(metric="accuracy", value=value, source=source))
    return rescore(task, folder)
