"""Both submission forms, an upload only when asked for, and the score that comes back."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from baselines.floors import ChanceModel
from evals.record import Run, Sample
from evals.store import SampleLog, read_official, write_row
from evals.submission import set_official_score, upload, write_submission
from tasks.errors import DataError, RecordError
from tasks.model import OptionRequest
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.conftest import Handler, ToyModel, ToyTalker, assert_one_line, longvid, run_toy, serving, toy_task

UNREADABLE = frozenset({"q02", "q09"})


class Server(Handler):
    """Keeps what it is sent; answers as its path says."""

    received: list[bytes] = []  # noqa: RUF012 - one list for the class is meant: the test reads it

    def do_POST(self) -> None:  # noqa: N802 - the library's name
        self.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/stalled":
            time.sleep(1)
        if self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
            return
        if self.path == "/garbage":
            self.wfile.write(b"this is no HTTP\r\n\r\n")
            return
        body = b'{"accuracy": 0.33}'
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[str]:
    """A validation server's address."""
    Server.received.clear()
    with serving(Server) as address:
        yield address


@pytest.fixture
def talked(task: MultipleChoiceTask, tmp_path: Path) -> Path:
    """A run in which two replies can't be read."""
    replies = {i.id: "no idea" if i.id in UNREADABLE else "Answer: D" for i in task.items()}
    run_toy(task, ToyTalker(replies), tmp_path / "run")
    return tmp_path / "run"


def test_unread_answers_are_minus_one_and_counted(task: MultipleChoiceTask, talked: Path) -> None:
    files = write_submission(task, talked)
    answers = json.loads(files.json_path.read_text())
    assert files.unread == 2
    assert {key for key, answer in answers.items() if answer == -1} == UNREADABLE
    assert set(answers.values()) == {-1, 3}


def test_both_forms_say_the_same_in_the_tasks_order(task: MultipleChoiceTask, talked: Path) -> None:
    files = write_submission(task, talked)
    header, *rows = csv.reader(files.csv_path.read_text().splitlines())
    assert header == ["q_uid", "answer"]
    assert [(key, int(answer)) for key, answer in rows] == list(json.loads(files.json_path.read_text()).items())
    assert [key for key, _ in rows] == [item.id for item in task.items()]


def test_replies_are_submitted_as_todays_parser_reads_them(task: MultipleChoiceTask, talked: Path) -> None:
    path = talked / "samples.jsonl"
    path.write_text(path.read_text().replace('"answer":3', '"answer":null'))
    assert write_submission(task, talked).unread == 2


def test_a_run_with_items_open_is_not_submitted(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(bad=frozenset({"q03"})), tmp_path / "run", limit=11)
    with pytest.raises(RecordError, match=r"no answer for 2 of 12 items \(q03 …\).*run again to resume"):
        write_submission(task, tmp_path / "run")
    assert not (tmp_path / "run" / "submission.csv").exists()


def test_an_upload_sends_the_json_form_and_returns_the_reply(
    task: MultipleChoiceTask, talked: Path, server: str
) -> None:
    files = write_submission(task, talked)
    assert upload(files.json_path, f"{server}/fine") == '{"accuracy": 0.33}'
    assert Server.received == [files.json_path.read_bytes()]


@pytest.mark.parametrize(
    ("place", "reason", "timeout"),
    [("broken", "500", 30), ("stalled", "timed out", 0.2), ("cut", "IncompleteRead", 30), ("garbage", "", 30)],
)
def test_a_server_that_fails_is_one_error_and_the_file_is_kept(
    task: MultipleChoiceTask, talked: Path, server: str, place: str, reason: str, timeout: float
) -> None:
    files = write_submission(task, talked)
    with pytest.raises(DataError, match=rf"{place} did not take the submission \(.*{reason}.*kaggle"):
        upload(files.json_path, f"{server}/{place}", timeout=timeout)
    assert files.json_path.is_file()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://", "http://host:port/", "http://[::1/"])
def test_a_server_that_cannot_be_reached_is_one_error(tmp_path: Path, url: str) -> None:
    (tmp_path / "submission.json").write_text("{}")
    with pytest.raises(DataError, match="did not take the submission"):
        upload(tmp_path / "submission.json", url, timeout=30)


def test_only_web_addresses_are_sent_to(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text("{}")
    with pytest.raises(DataError, match="not a web address"):
        upload(tmp_path / "submission.json", "file:///etc/passwd")


@pytest.mark.parametrize("value", [57.2, -0.1, float("nan")])
def test_a_score_that_is_no_fraction_is_refused(task: MultipleChoiceTask, talked: Path, value: float) -> None:
    with pytest.raises(DataError, match="a fraction of 1"):
        set_official_score(task, talked, value, "kaggle")
    assert read_official(talked) is None


def test_a_set_score_fills_the_accuracy_and_stays(tmp_path: Path) -> None:
    task = toy_task(12, hidden=frozenset({"q00", "q01"}))
    assert run_toy(task, ToyModel(), tmp_path / "run").primary.value is None
    results = set_official_score(task, tmp_path / "run", 0.5, "kaggle")
    assert (results.primary.value, results.primary.method) == (0.5, "official score (kaggle)")
    assert run_toy(task, ToyModel(), tmp_path / "run").primary.value == 0.5


@pytest.fixture(scope="module")
def full_run(egoschema_5031: MultipleChoiceTask, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on all real questions, its samples written in one go rather than one by one."""
    folder = tmp_path_factory.mktemp("full") / "run"
    run_toy(egoschema_5031, ChanceModel(0), folder, limit=1)
    items = egoschema_5031.items()
    chosen = ChanceModel(0).choose([OptionRequest(i.id, i.clip, i.question, "", i.options) for i in items])
    rows = [
        Sample(id=item.id, cluster=item.cluster, answer=answer, raw=str(answer), rule="given")
        for item, answer in zip(items, chosen, strict=True)
    ]
    (folder / "samples.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows))
    run = Run.model_validate_json((folder / "run.json").read_text())
    write_row(folder / "run.json", run.model_copy(update={"limit": None}))
    return folder


def test_submit_writes_all_5031_in_the_official_order_and_sends_nothing(
    full_run: Path, shared_data: Path, server: str
) -> None:
    done = longvid("egoschema", "submit", full_run, "--data", shared_data, "--url", server)
    assert done.returncode == 0, done.stderr
    official = [row["q_uid"] for row in json.loads((shared_data / "egoschema" / "questions.json").read_text())]
    rows = list(csv.DictReader((full_run / "submission.csv").read_text().splitlines()))
    assert [row["q_uid"] for row in rows] == list(json.loads((full_run / "submission.json").read_text())) == official
    assert len(rows) == 5031
    assert Server.received == []


def test_submit_uploads_when_asked_to(full_run: Path, shared_data: Path, server: str) -> None:
    done = longvid("egoschema", "submit", full_run, "--data", shared_data, "--upload", "--url", f"{server}/fine")
    assert done.returncode == 0, done.stderr
    assert '{"accuracy": 0.33}' in done.stdout
    assert [len(json.loads(body)) for body in Server.received] == [5031]


def test_the_500_are_neither_submitted_nor_given_a_score(
    egoschema_500: MultipleChoiceTask, shared_data: Path, tmp_path: Path
) -> None:
    run_toy(egoschema_500, ChanceModel(0), tmp_path / "run", limit=2)
    submitted = longvid("egoschema", "submit", tmp_path / "run", "--data", shared_data)
    assert_one_line(submitted, "egoschema@500", "5,031")
    scored = longvid("egoschema", "set-score", tmp_path / "run", 0.5, "--source", "x", "--data", shared_data)
    assert_one_line(scored, "egoschema@500", "answers are public")
    assert not (tmp_path / "run" / "submission.csv").exists()


def test_an_empty_log_is_no_submission(task: MultipleChoiceTask, tmp_path: Path) -> None:
    with SampleLog(tmp_path):
        pass
    with pytest.raises(RecordError, match="12 of 12"):
        write_submission(task, tmp_path)
