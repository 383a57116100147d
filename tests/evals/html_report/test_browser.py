"""The pages in a real browser: no complaint, no request, nothing too wide, and all of it by keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.html_report import leaderboard_page
from evals.html_report.run_page import read_run_files, run_page
from evals.leaderboard.build import build_leaderboard
from tasks.task import Clip
from tests.evals.conftest import ToyModel, run_toy, toy_task
from tests.evals.html_report.chromium import Browser
from tests.evals.html_report.conftest import page_of
from tests.evals.html_report.hostile import hostile_board_page, hostile_pair_page, hostile_run_page
from tests.evals.html_report.test_pair_page import two_runs_page
from tests.evals.html_report.test_run_page import retrieval_run
from tests.evals.records import results_of

DESKTOP, PHONE = 1280, 390
KINDS = ("run", "bare", "retrieval", "board", "pair", "hostile run", "hostile board", "hostile pair")
SHOWN = "[...document.querySelectorAll('[data-find]')].filter(n => !n.hidden).length"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind on disk."""
    folder = tmp_path_factory.mktemp("pages")
    task = toy_task(12)
    run_toy(task, ToyModel(bad=frozenset({"q03"})), folder / "run")
    clips, _ = retrieval_run(folder / "retrieval", [Clip(f"v{n}", 0, 9) for n in range(8)])
    board = build_leaderboard(results_of(f"run {n}", 0.3 + 0.01 * n) for n in range(12))
    texts = {
        "run": page_of(folder / "run", task),
        "bare": page_of(folder / "run"),
        "retrieval": run_page(read_run_files(folder / "retrieval"), clips),
        "board": leaderboard_page(board),
        "pair": two_runs_page(folder / "pair"),
        "hostile pair": hostile_pair_page(folder / "hostile-pair"),
        "hostile run": hostile_run_page(folder / "hostile-run"),
        "hostile board": hostile_board_page(folder / "hostile-board"),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_no_complaint_asks_for_nothing_and_fits(browser: Browser, pages: dict[str, Path], kind: str) -> None:
    for width in (DESKTOP, PHONE):
        browser.open(pages[kind], width)
        assert browser.complaints == []
        assert [url for url in browser.requests if not url.startswith("data:")] == [pages[kind].resolve().as_uri()]
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        if width == PHONE:
            wide = "[...document.querySelectorAll('.scroll, .card')].filter(n => n.scrollWidth > n.clientWidth).length"
            assert browser.evaluate(wide) == 0
        assert browser.evaluate("typeof window.harmed") == "undefined"


@pytest.mark.parametrize("kind", ["run", "board"])
def test_dark_follows_the_readers_setting_and_stays_readable(
    browser: Browser, pages: dict[str, Path], kind: str
) -> None:
    light_and_dark = []
    for dark in (False, True):
        browser.open(pages[kind], dark=dark)
        light_and_dark.append(browser.evaluate(LUMINANCES))
    (light_paper, light_ink, light_muted), (dark_paper, dark_ink, dark_muted) = light_and_dark
    assert light_paper > 0.8 > 0.1 > dark_paper
    for paper, text in ((light_paper, light_muted), (dark_paper, dark_muted)):
        assert contrast(paper, text) >= 4.5
    for paper, text in ((light_paper, light_ink), (dark_paper, dark_ink)):
        assert contrast(paper, text) >= 7


LUMINANCES = """(() => {
  const light = (color) => color.match(/[0-9.]+/g).slice(0, 3).map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }).reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const body = getComputedStyle(document.body);
  const muted = getComputedStyle(document.querySelector('.note'));
  return [light(body.backgroundColor), light(body.color), light(muted.color)];
})()"""


def contrast(one: float, other: float) -> float:
    """WCAG's contrast ratio of two luminances."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_slash_goes_to_the_search_which_finds_and_escape_clears(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["run"])
    assert browser.evaluate(SHOWN) == 12
    browser.press("/")
    assert browser.evaluate("document.activeElement.id") == "find"
    browser.write("C do in Q05")
    browser.wait_for(f"{SHOWN} === 1")
    assert browser.evaluate("document.getElementById('found').textContent") == "1 of 12"
    browser.write(" nowhere")
    browser.wait_for(f"{SHOWN} === 0")
    assert browser.evaluate("document.getElementById('nothing').hidden") is False
    browser.press("Escape")
    browser.wait_for(f"{SHOWN} === 12")
    assert browser.evaluate("document.activeElement === document.body")


def test_filters_show_one_outcome(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["run"])
    browser.evaluate("document.querySelector('button[data-outcome=failed]').click()")
    assert browser.evaluate(SHOWN) == 1
    assert browser.evaluate("document.querySelector('button[data-outcome=failed]').ariaPressed") == "true"
    browser.evaluate("document.querySelector('button[data-outcome=wrong]').click()")
    assert browser.evaluate(SHOWN) > 1


def test_the_first_stop_is_the_skip_link_and_an_item_opens_by_keyboard(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["run"])
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.className") == "skip"
    assert browser.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    browser.press("Enter")
    assert browser.evaluate("document.activeElement.id") == "main"
    browser.evaluate("document.querySelector('.item summary').focus()")
    browser.press("Enter")
    browser.wait_for("document.querySelector('.item').open")


def test_a_leaderboard_sorts_by_its_heads_and_searches_its_rows(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["board"])
    values = "[...document.querySelectorAll('td.fig')].map(cell => Number(cell.dataset.v))"
    best_first = browser.evaluate(values)
    assert best_first == sorted(best_first, reverse=True)
    for _ in range(2):  # first down, then up
        browser.evaluate("document.querySelector('th.fig button').click()")
    assert browser.evaluate("document.querySelector('th.fig').ariaSort") == "ascending"
    assert browser.evaluate(values) == sorted(best_first)
    browser.press("/")
    browser.write("chance floor")
    browser.wait_for(f"{SHOWN} === 1")


def test_the_cost_is_chosen_with_the_arrow_keys(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["board"])
    shown = "[...document.querySelectorAll('.panel')].map(panel => panel.getBoundingClientRect().height > 0)"
    assert browser.evaluate(shown)[:2] == [True, False]
    browser.evaluate("document.querySelector('.tabs input').focus()")
    browser.press("ArrowRight")
    assert browser.evaluate(shown)[:2] == [False, True]


def test_a_phone_gets_the_plot_drawn_for_it(browser: Browser, pages: dict[str, Path]) -> None:
    for width, kind in ((DESKTOP, "wide"), (PHONE, "narrow")):
        browser.open(pages["board"], width)
        seen = browser.evaluate(
            "[...document.querySelectorAll('.plot')].find(p => p.getBoundingClientRect().width).classList[1]"
        )
        assert seen == kind
        size = browser.evaluate(
            "(p => p.getBoundingClientRect().width / p.viewBox.baseVal.width)"
            "([...document.querySelectorAll('.plot')].find(p => p.getBoundingClientRect().width))"
        )
        assert size == pytest.approx(1, abs=0.1)  # so that its letters have the size that they were drawn in


@pytest.mark.parametrize("kind", ["run", "pair", "retrieval"])
def test_on_a_phone_the_items_begin_within_ten_screens(browser: Browser, pages: dict[str, Path], kind: str) -> None:
    browser.open(pages[kind], PHONE, 844)
    top = browser.evaluate("document.getElementById('items').getBoundingClientRect().top + window.scrollY")
    assert 0 < top < 10 * 844
