"""YouCook2's annotations: what is published is read, what is not is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import DataError
from tasks.youcook2 import (
    ANNOTATIONS,
    ITEM_SETS,
    RETRIEVAL_TASKS,
    STANDARD_POOL,
    load_clip_captioning,
    load_retrieval,
    load_summary,
    training_texts,
)
from tasks.youcook2_annotations import read_annotations


def database() -> dict[str, Any]:
    def video(subset: str) -> dict[str, Any]:
        steps = [
            {"segment": [0, 10], "id": 0, "sentence": "cut the onion"},
            {"segment": [12, 20], "id": 1, "sentence": "fry it"},
        ]
        return {"duration": 21.5, "subset": subset, "recipe_type": "101", "annotations": steps}

    return {"first": video("training"), "second": video("validation")}


def written(folder: Path, content: object) -> Path:
    path = folder / ANNOTATIONS
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("pool", RETRIEVAL_TASKS)
def test_a_retrieval_pool_has_its_published_items(shared_data: Path, pool: str) -> None:
    task = load_retrieval(shared_data / "youcook2", pool)
    assert len({item.id for item in task.items()}) == ITEM_SETS[RETRIEVAL_TASKS[pool]][0] == task.info.item_count
    assert task.info.name.endswith(f"@{task.info.item_count}")


def test_the_standard_pool_has_436_videos_and_3273_distinct_captions(shared_data: Path) -> None:
    items = load_retrieval(shared_data / "youcook2").items()
    assert len({item.cluster for item in items}) == 436
    assert len({item.text for item in items}) == 3273


def test_summaries_are_scored_against_whole_paragraphs(shared_data: Path) -> None:
    task = load_summary(shared_data / "youcook2")
    published = json.loads((shared_data / "youcook2" / "val_paragraphs.json").read_text(encoding="utf-8"))
    assert {item.id: item.references[0].split() for item in task.items()} == {
        name: text.split() for name, text in published.items()
    }
    assert len(task.training) == 1333


def test_clip_captions_come_with_training_sentences(shared_data: Path) -> None:
    task = load_clip_captioning(shared_data / "youcook2")
    assert (len(task.items()), len({item.cluster for item in task.items()})) == (3492, 457)
    assert len(task.training) == 10337


def test_another_text_makes_another_item_set(shared_data: Path, tmp_path: Path) -> None:
    text = (shared_data / "youcook2" / ANNOTATIONS).read_text(encoding="utf-8")
    (tmp_path / ANNOTATIONS).write_text(text.replace("pick the ends off", "pick the end off"), encoding="utf-8")
    with pytest.raises(DataError, match=r"not the items of youcook2-summary@457"):
        load_summary(tmp_path)


@pytest.mark.parametrize(
    ("published", "changed", "complaint"),
    [
        ("60,47,226", "60,46,226", r"line 2 \(xHr8X2Wpmno, 46–60 s\)"),
        ("60,47,226", "sixty,47,226", "line 2 is malformed"),
        ("end,start", "fin,start", "line 2 is malformed .*'end'"),
        ("89,67,226", "67,89,226", r"line 3 \(xHr8X2Wpmno, 89–67 s\)"),
    ],
)
def test_a_bad_pool_row_is_named(
    shared_data: Path, tmp_path: Path, published: str, changed: str, complaint: str
) -> None:
    for name in (ANNOTATIONS, STANDARD_POOL):
        shutil.copy(shared_data / "youcook2" / name, tmp_path / name)
    path = tmp_path / STANDARD_POOL
    path.chmod(0o644)
    path.write_text(path.read_text(encoding="utf-8").replace(published, changed, 1), encoding="utf-8")
    with pytest.raises(DataError, match=complaint):
        load_retrieval(tmp_path)


def test_a_pool_row_that_stands_there_twice_is_named(shared_data: Path, tmp_path: Path) -> None:
    shutil.copy(shared_data / "youcook2" / ANNOTATIONS, tmp_path / ANNOTATIONS)
    lines = (shared_data / "youcook2" / STANDARD_POOL).read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / STANDARD_POOL).write_text("".join([*lines, lines[1]]), encoding="utf-8")
    with pytest.raises(DataError, match=r"xHr8X2Wpmno:\d+ \(2 times\)"):
        load_retrieval(tmp_path)


def test_a_missing_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="prepare"):
        load_summary(tmp_path)


def test_a_sound_file_is_read_in_order(tmp_path: Path) -> None:
    videos = read_annotations(written(tmp_path, {"database": database()}))
    assert [video.id for video in videos] == ["first", "second"]
    assert videos[0].paragraph == "cut the onion fry it"
    assert [text.text for text in training_texts(videos, "sentence")] == ["cut the onion", "fry it"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"segment": [12, 22]}, "'second' segment 1 ends at 22 s, after the video's end at 21.5 s"),
        ({"segment": [20, 12]}, "'second' segment 1 is reversed or empty"),
        ({"segment": [12, 12]}, "'second' segment 1 is reversed or empty"),
        ({"segment": [12]}, "'second' lacks a key or has one of the wrong kind"),
        ({"segment": [-1, 12]}, "'second' segment 1 has no valid times"),
        ({"sentence": "  "}, "'second' segment 1 has an empty sentence"),
        ({"sentence": None}, "'second' lacks a key or has one of the wrong kind"),
        ({"segment": ["12", "20"]}, "'second' lacks a key or has one of the wrong kind .*'12' is not a number"),
        ({"segment": "19"}, "'second' lacks a key or has one of the wrong kind .*'1' is not a number"),
        ({"segment": [True, 20]}, "'second' lacks a key or has one of the wrong kind .*True is not a number"),
        ({"id": 0}, r"'second' repeats segment ids \[0, 0\]"),
        ({"id": "0"}, "'second' lacks a key or has one of the wrong kind .*'0' is not a whole number"),
        ({"id": 0.5}, "'second' lacks a key or has one of the wrong kind .*0.5 is not a whole number"),
        ({"id": True}, "'second' lacks a key or has one of the wrong kind .*True is not a whole number"),
    ],
)
def test_a_bad_segment_refuses_the_file_by_its_id(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    content = database()
    content["second"]["annotations"][1].update(change)
    with pytest.raises(DataError, match=complaint):
        read_annotations(written(tmp_path, {"database": content}))


@pytest.mark.parametrize("key", ["segment", "id", "sentence"])
def test_a_segment_without_a_key_refuses_the_file_by_the_videos_id(tmp_path: Path, key: str) -> None:
    content = database()
    del content["second"]["annotations"][1][key]
    with pytest.raises(DataError, match=rf"'second' lacks a key.*{key}"):
        read_annotations(written(tmp_path, {"database": content}))


@pytest.mark.parametrize("duration", [0, -3])
def test_a_video_without_a_length_refuses_the_file_by_its_id(tmp_path: Path, duration: float) -> None:
    content = database()
    content["second"]["duration"] = duration
    with pytest.raises(DataError, match=f"'second' has no valid duration \\({duration:g} s\\)"):
        read_annotations(written(tmp_path, {"database": content}))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"subset": "validaton"}, "subset 'validaton' is not one of training, validation"),
        ({"recipe_type": None}, "None is not a text"),
        ({"duration": "21.5"}, "'21.5' is not a number"),
        ({"annotations": None}, "lacks a key or has one of the wrong kind"),
    ],
)
def test_a_value_of_another_kind_refuses_the_file_by_the_videos_id(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    content = database()
    content["second"].update(change)
    with pytest.raises(DataError, match=f"json is refused: 'second' .*{complaint}"):
        read_annotations(written(tmp_path, {"database": content}))


def test_a_video_without_segments_refuses_the_file_by_its_id(tmp_path: Path) -> None:
    content = database()
    content["first"]["annotations"] = []
    with pytest.raises(DataError, match="'first' has no segments"):
        read_annotations(written(tmp_path, {"database": content}))


def test_several_faults_are_all_counted_and_the_first_named(tmp_path: Path) -> None:
    content = {"database": {f"v{i}": {} for i in range(8)}}
    with pytest.raises(DataError, match=r"'v0' lacks.*'v4' lacks.* and 3 more"):
        read_annotations(written(tmp_path, content))


@pytest.mark.parametrize("key", ["duration", "subset", "recipe_type", "annotations"])
def test_a_missing_key_refuses_the_file_by_the_videos_id(tmp_path: Path, key: str) -> None:
    content = database()
    del content["first"][key]
    with pytest.raises(DataError, match=rf"'first' lacks a key.*{key}"):
        read_annotations(written(tmp_path, {"database": content}))


def test_a_video_that_stands_there_twice_is_named(tmp_path: Path) -> None:
    row = json.dumps(database()["first"])
    path = tmp_path / ANNOTATIONS
    path.write_text(f'{{"database": {{"first": {row}, "first": {row}}}}}', encoding="utf-8")
    with pytest.raises(DataError, match="has the key 'first' twice"):
        read_annotations(path)


@pytest.mark.parametrize("content", [[], {}, {"database": {}}, {"database": []}])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(DataError, match="database"):
        read_annotations(written(tmp_path, content))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["duration", "segment"])
def test_a_number_that_is_none_refuses_the_file(tmp_path: Path, key: str, number: float) -> None:
    content = database()
    if key == "duration":
        content["second"]["duration"] = number
    else:
        content["second"]["annotations"][1]["segment"] = [number, 12]
    with pytest.raises(DataError, match=r"youcookii_annotations_trainval\.json holds the number .*not finite"):
        read_annotations(written(tmp_path, {"database": content}))
