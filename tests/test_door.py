"""`import longvid`: light, and enough to evaluate a model of one's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import longvid
from tests.conftest import ROOT


class Mine:
    """Says A."""

    def generate(self, requests: Sequence[longvid.TextRequest]) -> list[str]:
        return ["A" for _ in requests]


class Wrong:
    """Gives numbers where texts are needed."""

    def generate(self, requests: Sequence[longvid.TextRequest]) -> list[int]:
        return [0 for _ in requests]


class Vectors:
    """An encoder of two methods: a text's letters, a video's name."""

    def embed_video(self, clips: Sequence[longvid.Clip]) -> list[list[float]]:
        return [[1.0, float(len(clip.video_id))] for clip in clips]

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[1.0, float(len(text))] for text in texts])


def test_a_class_with_one_method_is_evaluated_and_its_figures_are_frames(shared_data: Path, tmp_path: Path) -> None:
    run = longvid.evaluate(Mine(), "egoschema@500", out=tmp_path / "mine", limit=20, data=shared_data)
    assert run.value == pytest.approx(0.2)
    assert list(run.figures["name"][:2]) == ["accuracy", "unparsed_rate"]
    assert len(run.samples) == 20
    other = longvid.evaluate(
        "constant", "egoschema@500", options={"choice": 1}, out=tmp_path / "b", limit=20, data=shared_data
    )
    assert longvid.compare(run, other, data=shared_data, allow_mismatch=True).items == 20
    assert run.to_html(tmp_path / "mine.html").stat().st_size > 10_000
    assert longvid.load(tmp_path / "mine").value == run.value


def test_the_same_call_asks_nothing_again(shared_data: Path, tmp_path: Path) -> None:
    longvid.evaluate(Mine(), "egoschema@500", out=tmp_path / "mine", limit=5, data=shared_data)
    before = (tmp_path / "mine" / "samples.jsonl").read_bytes()
    longvid.evaluate(Mine(), "egoschema@500", out=tmp_path / "mine", limit=5, data=shared_data)
    assert (tmp_path / "mine" / "samples.jsonl").read_bytes() == before


def test_an_encoder_of_two_methods_answers_questions_and_retrieval_on_kitchen(tmp_path: Path) -> None:
    (tmp_path / "kitchen" / "test").mkdir(parents=True)
    (tmp_path / "kitchen" / "test" / "annotations.json").write_text("{}")
    for task, metric in (("kitchen-qa@100", "accuracy"), ("kitchen-retrieval@video-20", "text_to_video_recall_at_1")):
        run = longvid.evaluate(Vectors(), task, out=tmp_path / task, data=tmp_path)
        assert run.results.primary.name == metric
        assert run.results.status == "complete"


def test_a_reply_of_another_type_stops_the_run_at_once(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(longvid.ModelError, match=r"generate returned a int for item .*: return a text"):
        longvid.evaluate(Wrong(), "egoschema@500", out=tmp_path / "wrong", data=shared_data)


def test_a_model_without_a_capability_is_refused(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(longvid.ModelError, match="none of the methods"):
        longvid.evaluate(object(), "egoschema@500", out=tmp_path / "none", data=shared_data)


def test_frames_of_a_clip_are_pixels(shared_data: Path) -> None:
    path = shared_data / "videos" / "natural" / "flipping_a_pancake_10s.mkv"
    pixels = longvid.frames(longvid.Clip("pancake", 0.0, 10.0, path), count=4, size=64)
    assert pixels.shape == (4, 64, 64, 3)
    assert pixels.dtype == np.uint8


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'pandas', 'pydantic', 'av'}"
    code = f"import sys, longvid; dir(longvid); sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("name", longvid.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(longvid, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        _ = longvid.evalute  # type: ignore[attr-defined]
