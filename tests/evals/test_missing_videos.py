"""Videos that are missing are told once, before anything is asked, with how many and how they are had."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evals.preparing import require_videos
from tasks.errors import DataError
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.conftest import ToyModel, assert_one_line, longvid, toy_task


class Blindfolded(ToyModel):
    """Says of every clip what an encoder says of one without a file."""

    def choose(self, requests: object) -> list[int]:
        from encoders.video_errors import MissingVideoError

        raise MissingVideoError(f"{requests}: the clip names no video file")


def test_a_benchmark_without_its_videos_is_one_line_and_no_record(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for name in ("questions.json", "subset_answers.json", "uid_to_ego4d.json"):
        (tmp_path / "egoschema").mkdir(exist_ok=True)
        (tmp_path / "egoschema" / name).symlink_to(shared_data / "egoschema" / name)
    options = ("-m", "shortvivit-tiny", "-M", "weights=kitchen", "--data", tmp_path, "-o", tmp_path / "run")
    done = longvid("run", "egoschema", *options)
    # Without a warning that kitchen's weights know no other videos: none is shown to them.
    assert_one_line(done, "none of the 500 videos of egoschema@500 is here", "--mirror", "longvid egoschema prepare")
    assert not (tmp_path / "run").exists()


def test_a_model_that_does_without_videos_is_not_refused() -> None:
    require_videos(toy_task(), ToyModel(), "encoder", None)
    require_videos(toy_task(), Blindfolded(), "text", None)
    with pytest.raises(DataError, match=r"none of the 12 videos of toy@12 is here \(12 items\)"):
        require_videos(toy_task(), Blindfolded(), "encoder", None)


def test_some_missing_videos_are_a_warning_with_counts(capsys: pytest.CaptureFixture[str]) -> None:
    plain = toy_task()
    items = [
        replace(item, clip=replace(item.clip, path=Path("v.mp4"))) if n < 9 else item
        for n, item in enumerate(plain.items())
    ]
    require_videos(MultipleChoiceTask(plain.info, items, plain.prompts), Blindfolded(), "video-llm", None)
    assert "3 of 12 items will fail: 3 videos are missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-m", "v2t"), ("option 'weights' is required: -M weights=… (a video-to-text .safetensors file)",)),
        (("-m", "shortvivit-tiny", "-M", "frames=many"), ("option 'frames': must be an integer (given: many)",)),
        (("-m", "shortvivit-tiny", "-M", "fps=fast"), ("option 'fps': must be a number (given: fast)",)),
        (
            ("-m", "shortvivit-tiny", "-M", "weights=random", "-M", "frames=3", "-M", "fps=1"),
            ("frames=3 and fps=1 are both given: give exactly one of them",),
        ),
        (("-m", "shortvivit-tiny", "-M", "weights=random", "-M", "frames=-3"), ("frames must be at least 1, not -3",)),
        (("-m", "shortvivit-tiny", "-M", "weights=kitchn"), ("there is no such file", "are named kitchen")),
        (("-m", "longvivit-b", "-M", "weights=kitchen"), ("no longvivit-b.safetensors", "weights=FILE")),
    ],
    ids=str,
)
def test_a_wrong_option_is_told_as_it_was_typed(
    options: tuple[str, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    row = {"video": "v.mp4", "start": 0, "end": 9, "question": "?", "options": ["a", "b"], "answer": 0}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row))
    done = longvid("run", tmp_path / "mine.jsonl", *options, "-o", tmp_path / "run")
    assert_one_line(done, *words)
    for leak in ("field required", "make recipe", "given: nothing", "parse", "count"):
        assert leak not in done.stderr


def test_square_brackets_in_help_are_shown() -> None:
    assert "pip install 'longvid[peers]'" in " ".join(longvid("bench", "--help").stdout.split())
