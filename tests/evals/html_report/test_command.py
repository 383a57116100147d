"""`longvid <benchmark> report RUN --format html`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.conftest import ToyModel, assert_one_line, longvid, run_toy
from tests.evals.html_report.conftest import Elements


@pytest.fixture
def run(egoschema_500: MultipleChoiceTask, tmp_path: Path) -> Path:
    """A run of the first items of EgoSchema."""
    run_toy(egoschema_500, ToyModel(), tmp_path / "run", limit=4)
    return tmp_path / "run"


def test_the_page_lies_in_the_run_directory_where_nothing_else_is_said(run: Path, shared_data: Path) -> None:
    done = longvid("egoschema", "report", run, "--format", "html", "--data", shared_data)
    assert done.returncode == 0, done.stderr
    page = Elements((run / "report.html").read_text(encoding="utf-8"))
    assert len(page.texts("details", "item")) == 4
    assert f"wrote {run / 'report.html'}" in done.stdout


def test_captions_are_shown_where_their_file_is_given(run: Path, shared_data: Path, tmp_path: Path) -> None:
    captions = shared_data / "captions" / "egoschema_lavila_1s.json"
    out = tmp_path / "page.html"
    done = longvid(
        "egoschema", "report", run, "--format", "html", "-o", out, "--captions", captions, "--data", shared_data
    )
    assert done.returncode == 0, done.stderr
    assert "180 captions" in Elements(out.read_text(encoding="utf-8")).texts("details", "captions")[0]


def test_without_the_benchmarks_files_the_page_is_made_and_the_lack_is_said(run: Path, tmp_path: Path) -> None:
    done = longvid("egoschema", "report", run, "--format", "html", "--data", tmp_path)
    assert done.returncode == 0
    assert "no questions, texts or pictures" in done.stderr
    assert (run / "report.html").is_file()


def test_a_page_is_on_one_run(run: Path, shared_data: Path) -> None:
    assert_one_line(longvid("egoschema", "report", run, run, "--format", "html"), "one run, not 2", "leaderboard")


def test_a_pages_options_are_refused_for_a_table(run: Path, tmp_path: Path) -> None:
    assert_one_line(longvid("egoschema", "report", run, "-o", tmp_path / "x.html"), "--format html")
