"""Whole runs against a server that fails: they complete or stop with a clear message, and resume with what is left."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("httpx2")
pytest.importorskip("tenacity")

from evals.new_run import describe_run
from evals.record import Results
from evals.runner import RunSettings, TooManyFailuresError, run_task
from evals.schema_files import without_wall_clock
from evals.store import read_samples
from tasks.errors import RecordError
from tasks.registry import build_model, deciding
from tests.baselines.llm.server_process import FaultyServer, faulty_server
from tests.evals.conftest import ROOT, ignore, longvid, toy_task

ROUTES = ["generate+parse", "options-loglik", "letter-logprob"]
QUESTION = re.compile(r"in (q\d\d)\?")


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with faulty_server() as started:
        yield started


def run(server: FaultyServer, folder: Path, route: str = "generate+parse", **more: object) -> Results:
    """Ask the toy questions as the command line does."""
    settings = {name: more.pop(name) for name in ("max_failures", "limit") if name in more}
    options = {
        "llm": "openai:toy",
        "base_url": server.base_url,
        "route": route,
        "concurrency": "4",
        "timeout": "120",
        "retries": "1",
        "patience": "120",
        **{name: str(value) for name, value in more.items()},
    }
    task, model = toy_task(), build_model("blind", options)
    described = describe_run(
        task, model, "toy", deciding("blind", options), ["longvid"], limit=settings.pop("limit", None)
    )
    return run_task(task, model, described, RunSettings(folder, **settings), ignore)


def asked(server: FaultyServer) -> list[str]:
    """The questions that reached the server, in order."""
    return [QUESTION.findall(row["text"])[0] for row in server.log()]


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_answers_every_question(server: FaultyServer, tmp_path: Path, route: str) -> None:
    results = run(server, tmp_path / "run", route)
    assert (results.status, results.counts.answered) == ("complete", 12)
    assert results.cost.prompt_tokens > 0
    assert results.cost.cached_tokens == pytest.approx(results.cost.prompt_tokens / 2, rel=0.1)


@pytest.mark.parametrize("route", ROUTES)
def test_questions_reach_the_server_side_by_side_with_the_results_of_one_by_one(
    server: FaultyServer, tmp_path: Path, route: str
) -> None:
    server.script(["meet:4*"], match="in q", most_busy=0)
    many = run(server, tmp_path / "many", route, limit=6)
    assert server.most_busy() == 4
    one = run(server, tmp_path / "one", route, limit=6, concurrency=1)
    assert [m.value for m in many.metrics] == [m.value for m in one.metrics]
    assert many.details == one.details


FAULTS = ["500", "429", "malformed", "no-choices", "empty", "abort", "stall:30", "400", "filter"]
SCORING_FAULTS = [(fault, route) for fault in ("500", "malformed") for route in ROUTES[1:]]


@pytest.mark.parametrize(("fault", "route"), [*((fault, ROUTES[0]) for fault in FAULTS), *SCORING_FAULTS])
def test_a_fault_that_stays_is_its_items_error_and_never_an_answer(
    server: FaultyServer, tmp_path: Path, fault: str, route: str
) -> None:
    server.script([f"{fault}*"], match="in q05?")
    results = run(server, tmp_path / "run", route, timeout=2 if "stall" in fault else 120)
    sample = read_samples(tmp_path / "run")["q05"]
    assert (results.status, results.failed_ids, results.counts.answered) == ("partial", ("q05",), 11)
    assert sample.error is not None
    assert (sample.answer, sample.raw, sample.scores) == (None, "", {})


IMPOSSIBLE = [
    ("options-loglik", {"choices": [{"index": i, "logprobs": {"token_logprobs": [0.5] * 9}} for i in range(5)]}),
    ("letter-logprob", {"choices": [{"logprobs": {"top_logprobs": [{f"token_id:{65 + i}": True for i in range(5)}]}}]}),
    ("generate+parse", {"choices": [{"index": [0], "text": "Answer: B", "finish_reason": "stop"}]}),
    ("generate+parse", {"choices": [{"text": "Answer: B", "finish_reason": "stop sk-not-for-the-record"}]}),
    ("generate+parse", {"error": {"message": "sk-not-for-the-record \x1b[31m"}}),
]


@pytest.mark.parametrize(("route", "reply"), IMPOSSIBLE)
def test_a_reply_that_cannot_be_is_its_items_error_without_the_key(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, route: str, reply: object
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-the-record")
    server.script([f"json:{json.dumps(reply)}*"], match="in q05?")
    results = run(server, tmp_path / "run", route, retries=0)
    assert (results.status, results.failed_ids, results.counts.answered) == ("partial", ("q05",), 11)
    error = read_samples(tmp_path / "run")["q05"].error
    assert error is not None
    assert error.kind == "ServerFaultError"
    assert error.message.isprintable()
    assert "sk-not-for-the-record" not in "".join(path.read_text() for path in (tmp_path / "run").iterdir())


@pytest.mark.parametrize("text", ["Answer: B \ud83d", "Answer: B \x00\x1b[31m"])
def test_characters_that_no_record_can_hold_cost_no_item_and_no_resume(
    server: FaultyServer, tmp_path: Path, text: str
) -> None:
    reply = {"choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}
    server.script([f"json:{json.dumps(reply)}*"], match="in q05?")
    for limit in (8, 12):
        assert run(server, tmp_path / "run", limit=limit).counts.answered == limit
    sample = read_samples(tmp_path / "run")["q05"]
    assert sample.raw.startswith("Answer: B \ufffd")
    assert sample.answer == 1


def test_a_resumed_run_asks_only_what_has_no_answer(server: FaultyServer, tmp_path: Path) -> None:
    whole = run(server, tmp_path / "whole")
    server.script(["500*"], match="in q05?")
    run(server, tmp_path / "run")
    before = len(asked(server))
    server.script([], match="in q05?")
    resumed = run(server, tmp_path / "run")
    assert asked(server)[before:] == ["q05"]
    ours, theirs = without_wall_clock(resumed), without_wall_clock(whole)
    ours.pop("provenance"), theirs.pop("provenance")
    assert ours == theirs


def test_a_reply_cut_at_the_token_limit_is_recorded_as_cut_and_not_read_into_an_answer(
    server: FaultyServer, tmp_path: Path
) -> None:
    server.script(["cut*"], match="in q05?")
    run(server, tmp_path / "run")
    sample = read_samples(tmp_path / "run")["q05"]
    assert (sample.raw, sample.answer, sample.notes["finished"]) == ("The answer is", None, False)


def test_a_server_killed_in_mid_run_and_restarted_costs_no_item(server: FaultyServer, tmp_path: Path) -> None:
    server.script(["die"], match="in q06?")
    restarted = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)"])
    from threading import Thread

    def bring_back() -> None:
        server.process.wait()
        restarted.wait()
        server.restart()

    thread = Thread(target=bring_back)
    thread.start()
    results = run(server, tmp_path / "run")
    thread.join()
    assert (results.status, results.counts.answered) == ("complete", 12)
    rows = (tmp_path / "run" / "samples.jsonl").read_text().splitlines()
    assert len(rows) == 12


def test_a_server_that_stays_dead_stops_the_run_with_a_message_and_the_run_resumes(
    server: FaultyServer, tmp_path: Path
) -> None:
    server.script(["die"], match="in q06?")
    with pytest.raises(TooManyFailuresError, match=r"can't be reached"):
        run(server, tmp_path / "run", patience=0.5, max_failures=2)
    answered = {key for key, sample in read_samples(tmp_path / "run").items() if sample.error is None}
    assert 1 <= len(answered) <= 9
    server.restart()
    results = run(server, tmp_path / "run")
    assert results.status == "complete"
    assert set(asked(server)) == {f"q{i:02d}" for i in range(12)} - answered


def test_a_run_resumes_with_another_address_and_other_patience(server: FaultyServer, tmp_path: Path) -> None:
    run(server, tmp_path / "run", limit=5)
    with faulty_server() as elsewhere:
        results = run(elsewhere, tmp_path / "run", timeout=3, concurrency=2)
        assert (results.status, len(elsewhere.log())) == ("complete", 7)


def test_an_interrupt_ends_a_run_at_once_though_requests_are_in_flight(server: FaultyServer, tmp_path: Path) -> None:
    server.script(["slow:120*"], match="in q05?")
    # A shell's background jobs, and so tests run as one, are started with the interrupt ignored.
    code = (
        "import signal, sys; from pathlib import Path; from types import SimpleNamespace as S;"
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from tests.evals.test_served_run import run;"
        "run(S(base_url=sys.argv[1]), Path(sys.argv[2]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, server.base_url, str(tmp_path / "run")],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not ((tmp_path / "run" / "samples.jsonl").is_file() and len(read_samples(tmp_path / "run")) == 11):
        assert time.monotonic() < deadline, "the run did not get to its slow request"
        time.sleep(0.05)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert time.monotonic() - started < 60
    assert "KeyboardInterrupt" in errors
    assert sorted(read_samples(tmp_path / "run")) == [f"q{i:02d}" for i in range(12) if i != 5]


def test_the_command_line_records_no_key(
    server: FaultyServer, tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-the-record")
    server.script(["500*"])
    done = longvid(
        *("egoschema", "run", "--model", "blind", "-M", "llm=openai:toy", "-M", f"base_url={server.base_url}"),
        *("-M", "retries=0", "-M", "route=generate+parse", "--limit", 2, "--data", shared_data),
        *("--out", tmp_path / "run"),
    )
    assert done.returncode == 1
    recorded = "".join(path.read_text() for path in (tmp_path / "run").iterdir())
    assert "Bearer ***" in recorded
    assert "sk-not-for-the-record" not in recorded + done.stdout + done.stderr


def test_the_command_line_names_a_server_that_is_not_there(shared_data: Path, tmp_path: Path) -> None:
    done = longvid(
        *("egoschema", "run", "--model", "blind", "-M", "llm=openai:toy", "-M", "base_url=http://127.0.0.1:9/v1"),
        *("--data", shared_data, "--out", tmp_path / "run"),
    )
    assert done.returncode == 2
    assert "127.0.0.1:9/v1 can't be reached" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("route", ["generate+parse", "letter-logprob"])
def test_a_run_that_several_models_answered_says_so(server: FaultyServer, tmp_path: Path, route: str) -> None:
    server.script([], authors=["toy"] * 5 + ["toy-june"] * 20)
    told = [w for w in run(server, tmp_path / "run", route, concurrency=1).warnings if "the server's replies" in w]
    assert len(told) == 1
    assert re.search(r"name 2 models: .*toy-june \(\d\)", told[0])


def test_a_run_that_one_model_answered_under_another_name_keeps_the_name(server: FaultyServer, tmp_path: Path) -> None:
    server.script([], authors=["toy-june"] * 20)
    warnings = run(server, tmp_path / "run", limit=2).warnings
    assert not any("the server's replies" in warning for warning in warnings)
    assert {sample.notes["answered_by"] for sample in read_samples(tmp_path / "run").values()} == {"toy-june"}


def test_a_run_does_not_go_on_with_other_weights_under_the_same_name(server: FaultyServer, tmp_path: Path) -> None:
    for root in ("org/toy-8B", "org/toy-9B"):
        listed = {"data": [{"id": "toy", "root": root, "max_model_len": 8192}]}
        server.script([], models=f"json:{json.dumps(listed)}")
        if root.endswith("8B"):
            run(server, tmp_path / "run", limit=2)
    with pytest.raises(RecordError, match=r"holds another run \(different: model\.details\.served_from\)"):
        run(server, tmp_path / "run", limit=2)


def test_a_record_that_does_not_say_what_was_served_goes_on(server: FaultyServer, tmp_path: Path) -> None:
    """Records of before December 2026 don't, nor do many servers."""
    for row in ({}, {"root": "org/toy-8B"}, {}):
        listed = {"data": [{"id": "toy", "max_model_len": 8192, **row}]}
        server.script([], models=f"json:{json.dumps(listed)}")
        assert run(server, tmp_path / "run", limit=2).counts.answered == 2
