"""Videos are found whatever the case of their endings and behind links, and their paths are never addresses."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tasks.video_files import VIDEO_SUFFIXES, files_below, is_video_name, local_address, video_path


@pytest.mark.parametrize("name", ["a.mp4", "a.MP4", "a.Mov", "a.ogv", "a.OGV", "a.webm", "a.AVI"])
def test_a_video_is_found_by_its_id_whatever_its_ending(tmp_path: Path, name: str) -> None:
    path = tmp_path / "videos" / name
    path.parent.mkdir()
    path.touch()
    assert video_path(tmp_path, "a") == path
    assert video_path(tmp_path, "b") is None


def test_an_id_with_a_dot_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "videos" / "a.b.MOV"
    path.parent.mkdir()
    path.touch()
    assert video_path(tmp_path, "a.b") == path
    assert video_path(tmp_path, "a") is None


def test_the_usual_ending_is_preferred_and_a_folder_is_none_of_them(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    (videos / "a.mp4").mkdir(parents=True)
    for name in ("a.MKV", "a.webm", "a.mkv"):
        (videos / name).touch()
    assert video_path(tmp_path, "a") == videos / "a.mkv"


@pytest.mark.parametrize("age", [0, 3600])
def test_a_video_that_comes_or_goes_is_seen_at_once(tmp_path: Path, age: int) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    os.utime(videos, (time.time() - age,) * 2)
    assert video_path(tmp_path, "a") is None
    (videos / "a.mp4").touch()
    assert video_path(tmp_path, "a") == videos / "a.mp4"
    (videos / "a.mp4").unlink()
    assert video_path(tmp_path, "a") is None


def test_thousands_of_ids_list_the_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").touch()
    os.utime(videos, (time.time() - 3600,) * 2)
    looks: list[object] = []
    listed = os.listdir
    monkeypatch.setattr("os.listdir", lambda place: (looks.append(place), listed(place))[1])
    assert [video_path(tmp_path, f"{number}") for number in range(5_000)] == [None] * 5_000
    assert video_path(tmp_path, "a") == videos / "a.mp4"
    assert looks == [videos]


def test_names_that_are_no_videos() -> None:
    assert all(
        is_video_name(Path(f"x{suffix}")) and is_video_name(Path(f"x{suffix.upper()}")) for suffix in VIDEO_SUFFIXES
    )
    assert not any(is_video_name(Path(name)) for name in ("x.txt", "mp4", "._x.mp4", "x.mp4.part"))


def test_folders_behind_links_are_entered_once_and_circles_end(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    (folder / "below").mkdir(parents=True)
    (elsewhere / "deep").mkdir(parents=True)
    for path in (folder / "a.mp4", folder / "below" / "b.mp4", elsewhere / "deep" / "c.mp4"):
        path.touch()
    (folder / "link").symlink_to(elsewhere)
    (folder / "again").symlink_to(folder / "below")
    (elsewhere / "deep" / "back").symlink_to(folder)
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    found = [path.relative_to(folder).as_posix() for path in files_below(folder)]
    assert found == ["a.mp4", "below/b.mp4", "link/deep/c.mp4"]


def test_a_local_address_keeps_the_path_as_it_stands() -> None:
    assert local_address(Path("http:host?x.mp4")) == "file:http:host?x.mp4"
    assert local_address(Path("/a/b c.mp4")) == "file:/a/b c.mp4"
