"""Transcripts as vectors: times decoded, scores those of the libraries, missing videos missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import pytest

from baselines.captions import load_captions, phrases
from baselines.floors import RandomVectors
from baselines.models import Bm25Options, TfidfOptions
from baselines.text_retrieval import build_bm25, build_tfidf, spoken_texts
from tasks.errors import DataError
from tasks.task import Clip
from tasks.tokenizers import ptb_tokens

SPEECH = "<time_token_0> <time_token_48> Cut the onions. <time_token_48> <time_token_99> Fry them, slowly"


@pytest.mark.parametrize("build", [build_tfidf, build_bm25])
def test_transcripts_without_a_word_are_refused_by_name(tmp_path: Path, build: Any) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"v": ["...", ". , ;"], "w": ["."]}))
    options = (TfidfOptions if build is build_tfidf else Bm25Options)(captions=path)
    with pytest.raises(DataError, match=r"c\.json holds no word"):
        build(options)


def transcripts(folder: Path, **speech: str) -> Path:
    path = folder / "asr.json"
    rows = [{"image_id": f"{name}.mp4", "duration": 96.0, "asr_text": text} for name, text in speech.items()]
    path.write_text(json.dumps({"annotations": rows}), encoding="utf-8")
    return path


def test_time_tokens_are_96ths_of_the_duration_and_end_with_it() -> None:
    assert [(p.start, p.end, p.text) for p in phrases(SPEECH, 192.0)] == [
        (0.0, 96.0, "Cut the onions."),
        (96.0, 192.0, "Fry them, slowly"),
    ]


def test_real_transcripts_cover_402_of_415_videos(shared_data: Path) -> None:
    captions = load_captions(shared_data / "youcook2" / "asr_transcripts.json")
    assert (len(captions.by_video), len(spoken_texts(captions))) == (415, 402)
    first = captions.of(Clip("xHr8X2Wpmno", 0, 207))[0]
    assert first.text.startswith("Hi, this is Vera")
    assert (first.start, first.end) == pytest.approx((207 / 96, 5 * 207 / 96))


def test_a_video_without_speech_is_missing_not_guessed(tmp_path: Path) -> None:
    path = transcripts(tmp_path, a=SPEECH, b="")
    for model in (build_tfidf(TfidfOptions(path)), build_bm25(Bm25Options(path))):
        with pytest.raises(DataError, match="no captions for 'b'"):
            model.embed_video([Clip("b", 0, 96)])


def test_texts_of_a_folder_of_videos_are_found_by_the_videos_id(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"a.mp4": ["cut the onions"], "b.mp4": ["fry the fish"]}), encoding="utf-8")
    for model in (build_tfidf(TfidfOptions(path)), build_bm25(Bm25Options(path))):
        videos = model.embed_video([Clip("a", 0, 9), Clip("b", 0, 9)]).vectors
        assert (model.embed_text(["the fish"]).vectors @ videos.T).argmax() == 1


def test_a_malformed_transcript_is_named(tmp_path: Path) -> None:
    path = tmp_path / "asr.json"
    path.write_text(json.dumps({"annotations": [{"image_id": "a.mp4", "asr_text": "x"}]}), encoding="utf-8")
    with pytest.raises(DataError, match="entry 1 of 'annotations': field 'duration' is missing"):
        load_captions(path)


def test_bm25_scores_are_the_librarys(shared_data: Path) -> None:
    path = shared_data / "youcook2" / "asr_transcripts.json"
    model = build_bm25(Bm25Options(path))
    texts = spoken_texts(load_captions(path))
    index = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    index.index([list(ptb_tokens(text)) for text in texts.values()], show_progress=False)
    query = "add the onions and fry the onions in oil"
    ours = model.embed_text([query]).vectors[0]
    scores = np.stack([model.documents[video] for video in texts]) @ ours
    expected = index.get_scores(list(ptb_tokens(query)))
    np.testing.assert_allclose(scores / scores.max(), expected / expected.max(), rtol=1e-4, atol=1e-6)


def test_tfidf_finds_the_transcript_that_says_it(tmp_path: Path) -> None:
    words = {"a": "onion soup with cheese", "b": "beef stew with carrots", "c": "cheese cake with cream"}
    path = transcripts(tmp_path, **{k: f"<time_token_0> <time_token_9> {v}" for k, v in words.items()})
    model = build_tfidf(TfidfOptions(path))
    videos = model.embed_video([Clip(name, 0, 96) for name in words]).vectors
    texts = model.embed_text(["cook the stew", "a cream cake", "the soup"]).vectors
    assert np.argmax(texts @ videos.T, axis=1).tolist() == [1, 2, 0]
    np.testing.assert_allclose(np.linalg.norm(videos, axis=1), 1, rtol=1e-6)


def test_a_text_of_unknown_words_has_no_direction(tmp_path: Path) -> None:
    model = build_bm25(Bm25Options(transcripts(tmp_path, a=SPEECH)))
    assert not model.embed_text(["zucchini"]).vectors.any()


def test_random_vectors_depend_on_what_is_embedded_alone() -> None:
    model, other = RandomVectors(8, seed=1), RandomVectors(8, seed=2)
    clips = [Clip("a", 0, 1), Clip("b", 0, 1)]
    forward, backward = model.embed_video(clips).vectors, model.embed_video(clips[::-1]).vectors
    assert np.array_equal(forward, backward[::-1])
    assert not np.allclose(forward, other.embed_video(clips).vectors)
    np.testing.assert_allclose(np.linalg.norm(forward, axis=1), 1, rtol=1e-6)
