"""A page opens from disk and stays under 5 MB, whatever the run holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import evals.html_report.items
import evals.html_report.run_page
from baselines.captions import CaptionFile, load_captions
from evals.compare.build import compare
from evals.compare.record import read_records
from evals.html_report.items import (
    MOST_VIDEOS,
    REEL,
    STRIP,
    Budget,
    CaptionLine,
    Frame,
    ItemView,
    Moments,
    Reel,
    Strip,
    from_both_ends,
    item_view,
    reels,
    within_budget,
)
from evals.html_report.pair_page import pair_page
from evals.html_report.run_page import CARDS, read_run_files, run_page
from evals.record import Sample
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask
from tasks.task import Clip, FramesSeen
from tests.evals.compare.runs import Right, run_as
from tests.evals.conftest import ToyModel, run_toy, toy_task
from tests.evals.html_report.conftest import Elements

LIMIT = 5_000_000


def test_500_real_questions_with_captions_and_pictures_stay_under_5_mb(
    egoschema_500: MultipleChoiceTask, shared_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    video = shared_data / "videos" / "natural" / "flipping_a_pancake_10s.mkv"
    items = [replace(item, clip=Clip(item.id, 0, 9, video)) for item in egoschema_500.items()]
    task = MultipleChoiceTask(egoschema_500.info, items, egoschema_500.prompts)
    run_toy(task, ToyModel(), tmp_path, batch_size=500)
    captions = load_captions(shared_data / "captions" / "egoschema_lavila_1s.json")
    page = run_page(read_run_files(tmp_path), task, captions)
    assert len(page.encode()) < LIMIT
    found = Elements(page)
    assert len(found.texts("details", "item")) == 500
    assert len(found.texts("details", "captions")) > 12
    pictures = [attributes for tag, attributes, _ in found.found if tag == "img"]
    thumbs = [one for one in pictures if one.get("class") == "thumb"]
    listed = [one for one in pictures if (one.get("alt") or "").startswith(f"{REEL} frames")]
    assert len(pictures) == 12 * STRIP + len(thumbs) + len(listed)
    assert len(thumbs) == len(listed) > 100
    assert f"Pictures are of {len(listed)} of the 500 items" in page


def test_items_with_the_longest_fields_are_left_out_from_the_middle(tmp_path: Path) -> None:
    made = []

    def view_of(key: str) -> ItemView:
        made.append(key)
        return ItemView(key=key, id=key, outcome="right", title="<" * 3_000, figure="")

    kept = within_budget(from_both_ends([str(n) for n in range(500)]), view_of, 500_000)
    assert sum(view.size for view in kept.values()) <= 500_000 < 500 * kept["0"].size
    numbers = sorted(map(int, kept))
    assert {0, 499} <= set(numbers)
    assert max(b - a for a, b in pairwise(numbers)) == 500 - len(kept) + 1
    assert len(made) == len(kept) + 1


def test_what_an_item_takes_in_a_page_is_not_underestimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [
        ChoiceItem(
            f"q{number}", f"c{number}", Clip(f"v{number}", 0.0, 180.0), "How often was the rim tapped?",
            tuple(f"the rim was tapped {count} times" for count in range(5)), number % 5,
            labels={"question type": "count", "position of the evidence": "last third", "length": "2 min"},
            evidence=((10.0, 20.0), (60.0, 75.0), (110.0, 120.0)),
        )
        for number in range(60)
    ]  # fmt: skip
    task = MultipleChoiceTask(replace(toy_task().info, item_count=len(items)), items, toy_task().prompts)
    run_toy(task, ToyModel(), tmp_path, batch_size=60)
    files = read_run_files(tmp_path)
    seen = FramesSeen(count=128, seconds=tuple(1.4 * n for n in range(128)), share_of_clip=1.0)
    samples = {key: sample.model_copy(update={"frames": seen}) for key, sample in files.samples.items()}
    sizes: dict[str, int] = {}

    def measured(sample: Sample, *given: Any, **named: Any) -> ItemView:
        view = item_view(sample, *given, **named)
        sizes[sample.id] = view.size
        return view

    monkeypatch.setattr(evals.html_report.run_page, "item_view", measured)
    page = run_page(replace(files, samples=samples), task)
    listed = page.partition('<div class="items">')[2].partition("</section>")[0]
    assert listed.count('<details class="item') == len(sizes) == 60
    assert len(listed.encode()) <= sum(sizes.values()) <= 1.3 * len(listed.encode())


def test_the_longest_run_stays_under_5_mb(egoschema_5031: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(egoschema_5031, ToyModel(), tmp_path, batch_size=5031)
    files = read_run_files(tmp_path)
    long = {"raw": "<&>" * 3_000, "notes": {"n": "é<" * 3_000}}
    samples = {key: s.model_copy(update=long | {"frames": FramesSeen(count=9)}) for key, s in files.samples.items()}
    page = run_page(replace(files, samples=samples), egoschema_5031, CaptionFile(tmp_path, "", "", {}))
    assert len(page.encode()) < LIMIT
    assert "items from the middle of the order are left out" in page


def test_a_page_of_two_long_runs_stays_under_5_mb_and_shows_wins_and_losses_first(
    egoschema_5031: MultipleChoiceTask, tmp_path: Path
) -> None:
    items = [replace(item, answer=number % 5) for number, item in enumerate(egoschema_5031.items()[:2_500])]
    task = MultipleChoiceTask(replace(egoschema_5031.info, item_count=len(items)), items, egoschema_5031.prompts)
    for seed, (name, share) in enumerate((("first", 0.4), ("other", 0.6))):
        run_as(task, Right(task, share, seed=seed), tmp_path / name, options={"of": name})
    records = read_records([tmp_path / "first", tmp_path / "other"])
    comparison = compare(records, task)
    page = pair_page(records, comparison, task)
    assert len(page.encode()) < LIMIT
    found = Elements(page).found
    outcomes = Counter(
        attributes["data-outcome"] for tag, attributes, _ in found if tag == "details" and "data-outcome" in attributes
    )
    assert outcomes["only A right"] > 100 < outcomes["only B right"]
    assert outcomes.keys() == {"only A right", "only B right"}
    assert f"{2_500 - outcomes.total():,} of 2,500 items are left out" in page


def test_a_view_is_made_of_the_items_that_are_shown_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = toy_task(300)
    run_toy(task, ToyModel(), tmp_path, batch_size=300)
    made: list[str] = []

    def counted(sample: Sample, *given: Any, **named: Any) -> ItemView:
        made.append(sample.id)
        return item_view(sample, *given, **named)

    monkeypatch.setattr(evals.html_report.run_page, "item_view", counted)
    monkeypatch.setattr(evals.html_report.run_page, "within_budget", partial(within_budget, budget=100_000))
    shown = len(Elements(run_page(read_run_files(tmp_path), task)).texts("details", "item"))
    # Those at length are made a second time, and the first that no longer fits once.
    assert shown + 1 <= len(made) <= shown + 1 + 2 * CARDS < 200


def test_a_budget_is_never_overspent() -> None:
    budget = Budget(captions=1_000, pictures=1_000)
    lines = (CaptionLine(None, "x" * 300),) * 2
    assert [len(budget.admit_captions(lines)) for _ in range(3)] == [2, 0, 0]
    strip = Strip((Frame("y" * 400, 0.0, 1, 1),))
    assert [len(budget.admit_strip(strip).frames) for _ in range(4)] == [1, 1, 0, 0]
    assert budget.admit_strip(strip).why_not
    reel = Reel("y" * 300, (), (), 1, 1, Frame("y" * 100, 0.0, 1, 1))
    small = Budget(reels=2 * reel.size + 1)
    assert [small.admit_reel(reel) is None for _ in range(3)] == [False, False, True]
    assert min(budget.captions, budget.pictures, small.reels) >= 0


def test_reels_are_of_so_many_videos_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def counted(path: Path, asked: tuple[Moments, ...]) -> tuple[None, ...]:
        read.append(len(asked))
        return (None,) * len(asked)

    monkeypatch.setattr(evals.html_report.items, "read_reels", counted)
    items = {}
    for number in range(3 * MOST_VIDEOS):
        path = tmp_path / f"{number // 2}.mp4"
        path.touch()
        clip = Clip(f"v{number // 2}", float(number), number + 9.0, path)
        items[f"q{number}"] = ChoiceItem(f"q{number}", "c", clip, "What?", ("a", "b"), 0)
    assert reels(items, items) == {}
    assert read == [2] * MOST_VIDEOS
