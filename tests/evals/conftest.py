"""A small synthetic task, toy models whose answers are known, and the command line, here or as a process."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import patch

import pytest

from baselines.floors import ChanceModel
from evals.cli import main
from evals.new_run import describe_run
from evals.record import Results, Sample
from evals.runner import RunSettings, run_task
from tasks.egoschema import PROMPTS, load_egoschema
from tasks.model import ModelInfo, OptionRequest, TextReply, TextRequest
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask, item_set_digest
from tasks.routes import Route
from tasks.task import Clip, FramesSeen, TaskInfo, TokenUsage, Trace

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("C washes a bowl", "C reads a book", "C paints a wall", "C peels a carrot", "C folds a shirt")


def toy_task(count: int = 12, hidden: frozenset[str] = frozenset(), name: str = "toy") -> MultipleChoiceTask:
    """`count` five-way questions `q00`…, three to a source video; `hidden` ones have no public answer."""
    ids = [f"q{i:02d}" for i in range(count)]
    items = [
        ChoiceItem(
            id=key,
            cluster=f"video{i // 3}",
            clip=Clip(key, 0.0, 180.0),
            question=f"What does C do in {key}?",
            options=OPTIONS,
            answer=None if key in hidden else (i * i + i // 4) % len(OPTIONS),
        )
        for i, key in enumerate(ids)
    ]
    info = TaskInfo(
        name=f"{name}@{count}",
        family="multiple-choice",
        version="1",
        item_count=count,
        items_sha256=item_set_digest(items),
        primary_metric="accuracy",
        chance=1 / len(OPTIONS),
        cluster="video",
        source="synthetic",
        licence="Apache-2.0",
        citation="none",
    )
    return MultipleChoiceTask(info, items, PROMPTS)


@dataclass
class ToyModel:
    """Chooses by item id, fails on the ids in `bad`, is interrupted at `stop_at`, and remembers what it was asked."""

    bad: frozenset[str] = frozenset()
    stop_at: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    route = Route.GIVEN

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("toy", parameters=0, details=self.details)

    @property
    def asked_ids(self) -> list[str]:
        return [key for batch in self.asked for key in batch]

    def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
        self.asked.append(tuple(request.item_id for request in requests))
        for request in requests:
            if request.item_id == self.stop_at:
                raise KeyboardInterrupt
            if request.item_id in self.bad:
                raise OSError(f"no frames in {request.item_id}")
        return ChanceModel(0).choose(requests)


@dataclass
class ToyTalker:
    """Replies with given texts, and says what each took."""

    replies: Mapping[str, str]
    route = Route.GENERATE

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("talker")

    def generate(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        return [
            TextReply(
                self.replies[request.item_id],
                finished=True,
                trace=Trace(
                    usage=TokenUsage(prompt=100 + i, cached=10, completion=7),
                    seconds={"read": 0.25, "write": 0.5},
                    frames=FramesSeen(count=8),
                ),
            )
            for i, request in enumerate(requests)
        ]


def ignore(sample: Sample) -> None:
    """No progress to show."""


def run_toy(
    task: MultipleChoiceTask,
    model: object,
    folder: Path,
    *,
    limit: int | None = None,
    seed: int = 0,
    options: Mapping[str, str] | None = None,
    **settings: Any,
) -> Results:
    """Run a model over a task into a folder, as the command line does."""
    run = describe_run(task, model, "toy", options or {}, ["longvid"], seed=seed, limit=limit)
    return run_task(task, model, run, RunSettings(folder, **settings), ignore)


def calls_of(work: Callable[[], object]) -> int:
    """How many functions are called, Python's own included: what work costs, whatever else the machine does."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def longvid_process(*arguments: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, at the checkout's root."""
    return subprocess.run(
        [sys.executable, "-m", "evals.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **settings,
    )


def longvid(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line in this process, which spares its start-up: exit code and both outputs are the same."""
    command, out, err = ["longvid", *map(str, arguments)], io.StringIO(), io.StringIO()
    code: object = 0
    with (
        patch.object(sys, "argv", command),
        patch.object(sys, "excepthook", sys.excepthook),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The process failed with exit code 2 and one line on standard error that has all the words.

    On a loaded machine a line that something is being loaded may stand before it.
    """
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("loading ")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error:")
    for word in words:
        assert word in lines[0]


class Handler(BaseHTTPRequestHandler):
    """Quiet base of the test servers."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A web server on this machine; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def task() -> MultipleChoiceTask:
    """Twelve questions from four videos."""
    return toy_task()


@pytest.fixture(scope="session")
def egoschema_500(shared_data: Path) -> MultipleChoiceTask:
    """The 500 real questions with public answers."""
    return load_egoschema(shared_data / "egoschema", "500")


@pytest.fixture(scope="session")
def egoschema_5031(shared_data: Path) -> MultipleChoiceTask:
    """All real questions."""
    return load_egoschema(shared_data / "egoschema", "5031")
