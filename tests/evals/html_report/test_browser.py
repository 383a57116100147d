"""The pages in a real browser: no complaint, no request, nothing too wide, and all of it by keyboard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evals.html_report import leaderboard_page
from evals.html_report.index_page import index_page
from evals.html_report.run_page import read_run_files, run_page
from evals.leaderboard.build import build_leaderboard
from evals.sweep import Point, Step, Sweep, sweep_page
from tasks.multiple_choice import MultipleChoiceTask
from tasks.task import Clip, Metric
from tests.evals.conftest import ToyModel, run_toy, toy_task
from tests.evals.html_report.chromium import Browser
from tests.evals.html_report.conftest import page_of
from tests.evals.html_report.hostile import hostile_board_page, hostile_pair_page, hostile_run_page
from tests.evals.html_report.test_pair_page import two_runs_page
from tests.evals.html_report.test_run_page import retrieval_run
from tests.evals.records import results_of

DESKTOP, PHONE = 1280, 390
KINDS = (
    "run",
    "bare",
    "retrieval",
    "board",
    "index",
    "sweep",
    "pair",
    "pictures",
    "hostile run",
    "hostile board",
    "hostile pair",
)
SHOWN = "[...document.querySelectorAll('[data-find]')].filter(n => !n.hidden).length"


METRICS = [
    Metric("accuracy", value, (value - 0.1, value + 0.1), 0.95, "jackknife", 100, 20, True, True)
    for value in (0.4, 0.6)
]
STEP = Step(first="8", other="16", difference=0.2, interval=(0.1, 0.3), p=0.01, supported=True)
CURVE = Sweep(
    task="toy@100", model="toy", options={}, option="frames", steps=(STEP,), whole=STEP, finding="More frames help.",
    points=tuple(
        Point(
            value=value, run=f"frames={value}", status="complete", metric=metric, frames_per_item=8.0,
            prompt_tokens_per_item=None, seconds_per_item=0.5, peak_memory_bytes=None,
        )
        for value, metric in zip(("8", "16"), METRICS, strict=True)
    ),
)  # fmt: skip


def pictures_page(folder: Path) -> str:
    """A run about a video that is at hand: its page has frames, thumbnails, timelines and captions."""
    plain = toy_task(6)
    folder.mkdir()
    video = write_video(folder / "v.mp4")
    items = [replace(i, clip=Clip("v", 0, 4, video), evidence=((1.0, 2.0),)) for i in plain.items()]
    task = MultipleChoiceTask(plain.info, items, plain.prompts)
    run_toy(task, ToyModel(), folder / "run")
    files = read_run_files(folder / "run")
    notes = {"captions": 1, "captions_text": "[0:00-0:02] C washes a bowl"}
    samples = {key: sample.model_copy(update={"notes": notes}) for key, sample in files.samples.items()}
    return run_page(replace(files, samples=samples), task)


def write_video(path: Path) -> Path:
    """Four seconds of changing grey."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 12 * n, np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


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
        "index": index_page(board, {}, "longvid leaderboard runs -o site"),
        "sweep": sweep_page(CURVE, "multiple-choice"),
        "pictures": pictures_page(folder / "pictures"),
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


AXE = Path(__file__).parents[3] / ".axe" / "package" / "axe.min.js"
CHECKED = ("run", "index", "pair", "sweep", "board", "pictures")
VIOLATIONS = """axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations.map((found) =>
  [found.id, ...found.nodes.map((node) => `${node.target} ${node.any.concat(node.all).map((a) => a.message)}`)]))"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("kind", CHECKED)
def test_a_page_has_no_fault_that_axe_finds(browser: Browser, pages: dict[str, Path], kind: str, dark: bool) -> None:
    if not AXE.is_file():
        pytest.skip("no axe-core: (mkdir -p .axe; cd .axe; npm pack axe-core@4; tar xzf axe-core-4.*.tgz)")
    browser.open(pages[kind], PHONE if dark else DESKTOP, dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    browser.evaluate(AXE.read_text(encoding="utf-8"))
    assert browser.evaluate(VIOLATIONS) == []


STOPS = """(() => {
  const at = document.activeElement;
  const style = getComputedStyle(at.matches('.tabs input') ? at.nextElementSibling : at);
  return [at.tagName, at.outerHTML.slice(0, 80), style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0];
})()"""
REACHABLE = """[...document.querySelectorAll('a[href], button, input:not([type=radio]), select, summary, video')]
  .filter((one) => one.checkVisibility({contentVisibilityAuto: true})).length"""


@pytest.mark.parametrize("kind", ["index", "pictures"])
def test_all_that_can_be_used_is_reached_by_tab_with_the_focus_seen(
    browser: Browser, pages: dict[str, Path], kind: str
) -> None:
    browser.open(pages[kind])
    stops: list[tuple[str, str, bool]] = []
    count = browser.evaluate(REACHABLE)
    for _ in range(count + 12):
        browser.press("Tab")
        stops.append(tuple(browser.evaluate(STOPS)))
        if stops[-1][0] == "BODY":
            break
    used = [stop for stop in stops if stop[0] in {"A", "a", "BUTTON", "INPUT", "SELECT", "SUMMARY", "VIDEO"}]
    radios = [stop for stop in used if "radio" in stop[1]]
    assert len(used) - len(radios) >= count
    assert [text for tag, text, seen in stops if not seen and tag != "BODY"] == []


def test_the_index_is_sorted_filtered_and_freed_of_floors_by_keys_alone(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["index"])
    browser.evaluate("document.querySelector('thead th.fig button').focus()")
    browser.press("Enter")
    assert browser.evaluate("document.querySelector('thead th.fig').ariaSort") == "descending"
    browser.press("Enter")
    assert browser.evaluate("document.querySelector('thead th.fig').ariaSort") == "ascending"
    before = browser.evaluate(SHOWN)
    browser.evaluate("document.getElementById('hide').focus()")
    browser.press(" ")
    assert 0 < browser.evaluate(SHOWN) < before
    browser.evaluate("document.querySelector('button[data-outcome]').focus()")
    browser.press("Enter")
    assert browser.evaluate("document.querySelector('button[data-outcome]').ariaPressed") == "true"


def test_items_have_thumbnails_and_a_picture_is_enlarged_and_left_by_keys(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["pictures"])
    assert browser.evaluate("document.querySelectorAll('.item summary img.thumb').length") == 6
    assert browser.evaluate("document.querySelectorAll('.item .reel img').length") == 6
    browser.evaluate("document.querySelector('button.zoom').focus()")
    browser.press("Enter")
    large = "document.querySelector('dialog[open] img')"
    assert browser.evaluate(f"{large}.getBoundingClientRect().width") > 600
    first = browser.evaluate(f"{large}.alt")
    browser.press("ArrowRight")
    assert browser.evaluate(f"{large}.alt") != first
    browser.press("Escape")
    browser.wait_for("!document.querySelector('dialog')")
    assert browser.evaluate("document.activeElement.className") == "zoom"
