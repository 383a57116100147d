"""Retrieval through words: captions on one side, queries on the other, one text tower for both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import DataError, ModelError
from tasks.model import Model, VideoTextEncoder
from tasks.registry import build_model
from tasks.task import Clip

ENCODER = "imagevit-tiny:weights=random,dtype=float32"


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"v": ["C cracks eggs.", "C fries eggs"], "w": ["C paints a wall"]}))
    return path


def test_a_video_is_where_its_captions_are(captions: Path) -> None:
    model = build_model("caption-vectors", {"captions": str(captions), "encoder": ENCODER})
    assert isinstance(model, VideoTextEncoder)
    assert isinstance(model, Model)
    videos = model.embed_video([Clip("v", 0, 60), Clip("w", 0, 60)])
    texts = model.embed_text(["C cracks eggs. C fries eggs", "C paints a wall"])
    np.testing.assert_allclose(videos.vectors, texts.vectors, atol=1e-6)
    assert videos.traces[0].notes["captions_text"] == "C cracks eggs. C fries eggs"
    assert model.info.name == "caption-vectors"
    assert model.info.details["text_encoder"] == "imagevit-tiny"


def test_a_video_without_captions_is_an_error(captions: Path) -> None:
    model = build_model("caption-vectors", {"captions": str(captions), "encoder": ENCODER})
    assert isinstance(model, VideoTextEncoder)
    with pytest.raises(DataError, match="no captions for 'x'"):
        model.embed_video([Clip("x", 0, 60)])


def test_a_model_without_a_text_tower_is_refused(captions: Path) -> None:
    with pytest.raises(ModelError, match=r"'constant' can't be the text encoder"):
        build_model("caption-vectors", {"captions": str(captions), "encoder": "constant"})
