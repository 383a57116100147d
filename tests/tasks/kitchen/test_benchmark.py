"""The tasks of kitchen: pinned items, pools inside each other, floors that know the categories."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.errors import DataError
from tasks.kitchen import benchmark
from tasks.kitchen.benchmark import (
    ITEM_SETS,
    RETRIEVAL_TASKS,
    load_clip_captioning,
    load_qa,
    load_retrieval,
    load_summary,
)
from tasks.multiple_choice import evidence_share
from tasks.task import FramesSeen, Task

ROOT = Path(__file__).resolve().parents[3]
NOWHERE = Path("no-such-folder")


def load(name: str) -> Task:
    pool = name.partition("@")[2]
    if "retrieval" in name:
        return load_retrieval(NOWHERE, next(key for key, task in RETRIEVAL_TASKS.items() if task == name))
    kind, _, length = name.partition("@")[0].removeprefix("kitchen-").partition("qa-")
    if length:
        return load_qa(NOWHERE, pool, length)
    loader = {"qa": load_qa, "clip-captioning": load_clip_captioning, "summary": load_summary}
    return loader[kind](NOWHERE, pool)


@pytest.mark.parametrize("name", ITEM_SETS)
def test_a_pool_has_the_pinned_items_and_says_what_it_is(name: str) -> None:
    task = load(name)
    assert len(task.items()) == task.info.item_count == int(name.partition("@")[2])
    assert len({item.id for item in task.items()}) == task.info.item_count
    assert task.info.name == name
    assert task.info.source
    assert task.info.licence
    assert task.info.citation


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ("kitchen-qa@100", "kitchen-qa@500"),
        ("kitchen-video-retrieval@20", "kitchen-video-retrieval@100"),
        ("kitchen-clip-captioning@91", "kitchen-clip-captioning@464"),
        ("kitchen-summary@10", "kitchen-summary@100"),
    ],
)
def test_the_small_pool_is_part_of_the_large_one(small: str, large: str) -> None:
    wanted = {item.id for item in load(small).items()}
    assert [item for item in load(large).items() if item.id in wanted] == list(load(small).items())


@pytest.mark.parametrize(("name", "families"), [("kitchen-qa@100", 20), ("kitchen-summary@10", 10)])
def test_a_small_pool_of_questions_or_summaries_has_a_video_of_each_of_many_families(name: str, families: int) -> None:
    items = load(name).items()
    assert len({item.cluster for item in items}) == len({item.clip.video_id for item in items}) == families


def test_no_two_texts_of_a_retrieval_pool_are_equal() -> None:
    for pool in RETRIEVAL_TASKS:
        texts = [item.text for item in load_retrieval(NOWHERE, pool).items()]
        assert len(set(texts)) == len(texts)


def test_floors_know_training_texts_of_every_category_and_none_of_the_test_videos() -> None:
    for task in (load_summary(NOWHERE), load_clip_captioning(NOWHERE)):
        assert {item.label for item in task.items()} <= {text.label for text in task.training}
    told = {text.text for text in load_summary(NOWHERE).training}
    assert not told & {text for item in load_summary(NOWHERE).items() for text in item.references}


def test_prepared_videos_are_found(tmp_path: Path) -> None:
    first = load_qa(tmp_path).items()[0].clip.video_id
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / f"{first}.mp4").touch()
    items = load_qa(tmp_path).items()
    assert {item.clip.video_id for item in items if item.clip.path} == {first}


def test_items_other_than_the_pinned_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SPLIT", "val")
    with pytest.raises(DataError, match="did not make the items of kitchen-qa@100"):
        load_qa(NOWHERE, "100")


def test_neither_torch_nor_pyav_is_needed_to_load_or_render() -> None:
    code = (
        "import sys, tasks.kitchen.files; from tasks.kitchen.benchmark import load_qa; from pathlib import Path;"
        "load_qa(Path('x')); sys.exit(any(name in sys.modules for name in ('torch', 'av', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_questions_evidence_is_what_its_answer_speaks_of_within_the_video() -> None:
    task = load_qa(Path("nowhere"), "100")
    spans = {item.id: (item.evidence[0][0], item.evidence[-1][1]) for item in task.items()}
    for item in task.items():
        assert all(item.clip.start <= start < end <= item.clip.end for start, end in item.evidence)
        assert sorted(item.evidence) == list(item.evidence)
    assert len(spans) == len(task.items())


def test_frames_on_the_evidence_are_told_from_frames_beside_it() -> None:
    task = load_qa(Path("nowhere"), "100")
    item = task.items()[0]
    on = FramesSeen(len(item.evidence), tuple((start + end) / 2 for start, end in item.evidence))
    beside = FramesSeen(1, (item.clip.end + 1.0,))
    assert evidence_share(item, on) == 1.0
    assert evidence_share(item, beside) == 0.0
