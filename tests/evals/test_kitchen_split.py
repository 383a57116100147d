"""Videos of a training split from the command line: made, named, and gone on with."""

from __future__ import annotations

from pathlib import Path

from tasks.kitchen.plan import make_plan
from tests.evals.conftest import longvid


def test_the_first_videos_of_a_split_are_made_and_not_made_again(tmp_path: Path) -> None:
    arguments = ("kitchen-videos", "--split", "val", "--videos", "1", "--out", tmp_path / "val")
    done = longvid(*arguments)
    assert done.returncode == 0, done.stderr
    assert "1 videos made, 0 already there" in done.stdout
    assert (tmp_path / "val" / "videos" / f"{make_plan('val', 0).id}.mp4").is_file()
    assert "0 videos made, 1 already there" in longvid(*arguments).stdout


def test_a_split_that_kitchen_does_not_have_is_refused(tmp_path: Path) -> None:
    done = longvid("kitchen-videos", "--split", "dev", "--videos", "1", "--out", tmp_path)
    assert done.returncode == 2
    assert "splits are train, val, test" in done.stderr
