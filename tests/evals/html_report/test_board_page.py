"""A leaderboard's page: every row, marked for what it is, in the leaderboard's order."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from evals.html_report import leaderboard_page
from evals.leaderboard.build import build_leaderboard
from evals.record import ModelRow
from evals.store import write_sealed
from tests.evals.conftest import longvid
from tests.evals.html_report.conftest import Elements
from tests.evals.records import TASK, metric, results_of

OTHER = replace(TASK, name="egoschema@500", items_sha256="6" * 64)
ENCODER, AGGREGATOR = (ModelRow(name=name, options={}, parameters=9_000_000) for name in ("longvivit-b", "aggregator"))


def test_a_table_per_task_with_rows_best_first_and_floors_marked() -> None:
    board = build_leaderboard([results_of("a", 0.5), results_of("b", 0.6), results_of("c", 0.4, task=OTHER)])
    page = Elements(leaderboard_page(board))
    assert page.texts("h2") == [table.task.name for table in board.tables]
    rows = page.texts("tr", "run")
    assert next(row for row in rows if " b " in row or row.startswith("1 b")).startswith("1 b")
    assert sum("floor" in row for row in page.texts("tr", "floor")) == 4


def test_published_figures_are_marked_with_source_and_protocol() -> None:
    page = Elements(leaderboard_page(build_leaderboard([results_of(task=OTHER)])))
    rows = page.texts("tr", "reference")
    assert rows
    assert all("not run here" in row and "arXiv" in row for row in rows)
    assert "zero-shot" in page.texts("details", "published")[0]


def test_a_page_explains_its_words_by_the_families_on_it() -> None:
    (words,) = Elements(leaderboard_page(build_leaderboard([results_of()]))).texts("details", "folded")
    assert "options-loglik" in words
    assert "floor" in words
    assert "recall" not in words


def test_encoder_and_aggregator_are_told_apart_in_plot_and_table() -> None:
    records = [results_of("e", 0.5, model=ENCODER), results_of("g", 0.6, model=AGGREGATOR)]
    page = leaderboard_page(build_leaderboard(records))
    for system in ("encoder", "aggregator"):
        assert f'<svg class="swatch {system}"' in page
        assert f'class="{system}"><title>' in page


def test_where_nothing_was_measured_there_is_no_plot() -> None:
    records = [results_of("a", 0.5, imported=True), results_of("b", 0.6, imported=True)]
    free = [r.model_copy(update={"cost": r.cost.model_copy(update=dict.fromkeys(COSTS))}) for r in records]
    free = [r.model_copy(update={"model": r.model.model_copy(update={"parameters": None})}) for r in free]
    page = Elements(leaderboard_page(build_leaderboard(free)))
    assert not page.texts("figure")
    assert not page.texts("th", "cost")


def test_without_matplotlib_a_page_has_no_plots_and_says_how_to_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("evals.html_report.table.find_spec", lambda name: None)
    page = Elements(leaderboard_page(build_leaderboard([results_of("a", 0.5), results_of("b", 0.6)])))
    assert not page.texts("figure")
    assert any("pip install 'longvid[report]'" in note for note in page.texts("p", "note"))
    assert len(page.texts("tr", "run")) == 2


COSTS = (
    "prompt_tokens_per_item",
    "completion_tokens_per_item",
    "frames_per_item",
    "seconds_per_item",
    "peak_memory_bytes",
)


def test_an_unknown_figure_gives_way_to_the_public_one() -> None:
    hidden = results_of("a").model_copy(
        update={"metrics": (metric(None), metric(0.33, "accuracy_public", primary=False))}
    )
    (row,) = Elements(leaderboard_page(build_leaderboard([hidden]))).texts("tr", "run")
    assert "(public items)" in row
    assert "33.0" in row


def test_records_left_out_are_named_with_the_reason() -> None:
    page = Elements(leaderboard_page(build_leaderboard([results_of(), results_of("half", answered=7)])))
    assert page.texts("ul", "excluded") == ["half toy@500 partial: 7 of 500 items answered"]


def test_no_record_at_all_is_a_page_too() -> None:
    assert "No complete run among the records." in Elements(leaderboard_page(build_leaderboard([]))).texts("p", "none")


def test_two_hundred_runs_are_quick_and_byte_stable() -> None:
    records = [results_of(f"run {n}", 0.2 + 0.003 * n) for n in range(200)]
    board = build_leaderboard(records)
    started = time.process_time()
    page = leaderboard_page(board)
    assert time.process_time() - started < 10  # ten plots, each with forty names that cover nothing
    assert len(page.encode()) < 5_000_000
    assert page == leaderboard_page(build_leaderboard(records[::-1]))


def test_the_command_writes_a_page_by_suffix_or_format(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_sealed(tmp_path / "run", results_of())
    done = longvid("leaderboard", tmp_path, "-o", tmp_path / "board.html")
    assert done.returncode == 0, done.stderr
    assert longvid("leaderboard", tmp_path, "--format", "html").stdout == (tmp_path / "board.html").read_text()
