"""Exported runs are accepted by the other projects' own code and have intervals; nothing else is exported."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from gzip import decompress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest

from evals.export import summary_of
from evals.store import read_results
from longvid import evaluate
from tasks.model import OptionRequest
from tests.evals.conftest import Handler, assert_one_line, longvid, longvid_process, serving


@dataclass
class Half:
    """A model that answers every second question correctly."""

    route: str = "given"

    def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
        return [0 if int(request.item_id[1:]) % 2 else 1 for request in requests]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "benchmark.toml").write_text('name = "own"\nsource = "https://example.org/own"\n')
    rows = [
        {"id": f"q{n}", "video": f"v{n}", "start": 0, "end": 9, "question": "Wer läuft?", "options": ["ja", "nein"]}
        | {"answer": 0, "labels": {"kind": "who"}}
        for n in range(30)
    ]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture
def run(own: Path, tmp_path: Path) -> Path:
    return evaluate(Half(), own, out=tmp_path / "half").folder


def exported(run: Path, out: Path, *more: str) -> list[Path]:
    done = longvid("export", run, "--to", "every-eval-ever", "-o", out, *more)
    assert done.returncode == 0, done.stderr
    return sorted(path for path in out.rglob("*") if path.is_file())


def validated(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the report of the project's own validator on each file, with all its checks."""
    pytest.importorskip("every_eval_ever", reason="every-eval-ever is not installed: see the Makefile")
    from every_eval_ever.validator.validate import _local_path_context, validate_file

    reports = []
    for path in paths:
        place, files = _local_path_context(path)
        report = validate_file(
            path,
            repo_path=place,
            available_files=files,
            read_repo_file=files.read_text,
            run_semantic_checks=True,
        )
        reports.append({"valid": report.valid, "errors": report.errors, "warnings": report.warnings})
    return reports


def test_the_validator_of_every_eval_ever_accepts_figures_and_items_without_a_warning(
    run: Path, tmp_path: Path
) -> None:
    files = exported(run, tmp_path / "out", "--samples")
    assert len(files) == 2
    assert validated(files) == [{"valid": True, "errors": [], "warnings": []}] * 2


def test_it_does_not_accept_a_figure_outside_its_range(run: Path, tmp_path: Path) -> None:
    (file,) = exported(run, tmp_path / "out")
    content = json.loads(file.read_text())
    content["evaluation_results"][0]["score_details"]["score"] = 50.0
    file.write_text(json.dumps(content))
    (report,) = validated([file])
    assert any("outside" in str(fault) for fault in (*report["errors"], *report["warnings"]))


def test_intervals_are_in_the_fields_of_uncertainty_and_the_floors_beside_them(run: Path, tmp_path: Path) -> None:
    (file,) = exported(
        run, tmp_path / "out", "--model-id", "me/half", "--organization", "We", "--relationship", "first_party"
    )
    assert file.parts[-5:-1] == ("data", "own@all", "me", "half")
    content, results = json.loads(file.read_text()), read_results(run)
    told = {row["metric_config"]["metric_id"]: row for row in content["evaluation_results"]}
    accuracy = told["accuracy"]
    assert accuracy["score_details"]["score"] == results.primary.value == 0.5
    interval = accuracy["score_details"]["uncertainty"]["confidence_interval"]
    assert (interval["lower"], interval["upper"]) == results.primary.interval
    assert interval["confidence_level"] == 0.95
    assert accuracy["score_details"]["details"]["chance"] == "0.5"
    assert accuracy["source_data"]["url"] == ["https://example.org/own"]
    assert told["unparsed_rate"]["metric_config"]["lower_is_better"] is True
    assert content["source_metadata"]["source_organization_name"] == "We"


def test_questions_leave_only_where_they_are_asked_for(run: Path, tmp_path: Path) -> None:
    (file,) = exported(run, tmp_path / "out")
    assert "läuft" not in file.read_text()
    rows = [json.loads(line) for line in exported(run, tmp_path / "more", "--samples")[1].read_text().splitlines()]
    assert len(rows) == 30
    assert rows[0]["input"] == {"raw": "Wer läuft?", "reference": ["ja"], "choices": ["ja", "nein"]}
    assert [row["evaluation"]["is_correct"] for row in rows[:2]] == [False, True]


def test_the_same_run_gives_the_same_files(run: Path, tmp_path: Path) -> None:
    first, second = (exported(run, tmp_path / name, "--samples") for name in ("a", "b"))
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_hub_reads_the_entry_back(run: Path, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    from huggingface_hub import parse_eval_result_entries

    file = tmp_path / ".eval_results" / "own.yaml"
    done = longvid("export", run, "--to", "hf-eval-results", "--dataset", "me/own", "-o", file)
    assert done.returncode == 0, done.stderr
    (entry,) = parse_eval_result_entries(yaml.safe_load(file.read_text()))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("me/own", "all", 50.0)
    assert "95 % interval" in (entry.notes or "")
    assert "chance 50.0 %" in (entry.notes or "")
    again = longvid("export", run, "--to", "hf-eval-results", "--dataset", "me/own", "-o", file)
    assert_one_line(again, "already exists")


def test_an_offline_run_of_wandb_is_written_and_nothing_is_sent(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    done = longvid("export", run, "--to", "wandb", "-o", tmp_path / "w")
    if find_spec("wandb") is None:
        assert_one_line(done, "pip install 'longvid[wandb]'")
        return
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "w").rglob("run-*.wandb"))


class Receiver(Handler):
    """Answers wandb's client as its server does, as far as sending one run goes, and keeps what was sent."""

    sent: ClassVar[list[str]] = []

    def do_POST(self) -> None:  # noqa: N802 - the base class looks for this name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/sdk/"):  # the client's own telemetry
            self.answer({})
            return
        text = (decompress(body) if self.headers["Content-Encoding"] == "gzip" else body).decode()
        self.sent.append(text)
        project = {"id": "p", "name": "longvid", "entity": {"id": "e", "name": "me"}}
        bucket = {"id": "x", "name": "run", "displayName": "half", "config": "{}", "project": project}
        user = {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
        operation = json.loads(text).get("operationName")
        data = {
            "Viewer": {"viewer": user},
            "UpsertBucket": {"upsertBucket": {"bucket": bucket, "inserted": True}},
            "CreateRunFiles": {"createRunFiles": {"runID": "x", "uploadHeaders": [], "files": []}},
        }
        self.answer({"data": data.get(operation, {})})

    def answer(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_sent_run_arrives_with_its_intervals_and_without_facts_about_this_machine(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed: pip install 'longvid[wandb]'")
    Receiver.sent.clear()
    with serving(Receiver) as address:
        done = longvid_process(
            *("export", run, "--to", "wandb", "--send", "-o", tmp_path / "w"),
            env={**os.environ, "WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": address},
        )
    assert done.returncode == 0, done.stderr
    (summary,) = (
        json.loads(json.loads(text)["files"]["wandb-summary.json"]["content"][0])
        for text in Receiver.sent
        if '"complete":true' in text
    )
    primary = read_results(run).primary
    assert (summary["accuracy/low"], summary["accuracy/high"]) == primary.interval
    everything = "".join(Receiver.sent)
    assert '"own@all' in everything.replace("\\", "")
    for private in (f'"host":"{platform.node()}"', sys.executable, str(tmp_path)):
        assert private not in everything


def test_sending_without_a_login_is_refused_in_a_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed: pip install 'longvid[wandb]'")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    done = longvid("export", run, "--to", "wandb", "--send", "-o", tmp_path / "w")
    assert_one_line(done, "wandb can't send the run: No API key configured")


def test_a_summary_has_every_figure_with_both_ends(run: Path) -> None:
    told, primary = summary_of(read_results(run)), read_results(run).primary
    assert (told["accuracy/low"], told["accuracy/high"]) == primary.interval
    assert told["floor/chance"] == 0.5


def test_what_is_no_result_or_would_be_sent_unasked_is_refused(own: Path, run: Path, tmp_path: Path) -> None:
    part = evaluate(Half(), own, out=tmp_path / "part", limit=3).folder
    to = ("--to", "every-eval-ever", "-o", tmp_path / "out")
    assert_one_line(longvid("export", part, *to), "is partial")
    assert_one_line(longvid("export", run, *to, "--send"), "--send is for --to wandb")
    assert_one_line(longvid("export", run, *to, "--model-id", "half"), "OWNER/NAME")
    assert_one_line(longvid("export", run, "--to", "hf-eval-results", "-o", tmp_path / "x.yaml"), "needs --dataset")
    assert not (tmp_path / "out").exists()
