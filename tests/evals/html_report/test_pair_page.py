"""The page of two runs: the paired figure on top, and the same questions under both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evals.compare.build import compare
from evals.compare.record import read_records
from evals.html_report.items import REEL, captions_of, evidence_times, reel_moments, reels, strip, timeline
from evals.html_report.pair_page import pair_page
from evals.html_report.run_page import read_run_files, run_page
from evals.store import read_samples
from tasks.multiple_choice import MultipleChoiceTask
from tasks.task import Clip
from tests.evals.compare.runs import Right, run_as
from tests.evals.conftest import ToyModel, longvid, run_toy, toy_task
from tests.evals.html_report.chromium import Browser
from tests.evals.html_report.conftest import Elements, page_of

SHOWN = "[...document.querySelectorAll('.item')].filter(n => !n.hidden)"


def labelled(count: int = 30) -> MultipleChoiceTask:
    """Toy questions of two kinds that turn on the seconds 10 to 20."""
    plain = toy_task(count)
    items = [
        replace(item, labels={"kind": "order" if n % 2 else "tools"}, evidence=((10.0, 20.0),))
        for n, item in enumerate(plain.items())
    ]
    return MultipleChoiceTask(plain.info, items, plain.prompts)


def two_runs_page(folder: Path) -> str:
    """The page of a run that is right on the odd questions and one that is right on the first half."""
    task = labelled()
    for seed, name in enumerate(("weak", "strong")):
        run_as(task, Right(task, 0.3 + 0.4 * seed, seed=seed), folder / name, options={"of": name})
    records = read_records([folder / "weak", folder / "strong"])
    return pair_page(records, compare(records, task), task)


def test_the_conclusion_and_the_paired_figure_stand_first(tmp_path: Path) -> None:
    page = Elements(two_runs_page(tmp_path))
    assert page.texts("p", "conclusion")[0].startswith(("strong does better than weak", "These 30 items do not tell"))
    (figure,) = page.texts("table", "shifts")
    assert "accuracy" in figure
    assert "points" in figure


def test_each_question_says_who_was_right_and_who_chose_what(tmp_path: Path) -> None:
    page = Elements(two_runs_page(tmp_path))
    samples = [read_samples(tmp_path / name) for name in ("weak", "strong")]
    items = page.texts("details", "item")
    assert len(items) == 30
    for item in labelled().items():
        (text,) = [text for text in items if item.question in text]
        first, other = (found[item.id].answer == item.answer for found in samples)
        outcome = {(True, False): "only A right", (False, True): "only B right", (True, True): "both right"}
        assert text.startswith(outcome.get((first, other), "both wrong"))
        assert text.count("A chose") == text.count("B chose") == 1


def test_a_filter_shows_what_one_got_right_and_the_other_wrong(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "pair.html").write_text(two_runs_page(tmp_path), encoding="utf-8")
    browser.open(tmp_path / "pair.html")
    browser.evaluate("document.querySelector('button[data-outcome=\"only B right\"]').click()")
    shown = browser.evaluate(
        "[...document.querySelectorAll('.item')].filter(n => !n.hidden).map(n => n.dataset.outcome)"
    )
    assert set(shown) == {"only B right"}
    assert 0 < len(shown) < 30


def test_items_are_filtered_by_label_and_gone_through_by_keys(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "pair.html").write_text(two_runs_page(tmp_path), encoding="utf-8")
    browser.open(tmp_path / "pair.html")
    pick = "const s = document.querySelector('select[data-labels]'); s.value = 'kind=order'; "
    browser.evaluate(f"(() => {{ {pick} s.dispatchEvent(new Event('change')); }})()")
    assert browser.evaluate(f"{SHOWN}.length") == 15
    opened = f"{SHOWN}.findIndex(n => n.open)"
    keys = (("n", 0), ("j", 1), ("ArrowRight", 2), ("p", 1), ("k", 0), ("j", 1), ("ArrowLeft", 0))
    for key, place in keys:
        browser.press(key)
        assert browser.evaluate(opened) == place
    assert browser.complaints == []


def test_the_command_writes_the_page_and_names_it(tmp_path: Path) -> None:
    task = toy_task(12)
    for name, share in (("one", 0.2), ("two", 0.8)):
        run_as(task, Right(task, share), tmp_path / name, options={"of": name})
    done = longvid("compare", tmp_path / "one", tmp_path / "two", "--html", tmp_path / "pair.html")
    assert f"page: {tmp_path / 'pair.html'}" in done.stdout.splitlines()
    assert (tmp_path / "pair.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    three = longvid("compare", tmp_path / "one", tmp_path / "two", tmp_path / "x", "--html", tmp_path / "pair.html")
    assert three.returncode == 2
    assert "--html makes a page of two runs, not of 3" in three.stderr


def test_what_an_aggregator_read_is_shown_with_its_times(tmp_path: Path) -> None:
    task = toy_task(3)
    run_toy(task, ToyModel(), tmp_path)
    files = read_run_files(tmp_path)
    text = "[0:00-0:16] C washes a bowl; C picks a sponge\n[1:02:03-1:02:19] C dries it\nno time here"
    notes = {"captions": 12, "captions_text": text, "segments": 3}
    samples = {key: sample.model_copy(update={"notes": notes}) for key, sample in files.samples.items()}
    lines = captions_of(next(iter(samples.values())), None, None)
    assert [(line.seconds, line.text) for line in lines] == [
        (0.0, "C washes a bowl; C picks a sponge"), (3723.0, "C dries it"), (None, "no time here")
    ]  # fmt: skip
    page = Elements(run_page(replace(files, samples=samples), task))
    assert all("3 captions 0 s C washes a bowl" in item for item in page.texts("details", "item"))
    assert not any("captions_text" in note for note in page.texts("p", "notes"))


def test_a_timeline_holds_evidence_frames_and_captions() -> None:
    clip = Clip("v", 0.0, 100.0)
    assert timeline(clip, (), (), ()) is None
    made = timeline(clip, ((10.0, 20.0),), (0.0, 50.0, 400.0), ())
    assert made is not None
    assert made.evidence == ((60.0, 60.0),)
    assert made.frames == (0.0, 300.0)
    assert timeline(Clip("v", 0.0, float("inf")), ((10.0, 20.0),), (), ()) is None


def test_the_page_of_a_run_shows_where_its_evidence_lies(tmp_path: Path) -> None:
    run_toy(labelled(), ToyModel(), tmp_path)
    page = Elements(page_of(tmp_path, labelled()))
    assert page.texts("figure", "timeline")
    assert 'aria-label="1 stretches of evidence' in page_of(tmp_path, labelled())


def test_frames_show_the_evidence_first_those_that_were_seen() -> None:
    clip = Clip("v", 0.0, 100.0)
    assert evidence_times(((10.0, 20.0),), clip, [5.0, 12.0, 18.0, 50.0], 5) == [12.0, 18.0]
    assert evidence_times(((10.0, 20.0), (40.0, 60.0)), clip, [], 5) == [15.0, 50.0]
    assert evidence_times((), clip, [5.0], 5) == []


def test_a_strip_has_ten_frames_with_the_evidence_among_them(shared_data: Path) -> None:
    pytest.importorskip("torch")
    path = shared_data / "videos" / "natural" / "bikes_10s.mp4"
    made = strip(Clip("v", 0.0, 9.0, path), (), evidence=((4.0, 4.2),))
    assert len(made.frames) == 10
    assert any(abs(frame.seconds - 4.1) < 0.11 for frame in made.frames)


def test_half_of_a_reel_s_frames_or_more_are_of_the_evidence_and_the_others_of_the_whole_clip() -> None:
    clip = Clip("v", 100.0, 200.0)
    assert [at for at, _ in reel_moments(clip, ())] == [106.25 + 12.5 * n for n in range(REEL)]
    one = reel_moments(clip, ((110.0, 118.0),))
    assert [at for at, telling in one if telling] == [111.0, 112.5, 113.0, 115.0, 117.0]
    assert [at for at, telling in one if not telling] == [137.5, 162.5, 187.5]
    many = reel_moments(clip, [(102.0 + 5 * n, 103.0 + 5 * n) for n in range(19)])
    assert [sum(telling for _, telling in moments) for moments in (one, many)] == [5, 6]
    assert [len(moments) for moments in (one, many)] == [REEL, REEL]
    assert reel_moments(clip, ((300.0, 310.0),)) == reel_moments(clip, ())
    assert reel_moments(Clip("v", 0.0, float("inf")), ()) == ()


def test_a_time_that_cannot_be_read_costs_the_other_items_of_a_video_nothing(shared_data: Path) -> None:
    pytest.importorskip("torch")
    path = shared_data / "videos" / "natural" / "bikes_10s.mp4"
    item = next(iter(toy_task(1).items()))
    items = {
        name: replace(item, clip=Clip("v", start, start + 9.0, path)) for name, start in (("good", 0.0), ("bad", 900.0))
    }
    made = reels(["bad", "good"], items)
    assert made.keys() == {"good"}
    assert made["good"].width > REEL * made["good"].height > 0


def test_every_item_of_a_pair_s_list_has_pictures_where_the_video_is_at_hand(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = shared_data / "videos" / "natural" / "bikes_10s.mp4"
    plain = toy_task(8)
    items = [replace(item, clip=replace(item.clip, end=9.0, path=path)) for item in plain.items()]
    task = MultipleChoiceTask(plain.info, items, plain.prompts)
    for name, share in (("first", 0.2), ("other", 0.8)):
        run_as(task, Right(task, share), tmp_path / name, options={"of": name})
    records = read_records([tmp_path / "first", tmp_path / "other"])
    page = Elements(pair_page(records, compare(records, task), task))
    assert len(page.texts("details", "item")) == len(page.texts("div", "strip")) == 8
    assert 0 < len(page.texts("figure", "reel")) < 8


def test_videos_are_played_from_the_evidence_only_where_that_is_asked_for(
    browser: Browser, tmp_path: Path, shared_data: Path
) -> None:
    path = shared_data / "videos" / "natural" / "bikes_10s.mp4"
    plain = labelled(3)
    items = [
        replace(item, clip=replace(item.clip, end=9.0, path=path), evidence=((4.0, 5.0),)) for item in plain.items()
    ]
    task = MultipleChoiceTask(plain.info, items, plain.prompts)
    run_toy(task, ToyModel(), tmp_path / "run")
    files = read_run_files(tmp_path / "run")
    assert "<video" not in run_page(files, task)
    text = run_page(files, task, media=True)
    assert f'src="{path.resolve().as_uri()}#t=4.0"' in text
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    browser.open(tmp_path / "page.html")
    browser.evaluate("document.querySelector('.card video').load()")
    assert browser.complaints == []


def test_a_picture_is_enlarged_by_a_click_and_put_away_by_escape(
    browser: Browser, tmp_path: Path, shared_data: Path
) -> None:
    pytest.importorskip("torch")
    path = shared_data / "videos" / "natural" / "bikes_10s.mp4"
    plain = toy_task(3)
    items = [replace(item, clip=replace(item.clip, end=9.0, path=path)) for item in plain.items()]
    task = MultipleChoiceTask(plain.info, items, plain.prompts)
    run_toy(task, ToyModel(), tmp_path / "run")
    (tmp_path / "page.html").write_text(page_of(tmp_path / "run", task), encoding="utf-8")
    browser.open(tmp_path / "page.html")
    browser.evaluate("document.querySelector('button.zoom').click()")
    assert browser.evaluate("document.querySelectorAll('dialog[open] img').length") == 1
    browser.press("Escape")
    browser.wait_for("document.querySelectorAll('dialog').length === 0")
    assert browser.complaints == []


@pytest.mark.parametrize("width", [1280, 390])
def test_an_outcome_does_not_cover_its_question(browser: Browser, tmp_path: Path, width: int) -> None:
    (tmp_path / "pair.html").write_text(two_runs_page(tmp_path), encoding="utf-8")
    browser.open(tmp_path / "pair.html", width)
    place = "n.querySelector('{}').getBoundingClientRect().{}"
    gap = f"{place.format('.title', 'left')} - {place.format('.outcome', 'right')}"
    assert browser.evaluate(f"Math.min(...[...document.querySelectorAll('.item')].map(n => {gap}))") >= 0
