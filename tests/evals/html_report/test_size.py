"""A page opens from disk and stays under 5 MB, whatever the run holds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from baselines.captions import CaptionFile, load_captions
from evals.html_report.items import MOST_THUMBS, STRIP, Budget, CaptionLine, Frame, ItemView, Strip, within_budget
from evals.html_report.run_page import read_run_files, run_page
from tasks.multiple_choice import MultipleChoiceTask
from tasks.task import Clip, FramesSeen
from tests.evals.conftest import ToyModel, run_toy
from tests.evals.html_report.conftest import Elements

LIMIT = 5_000_000


def test_500_real_questions_with_captions_and_pictures_stay_under_5_mb(
    egoschema_500: MultipleChoiceTask, shared_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    video = shared_data / "videos" / "natural" / "flipping_a_pancake_10s.mkv"
    items = [replace(item, clip=Clip(item.id, 0, 10, video)) for item in egoschema_500.items()]
    task = MultipleChoiceTask(egoschema_500.info, items, egoschema_500.prompts)
    run_toy(task, ToyModel(), tmp_path, batch_size=500)
    captions = load_captions(shared_data / "captions" / "egoschema_lavila_1s.json")
    page = run_page(read_run_files(tmp_path), task, captions)
    assert len(page.encode()) < LIMIT
    found = Elements(page)
    assert len(found.texts("details", "item")) == 500
    assert len(found.texts("details", "captions")) > 12
    pictures = [attributes.get("class") for tag, attributes, _ in found.found if tag == "img"]
    assert pictures.count(None) == 12 * STRIP
    assert pictures.count("thumb") == MOST_THUMBS


def test_items_with_the_longest_fields_are_left_out_from_the_middle(tmp_path: Path) -> None:
    views = [
        ItemView(key=str(n), id=str(n), outcome="right", worth=n, title="<" * 3_000, figure="") for n in range(500)
    ]
    kept, left_out = within_budget(views, 500_000)
    assert len(kept) + left_out == 500
    assert sum(view.size for view in kept) <= 500_000 < sum(view.size for view in views)
    numbers = [int(view.key) for view in kept]
    assert numbers == sorted(numbers)
    assert {0, 499} <= set(numbers)
    assert max(b - a for a, b in pairwise(numbers)) == left_out + 1


def test_the_longest_run_stays_under_5_mb(egoschema_5031: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(egoschema_5031, ToyModel(), tmp_path, batch_size=5031)
    files = read_run_files(tmp_path)
    long = {"raw": "<&>" * 3_000, "notes": {"n": "é<" * 3_000}}
    samples = {key: s.model_copy(update=long | {"frames": FramesSeen(count=9)}) for key, s in files.samples.items()}
    page = run_page(replace(files, samples=samples), egoschema_5031, CaptionFile(tmp_path, "", "", {}))
    assert len(page.encode()) < LIMIT
    assert "items from the middle of the order are left out" in page


def test_a_budget_is_never_overspent() -> None:
    budget = Budget(captions=1_000, pictures=1_000)
    lines = (CaptionLine(None, "x" * 300),) * 2
    assert [len(budget.admit_captions(lines)) for _ in range(3)] == [2, 0, 0]
    strip = Strip((Frame("y" * 400, 0.0, 1, 1),))
    assert [len(budget.admit_strip(strip).frames) for _ in range(4)] == [1, 1, 0, 0]
    assert budget.admit_strip(strip).why_not
    small = Budget(thumbs=1_000)
    assert [small.admit_thumb(Frame("y" * 400, 0.0, 1, 1)) is None for _ in range(3)] == [False, False, True]
    assert min(budget.captions, budget.pictures, small.thumbs) >= 0
