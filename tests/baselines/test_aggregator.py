"""The aggregator: captions before the question, thinned openly, never cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from baselines.aggregator import CaptionComposer, SegmentRule, gather
from baselines.captions import load_captions
from baselines.material import Thin
from baselines.model_options import AggregatorOptions
from baselines.prompted import Ask, Composed, Composer, PromptedModel
from baselines.segments import render, thin
from tasks.errors import DataError, ModelError
from tasks.model import ModelInfo, OptionRequest, TextRequest
from tasks.prompt import load_prompt
from tasks.routes import Route
from tasks.task import Clip
from tests.baselines.conftest import CountingModel

CLIP = Clip("v", 0.0, 180.0)


def composer(llm: CountingModel, folder: Path, count: int = 180, seconds: float = 16.0) -> CaptionComposer:
    path = folder / "captions.json"
    path.write_text(json.dumps({"v": [f"#C C does thing {i}" for i in range(count)]}))
    prompt = load_prompt("baselines", "aggregator.v1")
    return CaptionComposer(load_captions(path), prompt, SegmentRule(seconds), Thin(llm))


def one(compose: Composer, clip: Clip, prompt: str, reply_start: str, room: int) -> Composed:
    (composed,) = compose([Ask(clip, prompt, reply_start, room)])
    return composed


def test_captions_come_first_and_the_question_last(tmp_path: Path) -> None:
    composed = one(composer(CountingModel(), tmp_path), CLIP, "Why?", "Answer:", 10)
    assert composed.chat.user.index("[0:00-0:16] C does thing 0; C does thing 1") < composed.chat.user.index("Why?")
    assert composed.chat.user.endswith("Why?")
    assert composed.chat.reply_start == "Answer:"


def test_captions_that_fit_are_all_kept(tmp_path: Path) -> None:
    notes = one(composer(CountingModel(), tmp_path), CLIP, "Why?", "", 10).notes
    text = notes["captions_text"]
    assert isinstance(text, str)
    assert text.startswith("[0:00-0:16] C does thing 0; C does thing 1; ")
    assert {key: value for key, value in notes.items() if key != "captions_text"} == {
        "segments": 12,
        "segments_by": "uniform 16 s",
        "captions": 180,
        "captions_kept": 180,
        "kept_every": 1,
    }


@pytest.mark.parametrize("context", [120, 200, 400, 700])
def test_captions_that_do_not_fit_are_thinned_evenly_and_as_little_as_needed(tmp_path: Path, context: int) -> None:
    llm = CountingModel(context=context)
    composed = one(composer(llm, tmp_path), CLIP, "Why?", "", 10)
    keep_every = composed.notes["kept_every"]
    assert isinstance(keep_every, int)
    assert composed.notes["captions_kept"] == -(-180 // keep_every)
    assert llm.count_tokens(composed.chat) + 10 <= context
    roomier = composer(CountingModel(), tmp_path)
    segments = gather(roomier.captions, CLIP, roomier.rule).segments
    denser = render(thin(segments, keep_every - 1))
    assert len(denser.split()) + 10 > context - llm.count_tokens(composed.chat) + len(composed.chat.user.split()) - 9


def test_the_room_for_the_reply_is_kept_free(tmp_path: Path) -> None:
    llm = CountingModel(context=400)
    composed = one(composer(llm, tmp_path), CLIP, "Why?", "", 300)
    assert llm.count_tokens(composed.chat) <= 100


def test_a_question_that_cannot_fit_at_all_is_an_error_that_names_the_video(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'v'.*context of 20"):
        one(composer(CountingModel(context=20), tmp_path), CLIP, "Why? " * 30, "", 5)


def test_a_clip_without_captions_is_an_error_not_a_blind_guess(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no captions for 'w'"):
        one(composer(CountingModel(), tmp_path), Clip("w", 0, 180), "Why?", "", 5)


def test_given_boundaries_replace_the_uniform_ones(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"v": ["a", "b", "c"]}))
    prompt = load_prompt("baselines", "aggregator.v1")
    rule = SegmentRule(boundaries={"v": [(0, 120), (120, 180)]})
    compose = CaptionComposer(load_captions(path), prompt, rule, Thin(CountingModel()))
    assert "[0:00-2:00] a; b\n[2:00-3:00] c" in one(compose, CLIP, "Why?", "", 5).chat.user


def test_scoring_returns_the_models_means_with_digest_tokens_and_notes(tmp_path: Path) -> None:
    llm = CountingModel()
    model = PromptedModel(llm, composer(llm, tmp_path), ModelInfo("aggregator"), Route.OPTIONS_LOGLIK)
    request = OptionRequest("q", CLIP, "Why?", "Answer:", (" nothing here", " thing 17"))
    (scored,) = model.score_options([request])
    assert scored.scores[1] > scored.scores[0] == 0.0
    assert scored.trace.usage.prompt == llm.count_tokens(llm.chats[0])
    assert scored.trace.notes["kept_every"] == 1
    assert set(scored.trace.seconds) == {"compose", "llm"}
    assert scored.trace.prompt_sha256 is not None
    assert len(scored.trace.prompt_sha256) == 64


def test_a_reply_keeps_its_own_words(tmp_path: Path) -> None:
    llm = CountingModel(reply="The answer is B.")
    model = PromptedModel(llm, composer(llm, tmp_path), ModelInfo("aggregator"), Route.GENERATE)
    (reply,) = model.generate([TextRequest("q", CLIP, "Why?", 32)])
    assert (reply.text, reply.finished) == ("The answer is B.", True)
    assert reply.trace.usage.completion == 32


def test_the_models_own_token_limit_goes_before_the_tasks(tmp_path: Path) -> None:
    llm = CountingModel()
    model = PromptedModel(llm, composer(llm, tmp_path), ModelInfo("aggregator"), Route.GENERATE, max_tokens=500)
    (reply,) = model.generate([TextRequest("q", CLIP, "Why?", 32)])
    assert reply.trace.usage.completion == 500


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_segment_length_that_is_not_positive_is_refused(seconds: float) -> None:
    with pytest.raises(ModelError, match="segment_seconds"):
        AggregatorOptions(captions=Path("c.json"), segment_seconds=seconds)
