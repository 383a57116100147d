"""The page of a folder of runs: every system on every task, sorted, filtered, and leading to each run."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from evals.html_report.index_page import MOST_PAGES, index_page, write_index
from evals.leaderboard.build import build_leaderboard
from evals.record import ModelRow, Results
from tests.evals.compare.runs import Right, run_as
from tests.evals.conftest import longvid, toy_task
from tests.evals.html_report.chromium import Browser
from tests.evals.html_report.conftest import Elements
from tests.evals.html_report.hostile import EVERYTHING, hostile_files
from tests.evals.records import TASK, results_of

OTHER = replace(TASK, name="another@500", items_sha256="6" * 64)
NAMES = "[...document.querySelectorAll('tbody tr')].filter(r => !r.hidden).map(r => r.querySelector('bdi').textContent)"


def system(name: str, value: float, seconds: float, kind: str = "encoder", task: object = TASK) -> Results:
    made = results_of(name, value, task=task, model=ModelRow(name=name, options={}, system=kind, parameters=7))
    return made.model_copy(update={"cost": made.cost.model_copy(update={"seconds_per_item": seconds})})


def page(**options: object) -> str:
    board = build_leaderboard(
        [
            system("slow", 0.7, 9.0),
            system("quick", 0.5, 1.0, "aggregator"),
            system("middling", 0.6, 3.0, "video-llm"),
            system("slow", 0.4, 9.0, task=OTHER),
        ],
        published=[],
    )
    return index_page(board, **{"pages": {}, "command": "longvid leaderboard runs -o site", **options})


@pytest.fixture
def written(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text(page(), encoding="utf-8")
    return tmp_path / "index.html"


def test_each_system_is_a_line_with_its_tasks_intervals_and_bars() -> None:
    found = Elements(page())
    (line,) = (row for row in found.texts("tr") if row.startswith("slow"))
    assert "70.0 66.0–74.0" in line
    assert "40.0 36.0–44.0" in line
    assert "9 s" in line
    assert len([attributes for tag, attributes, _ in found.found if tag == "svg" and "bar" in str(attributes)]) >= 4


def test_the_page_names_its_command_the_paper_and_what_the_figures_show() -> None:
    text = page()
    assert "longvid leaderboard runs -o site" in text
    assert 'href="https://arxiv.org/abs/2312.07395"' in text
    assert "slow (70.0 %, 66.0–74.0) is best of 3 runs" in " ".join(Elements(text).texts("li"))


def test_a_click_sorts_figures_from_the_top_and_costs_from_the_cheapest(browser: Browser, written: Path) -> None:
    browser.open(written)
    click = "[...document.querySelectorAll('thead button')].find(b => b.textContent.includes('{}')).click()"
    browser.evaluate(click.format("time"))
    assert browser.evaluate(NAMES)[:3] == ["quick", "middling", "slow"]
    browser.evaluate(click.format("time"))
    assert browser.evaluate(NAMES)[:3] == ["slow", "middling", "quick"]
    browser.evaluate(click.format("toy@500"))
    assert browser.evaluate(NAMES)[:3] == ["slow", "middling", "quick"]
    assert browser.complaints == []


def test_chips_show_one_kind_and_floors_can_be_hidden(browser: Browser, written: Path) -> None:
    browser.open(written)
    browser.evaluate("document.getElementById('hide').click()")
    assert sorted(browser.evaluate(NAMES)) == ["middling", "quick", "slow"]
    browser.evaluate("document.querySelector('button[data-outcome=aggregator]').click()")
    assert browser.evaluate(NAMES) == ["quick"]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_a_screen_and_a_phone_of_under_ten_screens(browser: Browser, written: Path, width: int) -> None:
    browser.open(written, width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("document.documentElement.scrollHeight") < 10 * 900


def test_five_hundred_runs_open_in_under_two_seconds(browser: Browser, tmp_path: Path) -> None:
    board = build_leaderboard(system(f"run {n}", 0.2 + n / 2000, 1 + n) for n in range(500))
    (tmp_path / "index.html").write_text(index_page(board, {}, "longvid leaderboard runs -o site"), encoding="utf-8")
    # The processor's time: a busy machine is not the page's fault.
    browser.call("Performance.enable", timeDomain="threadTicks")
    browser.open(tmp_path / "index.html")
    assert browser.evaluate("document.querySelectorAll('tbody tr').length") >= 500
    metrics = {row["name"]: row["value"] for row in browser.call("Performance.getMetrics")["metrics"]}
    browser.call("Performance.disable")
    assert 0 < metrics["TaskDuration"] < 2


@pytest.mark.slow
def test_five_hundred_runs_are_on_the_screen_within_two_seconds_by_the_clock(browser: Browser, tmp_path: Path) -> None:
    board = build_leaderboard(system(f"run {n}", 0.2 + n / 2000, 1 + n) for n in range(500))
    (tmp_path / "index.html").write_text(index_page(board, {}, "longvid leaderboard runs -o site"), encoding="utf-8")
    took = []
    for _ in range(5):  # the best of five: another program may take the processor
        started = time.monotonic()
        browser.open(tmp_path / "index.html")
        browser.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        took.append(time.monotonic() - started)
    assert min(took) < 2, took


def test_nothing_of_a_hostile_record_runs(browser: Browser, tmp_path: Path) -> None:
    files, _ = hostile_files(tmp_path / "run")
    board = build_leaderboard([files.results, *files.neighbours])
    text = index_page(board, {}, EVERYTHING)
    (tmp_path / "index.html").write_text(text, encoding="utf-8")
    browser.open(tmp_path / "index.html")
    assert browser.complaints == []
    assert browser.evaluate("typeof window.harmed") == "undefined"
    links = {str(found["href"]) for _, found, _ in Elements(text).found if "href" in found}
    assert all(link.startswith(("#", "https://arxiv.org/")) for link in links)


def test_a_folder_gets_an_index_tables_and_a_page_of_each_run(tmp_path: Path) -> None:
    task = toy_task(12)
    for name in ("one", "two"):
        run_as(task, Right(task, 0.5, seed=len(name)), tmp_path / "runs" / name, options={"of": name})
    done = longvid("leaderboard", tmp_path / "runs", "-o", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"page: {tmp_path / 'site' / 'index.html'}"
    links = [
        a.get("href") for tag, a, _ in Elements((tmp_path / "site" / "index.html").read_text()).found if tag == "a"
    ]
    pages = sorted(str(link) for link in links if str(link).startswith("pages/"))
    assert pages == ["pages/001.html", "pages/002.html"]
    assert all((tmp_path / "site" / link).is_file() for link in (*pages, "leaderboard.html", "leaderboard.json"))


def test_of_many_runs_the_best_have_pages_and_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_PAGES > 10
    monkeypatch.setattr("evals.html_report.index_page.MOST_PAGES", 1)
    task = toy_task(12)
    for share in (0.1, 0.9):
        run_as(task, Right(task, share), tmp_path / "runs" / str(share), options={"of": str(share)})
    _, index = write_index([tmp_path / "runs"], tmp_path / "site", None, "made")
    text = index.read_text(encoding="utf-8")
    assert "1 of the runs have no page here" in text
    assert "<bdi>0.9</bdi>" in (tmp_path / "site" / "pages" / "001.html").read_text(encoding="utf-8")
