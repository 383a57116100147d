"""From frames to an answer on real clips, everything in between readable in the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.preparing import prepare_model
from tasks.egoschema import PROMPTS
from tasks.model import NeedsPreparing
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask, item_set_digest
from tasks.registry import build_model
from tasks.task import Clip, TaskInfo
from tests.encoders.coca.small import write_coca
from tests.evals.conftest import run_toy
from tests.needs import needs_smollm2

OPTIONS = ("C fries eggs in a pan", "C paints a wall", "C repairs a bicycle", "C plays the drums", "C folds a shirt")


@pytest.fixture
def cooking(shared_data: Path) -> MultipleChoiceTask:
    """Two questions about one cooking clip, one about an egocentric clip, one about a file that is broken."""
    videos = shared_data / "videos"
    eggs = Clip("eggs", 0.0, 70.0, videos / "natural" / "scrambled_eggs_70s.mp4")
    clips = {
        "what": eggs,
        "why": eggs,
        "ego": Clip("ego", 0.0, 41.0, videos / "natural" / "ego_kitchen_41s.mp4"),
        "bad": Clip("bad", 0.0, 5.0, videos / "broken" / "empty_0_bytes.webm"),
    }
    items = [ChoiceItem(key, clip.video_id, clip, f"{key}?", OPTIONS, 0) for key, clip in clips.items()]
    info = TaskInfo("real@4", "multiple-choice", "1", 4, item_set_digest(items), "accuracy", 0.2, "v", "-", "-", "-")
    return MultipleChoiceTask(info, items, PROMPTS)


@pytest.mark.slow
@needs_smollm2
@pytest.mark.parametrize("two_step", [False, True])
def test_frames_become_captions_captions_an_answer_and_the_record_tells_all(
    cooking: MultipleChoiceTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_step: bool
) -> None:
    monkeypatch.setattr("baselines.segment_captions.cache_folder", lambda: tmp_path / "cache")
    coca = write_coca(tmp_path / "coca", seed=5)
    options = {
        "captioner": f"coca:name={coca},dtype=float32,max_length=8",
        "cut": "uniform:16",
        "llm": "smollm2",
        "two_step": str(two_step),
        "summary_words": "20",
    }
    model = build_model("aggregator", options)
    assert isinstance(model, NeedsPreparing)
    prepare_model(model, [item.clip for item in cooking.items()])
    assert len(list((tmp_path / "cache" / "captions").iterdir())) == 3
    results = run_toy(cooking, model, tmp_path / "run", options=options)
    assert (results.counts.answered, results.counts.failed, results.status) == (3, 1, "partial")
    assert results.failed_ids == ("bad",)
    rows = {row["id"]: row for row in map(json.loads, (tmp_path / "run" / "samples.jsonl").read_text().splitlines())}
    assert "empty_0_bytes.webm" in rows["bad"]["error"]["message"]
    for key, segments in (("what", 5), ("why", 5), ("ego", 3)):
        notes = rows[key]["notes"]
        assert notes["segments"] == segments
        assert notes["segments_by"] == "captions"
        assert notes["captions_text"].startswith("[0:00-0:16] ")
        assert rows[key]["seconds"]["caption"] > 0
        assert rows[key]["tokens"]["prompt"] > 0
        assert ("summary" in notes) == two_step
    assert rows["what"]["notes"]["captions_text"] == rows["why"]["notes"]["captions_text"]
    assert results.model.details["captioner"] == f"coca:{coca}"
    assert results.model.details["cut"] == "uniform 16 s"


@pytest.mark.slow
@needs_smollm2
def test_a_resumed_run_captions_nothing_again_and_ends_the_same(
    cooking: MultipleChoiceTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baselines.segment_captions.cache_folder", lambda: tmp_path / "cache")
    coca = write_coca(tmp_path / "coca", seed=5)
    options = {"captioner": f"coca:name={coca},dtype=float32,max_length=8", "llm": "smollm2"}
    run_toy(cooking, build_model("aggregator", options), tmp_path / "run", limit=1, options=options)
    cached = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "captions").iterdir()}
    resumed = run_toy(cooking, build_model("aggregator", options), tmp_path / "run", options=options)
    assert all(path.stat().st_mtime_ns == when for path, when in cached.items())
    whole = run_toy(cooking, build_model("aggregator", options), tmp_path / "whole", options=options)
    assert resumed.metrics == whole.metrics
    assert resumed.counts == whole.counts
