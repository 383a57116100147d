"""The selector in front of a video encoder: what it feeds on, what it records, what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from baselines.keyframes import KeyFrameModel
from encoders.task_model import EncoderModel
from tasks.egoschema import PROMPTS
from tasks.errors import ModelError
from tasks.model import Captioner, QueryVideoEncoder, TextRequest, VideoTextEncoder, require
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask, item_set_digest
from tasks.registry import build_model
from tasks.task import Clip, TaskInfo
from tests.encoders.v2t.files import write_all

RANDOM = "weights=random,dtype=float32"


def build(selector: str = "imagevit-tiny", **options: str) -> KeyFrameModel:
    specs = {"encoder": f"shortvivit-tiny:{RANDOM}", "selector": f"{selector}:{RANDOM},seed=3"}
    model = build_model("keyframes", {**specs, **options})
    assert isinstance(model, KeyFrameModel)
    return model


@pytest.fixture(scope="module")
def clip(shared_data: Path) -> Clip:
    return Clip("eggs", 0.0, 40.0, shared_data / "videos" / "natural" / "scrambled_eggs_70s.mp4")


def test_sixteen_frames_in_order_of_time_reach_the_encoder(clip: Clip) -> None:
    model = build()
    assert isinstance(model, QueryVideoEncoder)
    embedded = model.embed_video_for([clip], ["What does the cook do with the eggs?"])
    (trace,) = embedded.traces
    assert trace.frames is not None
    assert trace.frames.count == 16
    assert list(trace.frames.seconds) == sorted(trace.frames.seconds)
    assert trace.notes["frames_scored"] == 40
    assert len(trace.notes["frame_scores"]) == 16  # type: ignore[arg-type]  # a list of figures
    assert {"decode", "select", "encode"} <= set(trace.seconds)
    np.testing.assert_allclose(np.linalg.norm(embedded.vectors, axis=1), 1, atol=1e-5)


def test_the_query_decides_which_frames_are_seen(clip: Clip) -> None:
    embedded = build(frames="4").embed_video_for([clip, clip, clip], ["eggs in a pan", "a red car", "eggs in a pan"])
    seen = [trace.frames.seconds for trace in embedded.traces if trace.frames]
    assert seen[0] == seen[2] != seen[1]
    np.testing.assert_allclose(embedded.vectors[0], embedded.vectors[2], atol=1e-6)


def test_the_chosen_frames_are_what_the_encoder_would_see_of_them(clip: Clip) -> None:
    """As many frames as are scanned leave no choice: the vector is that of the plain encoder at one frame a second."""
    short = Clip(clip.video_id, 0.0, 16.0, clip.path)
    plain = build_model("shortvivit-tiny", {"weights": "random", "dtype": "float32", "fps": "1"})
    assert isinstance(plain, EncoderModel)
    np.testing.assert_allclose(
        build().embed_video_for([short], ["anything"]).vectors, plain.embed_video([short]).vectors, atol=1e-4
    )


def test_frames_are_decoded_again_where_the_encoder_wants_another_shape(clip: Clip) -> None:
    short = Clip(clip.video_id, 0.0, 16.0, clip.path)
    squashed = f"shortvivit-tiny:{RANDOM},fit=squash"
    plain = build_model("shortvivit-tiny", {"weights": "random", "dtype": "float32", "fps": "1", "fit": "squash"})
    assert isinstance(plain, EncoderModel)
    np.testing.assert_allclose(
        build(encoder=squashed).embed_video_for([short], ["anything"]).vectors,
        plain.embed_video([short]).vectors,
        atol=1e-4,
    )


def test_a_question_is_answered_by_similarity_with_the_question_as_the_query(clip: Clip) -> None:
    items = [ChoiceItem("q", "v", clip, "What is fried?", ("eggs", "fish", "tofu"), 0)]
    info = TaskInfo("toy@1", "multiple-choice", "1", 1, item_set_digest(items), "accuracy", 1 / 3, "v", "-", "-", "-")
    task = MultipleChoiceTask(info, items, PROMPTS)
    model = build()
    task.check(model)
    (prediction,) = task.predict(model, items)
    expected = model.embed_video_for([clip], ["What is fried?"]).vectors[0]
    texts = model.embed_text([f"What is fried? Is it '{text}'" for text in ("eggs", "fish", "tofu")]).vectors
    np.testing.assert_allclose(prediction.option_scores, texts @ expected, atol=1e-5)
    assert task.protocol(model)["route"] == "embedding-similarity"


def test_retrieval_is_refused_and_says_why() -> None:
    with pytest.raises(ModelError, match=r"does not offer it: its frames depend on the query"):
        require(build(), VideoTextEncoder, "youcook2-clip-retrieval@3350", "to compare videos with texts")


def test_the_record_names_selector_encoder_and_rule() -> None:
    info = build(frames="8", min_gap="3").info
    assert info.name == "keyframes:shortvivit-tiny"
    assert (info.details["selector"], info.details["key_frames"], info.details["min_gap"]) == ("imagevit-tiny", 8, 3.0)
    assert info.details["query"] == "the question, or the request"


def test_a_part_that_is_no_encoder_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'chance' can't be the selector of key frames"):
        build_model("keyframes", {"encoder": f"shortvivit-tiny:{RANDOM}", "selector": "chance"})


def test_a_model_that_looks_at_no_frames_is_refused() -> None:
    with pytest.raises(ModelError, match="reads no frames"):
        build_model("keyframes", {"encoder": "chance", "selector": f"imagevit-tiny:{RANDOM}"})


def test_video_to_text_writes_from_the_key_frames_of_its_request(clip: Clip, tmp_path: Path) -> None:
    weights = write_all(tmp_path, preset_name="shortvivit-tiny")
    specs = {"encoder": f"v2t:weights={weights},dtype=float32", "selector": f"imagevit-tiny:{RANDOM},seed=3"}
    model = build_model("keyframes", {**specs, "frames": "4"})
    assert isinstance(model, Captioner)
    replies = model.caption(
        [TextRequest(str(i), clip, query, 8) for i, query in enumerate(("eggs in a pan", "a red car"))]
    )
    seen = [reply.trace.frames.seconds for reply in replies if reply.trace.frames]
    expected = build(frames="4").embed_video_for([clip, clip], ["eggs in a pan", "a red car"]).traces
    assert seen == [trace.frames.seconds for trace in expected if trace.frames]
    assert seen[0] != seen[1]
