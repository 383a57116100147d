"""Shipped weights by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoders.shipped import CHECKPOINTS_VARIABLE, shipped, weights_file
from tasks.errors import ModelError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CHECKPOINTS_VARIABLE, str(tmp_path))
    return tmp_path


def test_kitchen_stands_for_the_models_own_weights_or_those_named(folder: Path) -> None:
    for name in ("own", "other"):
        (folder / f"{name}.safetensors").touch()
    assert weights_file("kitchen", "own") == folder / "own.safetensors"
    assert weights_file("kitchen:other", "own") == folder / "other.safetensors"


def test_any_other_value_is_a_path(folder: Path) -> None:
    assert weights_file("some/file.safetensors", "own") == Path("some/file.safetensors")


def test_the_folder_may_be_the_output_of_training(folder: Path) -> None:
    (folder / "long").mkdir()
    (folder / "long" / "own.safetensors").touch()
    assert shipped("own") == folder / "long" / "own.safetensors"


def test_absent_weights_are_named_with_the_way_to_get_them(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no own\.safetensors in .*'make recipe' trains it.*LONGVID_CHECKPOINTS"):
        shipped("own")


@pytest.mark.parametrize(("first", "second"), [("long", "long-full"), ("longer", "again")])
def test_of_two_stages_with_weights_of_one_name_the_one_that_went_on_counts(
    folder: Path, first: str, second: str
) -> None:
    for stage, init in ((first, "short"), (second, first)):
        (folder / stage).mkdir()
        (folder / stage / "own.safetensors").touch()
        record = {"settings": {"model": {"init": init}}}
        (folder / stage / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert shipped("own") == folder / second / "own.safetensors"
