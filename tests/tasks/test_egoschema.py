"""EgoSchema from its official files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tasks.egoschema import FILES, POOLS, load_egoschema, task_info
from tasks.errors import DataError


@pytest.fixture
def folder(shared_data: Path) -> Path:
    return shared_data / "egoschema"


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path


def test_the_500_have_347_sources_and_the_published_answer_counts(folder: Path) -> None:
    items = load_egoschema(folder, "500").items()
    assert len(items) == 500
    assert len({item.cluster for item in items}) == 347
    counts = Counter(item.answer for item in items)
    assert [counts[i] for i in range(5)] == [101, 108, 91, 83, 117]


def test_the_full_pool_has_5031_items_of_which_500_have_answers(folder: Path) -> None:
    items = load_egoschema(folder, "5031").items()
    assert len(items) == len({item.id for item in items}) == 5031
    assert sum(item.answer is not None for item in items) == 500
    assert {item.clip.duration for item in items} == {180.0}


def test_a_video_in_the_folder_is_found_by_its_id(copy: Path) -> None:
    uid = load_egoschema(copy).items()[3].id
    (copy / "videos").mkdir()
    (copy / "videos" / f"{uid}.mp4").touch()
    found = {item.id: item.clip.path for item in load_egoschema(copy).items() if item.clip.path}
    assert found == {uid: copy / "videos" / f"{uid}.mp4"}


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_the_way_to_get_it(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(DataError, match=rf"{name} is missing.*prepare"):
        load_egoschema(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes()[:-100])
    with pytest.raises(DataError, match=name):
        load_egoschema(copy)


def test_a_changed_answer_is_not_the_benchmark(copy: Path) -> None:
    answers = json.loads((copy / "subset_answers.json").read_text())
    first = next(iter(answers))
    answers[first] = (answers[first] + 1) % 5
    (copy / "subset_answers.json").write_text(json.dumps(answers))
    with pytest.raises(DataError, match="not the items of egoschema@500"):
        load_egoschema(copy)


def test_a_changed_word_is_not_the_benchmark(copy: Path) -> None:
    questions = json.loads((copy / "questions.json").read_text())
    questions[0]["option 2"] += "."
    (copy / "questions.json").write_text(json.dumps(questions))
    with pytest.raises(DataError, match="not the items of egoschema@5031"):
        load_egoschema(copy, "5031")


def test_a_question_without_an_option_is_named(copy: Path) -> None:
    questions = json.loads((copy / "questions.json").read_text())
    del questions[7]["option 4"]
    (copy / "questions.json").write_text(json.dumps(questions))
    with pytest.raises(DataError, match=r"questions\.json, entry 8: field 'option 4' is missing"):
        load_egoschema(copy)


@pytest.mark.parametrize("pool", POOLS)
def test_the_task_says_where_it_comes_from(pool: str) -> None:
    info = task_info("500" if pool == "500" else "5031")
    assert info.name == f"egoschema@{pool}"
    assert info.chance == 0.2
    assert all((info.source, info.licence, info.citation, info.items_sha256, info.cluster))
