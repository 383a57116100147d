"""The nearest training sentence as a caption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from baselines.model_options import NearestSentenceOptions
from baselines.nearest_sentence import NearestSentence, build_nearest_sentence, training_sentences
from tasks.errors import DataError, ModelError
from tasks.model import Embeddings, ModelInfo, TextRequest
from tasks.task import Clip, Trace

WORDS = ("onion", "carrot", "egg")


class WordEncoder:
    """A text's vector counts the three words; a clip's is that of its id."""

    info = ModelInfo("words", weights_sha256="0" * 64)

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        counts = np.array([[text.count(word) + 0.01 for word in WORDS] for text in texts], dtype=np.float32)
        return Embeddings(counts / np.linalg.norm(counts, axis=1, keepdims=True), (Trace(),) * len(texts))

    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        return self.embed_text([clip.video_id for clip in clips])


def annotations(folder: Path, subset: str = "training") -> Path:
    steps = [(0, 10, "chop the onion"), (10, 20, "add the carrot"), (30, 40, "beat the egg")]
    rows = [{"segment": [a, b], "id": i, "sentence": text} for i, (a, b, text) in enumerate(steps)]
    row = {"subset": subset, "duration": 40.0, "recipe_type": "1", "annotations": rows}
    other = {**row, "subset": "testing", "annotations": [{"segment": [0, 1], "id": 0, "sentence": "a secret"}]}
    path = folder / "annotations.json"
    path.write_text(json.dumps({"database": {"a": row, "b": row, "c": other}}))
    return path


def said(model: NearestSentence, *videos: str) -> list[str]:
    requests = [TextRequest(video, Clip(video, 0.0, 16.0), "say", 9) for video in videos]
    return [reply.text for reply in model.caption(requests)]


def build(path: Path, window: float) -> NearestSentence:
    options = NearestSentenceOptions(encoder="words", annotations=path, window=window)
    return build_nearest_sentence(options, lambda _name, _options: WordEncoder())


def test_a_clip_gets_the_sentence_nearest_to_it(tmp_path: Path) -> None:
    assert said(build(annotations(tmp_path), 0.0), "egg", "onion") == ["beat the egg", "chop the onion"]


def test_a_window_offers_all_that_is_said_within_it(tmp_path: Path) -> None:
    model = build(annotations(tmp_path), 20.0)
    assert said(model, "onion carrot", "egg") == ["chop the onion; add the carrot", "beat the egg"]


def test_only_training_sentences_are_known_each_once(tmp_path: Path) -> None:
    found = training_sentences(annotations(tmp_path), 0.0)
    assert found == [("add the carrot",), ("beat the egg",), ("chop the onion",)]


def test_a_file_without_training_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no video of the subset 'training'"):
        training_sentences(annotations(tmp_path, "validation"), 0.0)


def test_the_record_names_the_sentences_and_the_encoder(tmp_path: Path) -> None:
    details = build(annotations(tmp_path), 0.0).info.details
    assert details["looks"] == "words"
    assert details["sentences"] == 3


def test_a_negative_window_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="window must not be negative"):
        NearestSentenceOptions(encoder="x", annotations=tmp_path, window=-1.0)
