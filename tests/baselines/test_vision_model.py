"""A vision-language model over HTTP: the frames it is sent, the words behind them, and faults that stay faults."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from baselines.llm.client import RefusedError
from baselines.models import VisionOptions
from baselines.vision_model import VisionModel, build_vision_model
from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from encoders.video_errors import EmptyVideoError
from tasks.errors import ModelError
from tasks.model import Captioner, Model, TextGenerator, TextRequest
from tasks.registry import build_model
from tasks.task import Clip
from tests.baselines.llm.server_process import FaultyServer, faulty_server
from tests.evals.conftest import longvid

TRAPS = ("keep", "prune", "most", "blind", "silent", "distrust", "pictures_only", "old")


@pytest.fixture(scope="module")
def running() -> Iterator[FaultyServer]:
    with faulty_server(chat_only=True) as server:
        yield server


@pytest.fixture
def server(running: FaultyServer) -> FaultyServer:
    running.script([], **dict.fromkeys(TRAPS))
    running.since = len(running.log())
    return running


def asked(server: FaultyServer) -> list[Any]:
    """The conversations of this test, in order."""
    return [row["body"] for row in server.log()[server.since :] if "messages" in row["body"]]


def build(server: FaultyServer, **options: Any) -> VisionModel:
    quick: dict[str, Any] = {"retries": 2, "patience": 60.0, "timeout": 60.0, "size": 64, **options}
    return build_vision_model(VisionOptions(llm="openai:toy", base_url=server.base_url, **quick))


@pytest.fixture(scope="module")
def clip(shared_data: Path) -> Clip:
    return Clip("eggs", 0.0, 16.0, shared_data / "videos" / "natural" / "scrambled_eggs_70s.mp4")


def ask(clip: Clip, item: str = "q") -> TextRequest:
    return TextRequest(item, clip, "What is done?", 32)


def test_it_is_shown_the_clips_frames_in_order_and_then_asked(server: FaultyServer, clip: Clip) -> None:
    model = build(server, frames=4, fit="crop")
    assert isinstance(model, Captioner)
    assert isinstance(model, TextGenerator)
    (reply,) = model.caption([ask(clip)])
    (*shown, words) = asked(server)[0]["messages"][0]["content"]
    assert words == {
        "type": "text",
        "text": "Shown are frames of one video in order of time, taken at 0:02, 0:06, 0:10, 0:14 (minutes:seconds)."
        "\n\nWhat is done?",
    }
    expected = read_frames(clip, FramePolicy(count=4, size=64)).pixels
    assert len(shown) == 4
    for part, pixels in zip(shown, expected, strict=True):
        header, data = part["image_url"]["url"].split(",")
        assert header == "data:image/jpeg;base64"
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert picture.shape == (64, 64, 3)
        assert np.abs(picture.astype(int) - pixels).mean() < 6
    assert reply.text == "Answer: B"
    assert reply.trace.frames is not None
    assert reply.trace.frames.seconds == (2.0, 6.0, 10.0, 14.0)
    assert reply.trace.usage.completion == 9
    assert {"compose", "decode", "wait", "llm"} == set(reply.trace.seconds)


def test_requests_go_side_by_side_and_replies_keep_their_order(server: FaultyServer, clip: Clip) -> None:
    server.script(["after:2"], match="0:08", answered=0)
    clips = [
        Clip("eggs", 0.0, 16.0, clip.path),
        Clip("eggs", 16.0, 32.0, clip.path),
        Clip("eggs", 32.0, 48.0, clip.path),
    ]
    model = build(server, frames=1, concurrency=3, timeout=120.0)
    replies = model.generate([ask(c, str(i)) for i, c in enumerate(clips)])
    assert [reply.trace.frames.seconds for reply in replies if reply.trace.frames] == [(8.0,), (24.0,), (40.0,)]


@pytest.mark.parametrize("fault", ["500", "malformed", "empty"])
def test_a_fault_that_passes_is_asked_again(server: FaultyServer, clip: Clip, fault: str) -> None:
    server.script([fault])
    assert build(server, frames=1).generate([ask(clip)])[0].text == "Answer: B"


@pytest.mark.parametrize("fault", ["500*", "malformed*", "empty*"])
def test_a_fault_that_stays_is_an_error_never_a_caption(server: FaultyServer, clip: Clip, fault: str) -> None:
    server.script([fault])
    with pytest.raises(ModelError, match=r"127\.0\.0\.1|empty completion"):
        build(server, frames=1).caption([ask(clip)])


def test_a_reply_cut_at_the_limit_says_so(server: FaultyServer, clip: Clip) -> None:
    server.script(["cut"])
    (reply,) = build(server, frames=1).caption([ask(clip)])
    assert (reply.text, reply.finished) == ("The answer is", False)


def test_a_stopped_reply_is_refused(server: FaultyServer, clip: Clip) -> None:
    server.script(["filter"])
    with pytest.raises(RefusedError, match="content filter"):
        build(server, frames=1).caption([ask(clip)])


def test_a_bad_video_is_named_before_anything_is_asked(server: FaultyServer, shared_data: Path) -> None:
    bad = Clip("bad", 0.0, 5.0, shared_data / "videos" / "broken" / "empty_0_bytes.webm")
    before = len(server.log())
    with pytest.raises(EmptyVideoError, match=r"empty_0_bytes\.webm"):
        build(server).caption([ask(bad)])
    assert len(server.log()) == before


def test_a_server_without_the_model_is_refused_by_name(server: FaultyServer) -> None:
    with pytest.raises(ModelError, match=r"serves no model 'other'; it serves: toy"):
        build_vision_model(VisionOptions(model="other", base_url=server.base_url))


def test_the_one_frame_model_sends_the_middle_frame(server: FaultyServer, clip: Clip) -> None:
    model = build_model("one-frame", {"of": f"vlm:model=toy,base_url={server.base_url},size=64"})
    assert isinstance(model, TextGenerator)
    assert isinstance(model, Model)
    (reply,) = model.generate([ask(clip)])
    assert reply.trace.frames is not None
    assert reply.trace.frames.seconds == (8.0,)
    assert model.info.name == "one-frame:toy"


SURROGATE = 'json:{"choices": [{"message": {"content": "A pan \\ud83d"}, "finish_reason": "stop"}]}*'


def captioned(server: FaultyServer, clip: Clip, folder: Path) -> Any:
    assert clip.path is not None
    (folder / "videos").mkdir()
    (folder / "videos" / "eggs.mp4").symlink_to(clip.path)
    options = ("model=toy", f"base_url={server.base_url}", "size=64", "frames=1", "retries=0", "check_frames=false")
    given = [word for option in options for word in ("-M", option)]
    return longvid("caption", folder / "videos", "-m", "vlm", *given, "--cut", "whole", "-o", folder / "out.jsonl")


def test_a_caption_with_half_a_surrogate_pair_is_written_without_it(
    server: FaultyServer, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server.script([SURROGATE])
    done = captioned(server, clip, tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"A pan \ufffd"' in (tmp_path / "out.jsonl").read_text()


def test_the_servers_reason_is_told_when_no_caption_came(
    server: FaultyServer, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server.script(["400*"])
    done = captioned(server, clip, tmp_path)
    assert done.returncode == 2
    assert "answered 400: fault 400" in done.stderr.splitlines()[-1]
