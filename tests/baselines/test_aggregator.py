"""The aggregator: captions before the question, thinned openly, never cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from baselines.aggregator import CaptionComposer, SegmentRule, gather
from baselines.captions import Caption, load_captions
from baselines.material import Thin
from baselines.models import AggregatorOptions
from baselines.prompted import Ask, Composed, Composer, PromptedModel, load_examples
from baselines.segments import render, thin
from tasks.errors import DataError, ModelError
from tasks.model import ModelInfo, OptionRequest, TextRequest
from tasks.prompt import load_prompt
from tasks.routes import Route
from tasks.task import Clip, TokenUsage
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


class Given:
    """Captions as they are."""

    captioner, sha256 = "given", "0" * 64

    def __init__(self, *captions: Caption) -> None:
        self.captions = captions

    def of(self, clip: Clip) -> tuple[Caption, ...]:
        return self.captions


def test_long_captions_stand_with_their_own_times_and_short_ones_are_gathered() -> None:
    long = Given(Caption(0, 43.3, "a clip"), Caption(43.3, 180, "another"))
    assert gather(long, CLIP, SegmentRule()).by == "captions"
    assert render(gather(long, CLIP, SegmentRule()).segments) == "[0:00-0:43] a clip\n[0:43-3:00] another"
    short = Given(*(Caption(i, i + 1, f"thing {i}") for i in range(180)))
    assert gather(short, CLIP, SegmentRule()).by == "uniform 16 s"
    assert gather(short, CLIP, SegmentRule(grouping="captions")).notes["segments"] == 180
    assert gather(long, CLIP, SegmentRule(grouping="uniform")).notes["segments"] == 12


def test_captions_outside_the_clip_are_not_read() -> None:
    captions = Given(Caption(0, 16, "before"), Caption(16, 32, "inside"), Caption(32, 48, "after"))
    found = gather(captions, Clip("v", 18, 30), SegmentRule())
    assert [segment.texts for segment in found.segments] == [("inside",)]
    with pytest.raises(DataError, match=r"'v': there is no caption between 50 and 60 s"):
        gather(captions, Clip("v", 50, 60), SegmentRule())


def test_what_captioning_took_is_in_the_record(tmp_path: Path) -> None:
    captions = Given(Caption(0, 90, "a", 2.0, TokenUsage(100, 0, 5)), Caption(90, 180, "b", 1.0, TokenUsage(50, 0, 4)))
    llm = CountingModel()
    compose = CaptionComposer(captions, load_prompt("baselines", "aggregator.v1"), SegmentRule(), Thin(llm))
    (reply,) = PromptedModel(llm, compose, ModelInfo("a"), Route.GENERATE).generate([TextRequest("q", CLIP, "?", 8)])
    assert reply.trace.seconds["caption"] == 3.0
    assert reply.trace.notes["captioner_tokens"] == {"prompt": 150, "completion": 9}
    assert reply.trace.usage.prompt == llm.count_tokens(llm.chats[0])


def test_examples_stand_before_the_captions_worded_as_the_task_is(tmp_path: Path) -> None:
    path = tmp_path / "examples.jsonl"
    path.write_text(json.dumps({"captions": "[0:00-0:16] C sews", "prompt": "What?", "reply": "Answer: A"}) + "\n")
    prompt = load_prompt("baselines", "aggregator.v1")
    opening = load_examples(path).opening(load_prompt("baselines", "examples.v1"), prompt)
    captions = Given(Caption(0, 180, "C cooks"))
    compose = CaptionComposer(captions, prompt, SegmentRule(), Thin(CountingModel()), opening)
    assert one(compose, CLIP, "Why?", "Answer:", 5).chat.user == (
        "First some examples, each of another video.\n\n"
        "Example 1\n\n"
        "Captions of the video's segments, in order of time:\n[0:00-0:16] C sews\n\nWhat?\n\n"
        "Answer: A\n\n"
        "Now the video that you are asked about.\n\n"
        "Captions of the video's segments, in order of time:\n[0:00-3:00] C cooks\n\nWhy?"
    )


@pytest.mark.parametrize("line", ["{}", "nonsense", '{"captions": "a", "prompt": "b"}', ""])
def test_a_bad_examples_file_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "examples.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=r"examples\.jsonl"):
        load_examples(path)


def test_captions_without_times_need_the_videos_length(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'v': the length of the video is unknown without its file"):
        one(composer(CountingModel(), tmp_path), Clip("v", 0, float("inf")), "Why?", "", 5)
