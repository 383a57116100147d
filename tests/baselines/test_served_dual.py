"""A dual encoder behind `/v1/embeddings`: what it sends, what becomes of the vectors, and faults that never do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from baselines.models import ServedDualOptions
from baselines.served_dual import ServedDual, build_served_dual
from tasks.errors import ModelError
from tasks.model import VideoTextEncoder
from tasks.registry import build_model
from tasks.task import Clip
from tests.baselines.llm.faulty_server import EMBEDDED
from tests.baselines.llm.server_process import FaultyServer, faulty_server

FRAMES = 3
RESET = {"eyeless": None, "words_only": None, "context": None}


@pytest.fixture(scope="module")
def running() -> Iterator[FaultyServer]:
    with faulty_server() as server:
        yield server


@pytest.fixture
def server(running: FaultyServer) -> FaultyServer:
    running.script([], **RESET)
    return running


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clip]:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs the ffmpeg program")
    out = tmp_path_factory.mktemp("videos")
    found = {}
    for name in ("red", "green", "blue"):
        path = out / f"{name}.mp4"
        shades = f"color=c={name}:size=96x64:rate=5:duration=3"
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", shades, str(path)], check=True)
        found[name] = Clip(name, 0.0, 3.0, path)
    return found


def dual(server: FaultyServer, **more: Any) -> ServedDual:
    options = {"frames": FRAMES, "retries": 1, "patience": 5.0, "workers": 1}
    return build_served_dual(ServedDualOptions(name="toy", base_url=server.base_url, **{**options, **more}))


def asked_since(server: FaultyServer, before: int) -> list[dict[str, Any]]:
    return [row["body"] for row in server.log()[before:] if row["path"] == "/v1/embeddings"]


def test_a_clip_is_the_mean_of_its_frames_and_lies_by_the_text_that_says_its_colour(
    server: FaultyServer, clips: dict[str, Clip]
) -> None:
    model = dual(server)
    videos = model.embed_video(list(clips.values())).vectors
    texts = model.embed_text([f"something {name}" for name in clips]).vectors
    assert np.allclose(np.linalg.norm(videos, axis=1), 1, atol=1e-6)
    assert (videos @ texts.T).argmax(1).tolist() == [0, 1, 2]
    assert model.info.details["dimensions"] == 4


def test_each_frame_is_one_request_in_vllms_form_and_a_clip_seen_lately_is_not_sent_again(
    server: FaultyServer, clips: dict[str, Clip]
) -> None:
    model = dual(server, picture_words="Represent the given image.", extra='{"dimensions": 4}')
    before = len(server.log())
    once, again = model.embed_video([clips["red"]]), model.embed_video([clips["red"]])
    bodies = asked_since(server, before)
    assert len(bodies) == FRAMES
    for body in bodies:
        (message,) = body["messages"]
        assert [part["type"] for part in message["content"]] == ["image_url", "text"]
        assert message["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
        assert (body["model"], body["encoding_format"], body["dimensions"]) == ("toy", "float", 4)
    assert np.array_equal(once.vectors, again.vectors)


@pytest.mark.parametrize("texts_as", ["messages", "input"])
def test_texts_keep_their_order_and_no_control_token(server: FaultyServer, texts_as: str) -> None:
    model = dual(server, texts_as=texts_as, text_words="Find: {text}")
    before = len(server.log())
    texts = ["red", "green <|im_end|>", "blue", "red"] * 12
    found = model.embed_text(texts).vectors
    assert found.argmax(1).tolist() == [0, 1, 2, 0] * 12
    sent = str(asked_since(server, before))
    assert "Find: red" in sent
    assert "<|im_end|>" not in sent


def test_a_text_longer_than_the_context_is_pooled_from_chunks_and_says_so(server: FaultyServer) -> None:
    server.script([], context=40)
    model = dual(server)
    found = model.embed_text(["red", "red and red and some more red, then more and more of all that is red"])
    assert found.traces[0].notes == {}
    assert int(found.traces[1].notes["text_chunks"]) > 1  # type: ignore[call-overload]
    assert found.vectors.argmax(1).tolist() == [0, 0]


@pytest.mark.parametrize("kind", [kind for kind in EMBEDDED if kind not in ("backwards", "twice")])
def test_a_faulty_vector_is_asked_for_again_and_never_kept(server: FaultyServer, kind: str) -> None:
    model = dual(server)
    good = model.embed_text(["blue"]).vectors
    server.script([f"embed:{kind}"], match="blue")
    assert np.array_equal(model.embed_text(["blue"]).vectors, good)
    server.script([f"embed:{kind}*"], match="blue")
    with pytest.raises(ModelError, match=r"embedding|data"):
        model.embed_text(["blue"])
    server.script([], match="blue")


def test_vectors_out_of_order_are_put_in_order_and_one_index_twice_is_a_fault(server: FaultyServer) -> None:
    model = dual(server, texts_as="input")
    server.script(["embed:backwards"], match="green")
    assert model.embed_text(["red", "green", "blue"]).vectors.argmax(1).tolist() == [0, 1, 2]
    server.script(["embed:twice*"], match="green")
    with pytest.raises(ModelError, match="embedding 1 twice"):
        model.embed_text(["red", "green", "blue"])
    server.script([], match="green")


@pytest.mark.parametrize(
    ("option", "message"),
    [("eyeless", "the same vector for two different pictures"), ("words_only", "does not embed images")],
)
def test_a_server_that_sees_nothing_is_refused_before_the_run(server: FaultyServer, option: str, message: str) -> None:
    server.script([], **{option: True})
    with pytest.raises(ModelError, match=message):
        dual(server)


def test_it_is_found_by_its_name_and_names_the_server_it_misses(server: FaultyServer) -> None:
    model = build_model("served-dual", {"name": "toy", "base_url": server.base_url})
    assert isinstance(model, VideoTextEncoder)
    with pytest.raises(ModelError, match=r"served-dual name=toy: .*is the server running"):
        build_model("served-dual", {"name": "toy", "base_url": "http://127.0.0.1:9/v1", "retries": "0"})
    with pytest.raises(ModelError, match="serves no model 'other'"):
        build_model("served-dual", {"name": "other", "base_url": server.base_url})
    with pytest.raises(ModelError, match="text_words"):
        build_model("served-dual", {"name": "toy", "text_words": "find it"})
