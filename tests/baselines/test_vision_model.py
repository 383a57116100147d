"""A vision-language model over HTTP: the frames it is sent, the words behind them, and faults that stay faults."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from baselines.llm.client import RefusedError
from baselines.models import VisionOptions
from baselines.prompted import Ask
from baselines.vision_model import VisionModel, build_vision_model
from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from encoders.video_errors import EmptyVideoError
from tasks.errors import DataError, LongvidError, ModelError
from tasks.model import Captioner, Model, TextGenerator, TextRequest
from tasks.multiple_choice import ChoiceItem, ChoicePrompts, MultipleChoiceTask, lettered
from tasks.prompt import load_prompt
from tasks.registry import build_model, effective, moved_options
from tasks.routes import Route
from tasks.task import Clip, TaskInfo
from tests.baselines.llm.server_process import FaultyServer, faulty_server
from tests.baselines.llm.tiny_vision import WRITERS
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


SRT = "1\n00:00:01,000 --> 00:00:03,000\ncrack the eggs\n\n2\n00:00:09,000 --> 00:00:15,000\nnow stir them well\n"


def spoken(clip: Clip, folder: Path, text: str = SRT) -> Clip:
    (folder / "s.srt").write_text(text)
    return Clip(clip.video_id, clip.start, clip.end, clip.path, folder / "s.srt")


@pytest.mark.parametrize(
    ("subtitles", "share", "lines"),
    [
        ("none", None, ""),
        ("seen", 4 / 7, "What is said in the video while these frames are shown"),
        ("all", 1.0, "[0:01] crack the eggs\n[0:09] now stir them well\n\n"),
    ],
)
def test_what_is_said_at_the_frames_or_all_of_it_stands_before_the_question(
    server: FaultyServer, clip: Clip, tmp_path: Path, subtitles: str, share: float | None, lines: str
) -> None:
    model = build(server, frames=2, subtitles=subtitles)
    assert model.reads_subtitles is (subtitles != "none")
    (reply,) = model.generate([ask(spoken(clip, tmp_path))])
    words = asked(server)[0]["messages"][0]["content"][-1]["text"]
    assert reply.trace.notes.get("subtitle_share") == share
    assert lines in words
    assert ("crack" in words) is (subtitles == "all")
    assert ("stir" in words) is (subtitles != "none")
    assert words.endswith("What is done?")


@pytest.mark.parametrize("subtitles", ["seen", "all"])
@pytest.mark.parametrize("text", [None, "", "1\n00:00:20,000 --> 00:00:21,000\nlater\n"])
def test_subtitles_that_are_missing_or_empty_are_an_error_before_anything_is_asked(
    server: FaultyServer, clip: Clip, tmp_path: Path, subtitles: str, text: str | None
) -> None:
    told = clip if text is None else spoken(clip, tmp_path, text)
    with pytest.raises(DataError, match="subtitles"):
        build(server, frames=2, subtitles=subtitles).generate([ask(told)])
    assert not asked(server)


def test_frames_keep_their_shape_unless_told_otherwise(server: FaultyServer, clip: Clip) -> None:
    (reply,) = build(server, frames=2).generate([ask(clip)])
    shape = reply.trace.notes["sent_width"], reply.trace.notes["sent_height"]
    assert shape == (85, 48)
    (reply,) = build(server, frames=2, fit="squash").generate([ask(clip)])
    assert (reply.trace.notes["sent_width"], reply.trace.notes["sent_height"]) == (64, 64)


def test_the_name_before_this_one_is_the_same_model_and_the_same_run(server: FaultyServer) -> None:
    old, new = ({"base_url": server.base_url, **name} for name in ({"model": "toy"}, {"llm": "openai:toy"}))
    assert effective("vlm", old) == effective("vlm", new)
    assert moved_options("vlm", old) == ["-M model=toy is now -M llm=openai:toy"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "give llm=openai:MODEL"),
        ({"llm": "openai:x", "model": "x"}, "give llm=openai:MODEL"),
        ({"llm": "smollm2"}, "can't see; vlm takes transformers:"),
        ({"llm": "opneai:x"}, "did you mean 'openai:MODEL'"),
        ({"llm": "openai:x", "route": "embedding-similarity"}, "is not a route of a language model"),
        ({"llm": "openai:x", "guided": "true", "route": "letter-logprob"}, "guided=true goes with"),
        ({"llm": "openai:x", "seed": "3"}, "need a temperature above 0"),
        ({"llm": "openai:x", "temperature": "-1"}, "temperature must be 0 or more"),
        ({"llm": "openai:x", "extra": "[1]"}, "extra= must be an object"),
        ({"llm": "openai:x", "extra": '{"temperature": 1}'}, "can't set temperature"),
        ({"llm": "openai:x", "fit": "crop", "pixels": "9999"}, "pixels and total_pixels go with fit='keep'"),
        ({"llm": "openai:x", "frames": "8", "fps": "1"}, "give exactly one of them"),
    ],
)
def test_options_that_contradict_each_other_are_refused_by_name(options: dict[str, str], says: str) -> None:
    with pytest.raises(LongvidError, match=says):
        build_model("vlm", options)


def test_questions_about_one_video_decode_it_once_while_the_model_is_busy(
    server: FaultyServer, clip: Clip, shared_data: Path
) -> None:
    other = Clip("bikes", 0.0, 9.0, shared_data / "videos" / "natural" / "bikes_10s.mp4")
    model = build(server, frames=4, workers=1, concurrency=2)
    requests = [ask(one, f"{one.video_id}{n}") for one in (clip, other) for n in range(5)]
    with model.looking_ahead([request.clip for request in requests]), ThreadPool(2) as pool:
        replies = [found for (found,) in pool.imap(lambda request: model.generate([request]), requests)]
    decoded = [reply for reply in replies if reply.trace.seconds["decode"] > 0]
    assert len(decoded) == 2
    assert [reply.trace.frames.seconds for reply in replies if reply.trace.frames] == [
        *[(2.0, 6.0, 10.0, 14.0)] * 5, *[(1.125, 3.375, 5.625, 7.875)] * 5
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["qwen3_vl", "smolvlm"])
@pytest.mark.parametrize("route", ["options-loglik", "letter-logprob", "generate+parse"])
def test_in_process_every_route_asks_the_engine_about_the_frames_of_the_clip(
    tmp_path: Path, clip: Clip, kind: str, route: str
) -> None:
    WRITERS[kind](tmp_path / kind)
    options = {"llm": f"transformers:{tmp_path / kind}", "dtype": "float32", "frames": 4, "size": 56, "device": "cpu"}
    model = build_vision_model(VisionOptions(**options, route=Route(route), guided=route == "generate+parse"))
    question = ChoiceItem("q", "eggs", clip, "What is done?", ("stirring", "frying an egg", "nothing"), 0)
    task = MultipleChoiceTask(INFO, [question], ChoicePrompts(*PROMPTS))
    (found,) = task.predict(model, [question])
    (again,) = task.predict(model, [question])
    assert isinstance(found.answer, int)
    assert (found.answer, found.raw, found.option_scores) == (again.answer, again.raw, again.option_scores)
    assert found.trace.frames is not None
    assert found.trace.frames.seconds == (2.0, 6.0, 10.0, 14.0)
    engine, (asked_of,) = model._llm, model._compose([Ask(clip, "", "", 0)])
    prompt = load_prompt("tasks", {"options-loglik": PROMPTS[1], "letter-logprob": PROMPTS[2]}.get(route, PROMPTS[3]))
    listed = {"question": question.question, "options": lettered(question.options)}
    shown = replace(asked_of.chat, user=prompt.fill("user", **listed))
    if route == "generate+parse":
        choices = ("A", "B", "C")
        assert found.raw == engine.generate([replace(shown, choices=choices)], 64)[0].text
    else:
        letters = (" A", " B", " C")
        texts = letters if route == "letter-logprob" else tuple(f" {text}" for text in question.options)
        (scores,) = engine.score([replace(shown, reply_start=prompt.fill("reply"))], [texts])
        assert found.option_scores == scores.means


PROMPTS = ("own-similarity.v1", "own-loglik.v1", "own-letter.v1", "own-generate.v1")
INFO = TaskInfo("t@1", "multiple-choice", "1", 1, "0", "accuracy", 0.3, "video", "a test", "none", "none")
