"""`longvid bench end-to-end`: the parts do the run's own work, and the run says what it waited for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("av")

from encoders.build import build_preset
from encoders.models import PresetOptions
from lab.bench.end_to_end import DECODE, ENCODE, LOOP, OURS, bench_end_to_end, first_items
from tasks.egoschema import PROMPTS
from tasks.errors import DataError, ModelError
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask, item_set_digest
from tasks.task import Clip, TaskInfo
from tests.evals.conftest import ToyModel, longvid, longvid_process, toy_task


def ignore(note: str) -> None:
    """No progress to show."""


@pytest.fixture(scope="module")
def task(shared_data: Path) -> MultipleChoiceTask:
    """Two questions about each of three real clips."""
    folder = shared_data / "videos" / "natural"
    clips = [Clip(name, 0.0, 1.5, folder / name) for name in ("bikes_10s.mp4", "ego_frying_2s.mp4", "nasa_13s.mp4")]
    items = [
        ChoiceItem(f"{clip.video_id}-{at}", clip.video_id, clip, f"What {at}?", ("a", "b", "c"), at)
        for clip in clips
        for at in range(2)
    ]
    info = TaskInfo("toy@6", "multiple-choice", "1", 6, item_set_digest(items), "accuracy", 1 / 3, "v", "-", "-", "-")
    return MultipleChoiceTask(info, items, PROMPTS)


def test_a_run_and_its_parts_are_measured_in_turn(task: MultipleChoiceTask) -> None:
    model = build_preset("shortvivit-tiny", PresetOptions(weights="random", frames=4))
    result = bench_end_to_end(task, model, 2, 1, ignore)
    comparison = result.comparisons[0]
    assert [row.name for row in comparison.rows] == [OURS, DECODE, ENCODE, LOOP]
    assert (result.settings["clips"], result.settings["items"]) == (2, 4)
    stages = comparison.rows[0].facts["seconds_by_stage"]
    assert set(stages) == {"decode", "wait", "encode", "text"}
    ours, decode, encode = (comparison.rows[at].seconds[0] for at in range(3))
    assert result.details["over_slower_part"] == ours / max(decode, encode)
    assert 0 <= result.details["frames_wait_share"] <= 1
    assert 0 <= result.details["overhead"] < 1


def test_no_way_profits_from_what_the_one_before_left_in_the_model(task: MultipleChoiceTask) -> None:
    model = build_preset("shortvivit-tiny", PresetOptions(weights="random", frames=4))
    rows = bench_end_to_end(task, model, 3, 2, ignore).comparisons[0].rows
    assert set(rows[0].facts["seconds_by_stage"]) == {"decode", "wait", "encode", "text"}
    assert rows[0].facts["frames_wait_share"] is not None


def test_items_are_those_of_the_first_clips(task: MultipleChoiceTask) -> None:
    assert first_items(task, 2) == list(task.items())[:4]
    with pytest.raises(DataError, match="1 clips to measure with"):
        first_items(task, 1)


def test_a_model_that_reads_no_frames_is_refused() -> None:
    with pytest.raises(ModelError, match="only an encoder"):
        bench_end_to_end(toy_task(), ToyModel(), 2, 1, ignore)


def test_an_unknown_benchmark_is_one_line() -> None:
    done = longvid("bench", "end-to-end", "-m", "chance", "--benchmark", "egoscheme")
    assert done.returncode == 2
    assert "no benchmark 'egoscheme'" in done.stderr


def test_the_command_measures_a_real_run(tmp_path: Path) -> None:
    from tasks.kitchen.files import generate

    assert len(list(generate(tmp_path / "kitchen" / "test", range(2)))) == 2
    file = tmp_path / "e.json"
    given = ("-m", "longvivit-tiny", "-M", "weights=random", "-M", "frames=16", "--videos", 2, "--repeats", 1)
    done = longvid_process("bench", "end-to-end", *given, "--data", tmp_path, "--json", file)
    assert done.returncode == 0, done.stderr
    assert json.loads(file.read_text())["settings"]["clips"] == 2
