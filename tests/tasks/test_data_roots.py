"""A data file is looked for where it is said to be, then in every data root: the first that has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines.captions import load_captions
from tasks.data_roots import DATA_VARIABLE, data_file, data_roots, looking_in
from tasks.errors import DataError
from tasks.video_files import video_path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the roots `elsewhere` (of the variable) and `data`."""
    (tmp_path / "work" / "data").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "elsewhere"))
    return tmp_path


def put(path: Path, text: str = '{"a": ["one"]}') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_first_root_that_has_the_file_counts_not_the_first_that_exists(here: Path) -> None:
    put(here / "work" / "data" / "captions" / "made.json")
    assert data_file(Path("captions/made.json")) == Path("data/captions/made.json")
    assert data_file(Path("made.json")) == Path("data/captions/made.json")
    put(here / "elsewhere" / "made.json")
    assert data_file(Path("made.json")) == here / "elsewhere" / "made.json"


def test_a_file_is_first_where_it_is_said_to_be(here: Path) -> None:
    put(here / "elsewhere" / "made.json")
    put(here / "work" / "made.json")
    assert data_file(Path("made.json")) == Path("made.json")


def test_with_a_root_of_its_own_no_other_is_looked_in(here: Path) -> None:
    put(here / "elsewhere" / "made.json")
    with looking_in(here / "other"):
        assert data_roots() == (here / "other",)
        assert data_file(Path("made.json")) == Path("made.json")
    assert data_file(Path("made.json")) == here / "elsewhere" / "made.json"


def test_of_several_files_of_a_name_none_is_guessed(here: Path) -> None:
    put(here / "elsewhere" / "one" / "made.json")
    put(here / "elsewhere" / "two" / "made.json")
    with pytest.raises(DataError, match=r"there are several in .*: name one, .*one/made\.json or .*two/made\.json"):
        data_file(Path("made.json"))


def test_captions_are_read_from_a_root_and_one_that_is_nowhere_says_where_was_looked(here: Path) -> None:
    put(here / "work" / "data" / "captions" / "made.json")
    assert load_captions(Path("made.json")).path == Path("data/captions/made.json")
    with pytest.raises(DataError, match=r"lost\.json does not exist, nor is it in .*elsewhere, data"):
        load_captions(Path("lost.json"))


def test_a_video_may_lie_in_another_root_than_its_questions(here: Path) -> None:
    video = put(here / "work" / "data" / "kitchen" / "test" / "videos" / "v.mp4")
    assert video_path(here / "elsewhere" / "kitchen" / "test", "v") == video.relative_to(here / "work")
    nearer = put(here / "elsewhere" / "kitchen" / "test" / "videos" / "v.mkv")
    assert video_path(here / "elsewhere" / "kitchen" / "test", "v") == nearer
    assert video_path(here / "a-folder-of-my-own", "v") is None
