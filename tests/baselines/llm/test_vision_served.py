"""A server that sees as vLLM does: every frame with its time, all routes, and each trap that loses frames."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from baselines.llm.client import RefusedError, ServerFaultError, read_chat, read_chat_letters, read_prompt_logprobs
from baselines.llm.load import load_seeing
from baselines.llm.protocol import Chat, Shown
from baselines.llm.vision import FramesLostError, split_thought
from baselines.llm.vision_served import ServedVisionModel
from baselines.models import VisionOptions
from encoders.frames import Frames
from tasks.errors import ModelError
from tests.baselines.llm.faulty_server import FRAME_TOKENS
from tests.baselines.llm.server_process import FaultyServer, faulty_server

TRAPS = ("keep", "prune", "most", "blind", "silent", "distrust", "pictures_only", "old")


@pytest.fixture(scope="module")
def running() -> Iterator[FaultyServer]:
    with faulty_server() as server:
        yield server


@pytest.fixture
def server(running: FaultyServer) -> FaultyServer:
    running.script([], **dict.fromkeys(TRAPS))
    running.since = len(running.log())
    return running


def load(server: FaultyServer, **options: Any) -> ServedVisionModel:
    quick: dict[str, Any] = {"retries": 1, "patience": 60.0, "timeout": 60.0, **options}
    llm = load_seeing(VisionOptions(llm="openai:toy", base_url=server.base_url, **quick))
    assert isinstance(llm, ServedVisionModel)
    return llm


def asked(server: FaultyServer) -> list[Any]:
    return [row["body"] for row in server.log()[server.since :]]


def answer(llm: ServedVisionModel, route: str, count: int) -> None:
    """Ask by a route, about so many frames."""
    frames = shown(count)
    if route == "generate":
        llm.generate([Chat("What?", shown=frames)], 8)
        return
    texts = (" A", " B") if route == "letters" else (" one two", " three")
    llm.score([Chat("What?", reply_start="Answer:", shown=frames)], [texts])


def shown(count: int, form: str = "video", between: Sequence[tuple[int, str]] = ()) -> Shown:
    ramp = np.linspace(0, 255, count, dtype=np.uint8)
    pixels = np.broadcast_to(ramp[:, None, None, None], (count, 16, 24, 3)).copy()
    seconds = tuple(60 + 1.7 * place for place in range(count))
    return Shown(Frames(pixels, seconds, seconds, 1.0), form, 1.7 * count, tuple(between))  # type: ignore[arg-type]


def levels(url: str) -> list[int]:
    """The grey of each frame in a data URL."""
    _, data = url.split(",", 1)
    return [round(float(np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))).mean())) for one in data.split(",")]


def test_frames_go_as_one_video_with_their_own_times_and_none_is_dropped(server: FaultyServer) -> None:
    llm = load(server)
    assert llm.forms == ("video", "images")
    server.since = len(server.log())
    llm.generate([Chat("What?", shown=shown(5))], 8)
    body = asked(server)[0]
    (video, words) = body["messages"][0]["content"]
    assert video["video_url"]["url"].startswith("data:video/jpeg;base64,")
    assert levels(video["video_url"]["url"]) == pytest.approx([0, 63, 127, 191, 255], abs=3)
    assert words == {"type": "text", "text": "What?"}
    told = body["media_io_kwargs"]["video"]
    assert [index / told["fps"] for index in told["frames_indices"]] == [60.0, 61.7, 63.4, 65.1, 66.8]
    assert told["num_frames"] == -1
    assert told["total_num_frames"] == round(told["duration"] * told["fps"]) == 8500


@pytest.mark.parametrize("form", ["video", "images"])
@pytest.mark.parametrize("count", [1, 2, 5, 33, 64])
def test_a_server_that_reads_every_frame_is_believed(server: FaultyServer, count: int, form: str) -> None:
    (reply,) = load(server).generate([Chat("What?", shown=shown(count, form))], 8)
    assert reply.text == "Answer: B"
    assert reply.notes["sent_frames"] == count
    assert reply.notes["vision_tokens"] == pytest.approx(count * FRAME_TOKENS, rel=0.03)


@pytest.mark.parametrize(
    ("trap", "count", "says"),
    [
        ({"keep": 32}, 64, r"64 frames .* as of 32 frames.*num_frames"),
        ({"keep": 32}, 48, r"48 frames"),
        ({"keep": 3}, 8, r"8 frames"),
        ({"keep": 1}, 8, r"does not look at each"),
        ({"prune": 0.2}, 64, r"64 frames .*pruned.*without --video-pruning-rate"),
        ({"prune": 0.5}, 64, r"64 frames .*pruned.*without --video-pruning-rate"),
        ({"prune": 0.8}, 16, r"16 frames .*pruned|does not look at each"),
        ({"most": 1000}, 64, r"pixels= or total_pixels="),
        ({"blind": True}, 8, r"does not look at each"),
        ({"silent": True}, 8, r"reports no prompt tokens .* check_frames=false"),
    ],
)
@pytest.mark.parametrize("route", ["generate", "options", "letters"])
def test_a_server_that_loses_frames_is_found_out_on_every_route(
    server: FaultyServer, trap: dict[str, Any], count: int, says: str, route: str
) -> None:
    llm = load(server)
    server.script([], **trap)
    with pytest.raises(FramesLostError, match=says) as caught:
        answer(llm, route, count)
    assert "\n" not in str(caught.value)


def test_a_server_that_begins_to_lose_frames_later_is_found_out(server: FaultyServer) -> None:
    llm = load(server)
    llm.generate([Chat("What is done here?", shown=shown(64))], 8)
    server.script([], keep=32)
    with pytest.raises(FramesLostError, match=r"took 38\d\d tokens before"):
        llm.generate([Chat("And what comes after that, tell me?", shown=shown(64))], 8)


def test_later_questions_cost_no_further_requests(server: FaultyServer) -> None:
    llm = load(server)
    llm.generate([Chat("What?", shown=shown(8))], 8)
    server.since = len(server.log())
    llm.generate([Chat(f"What comes {n}?", shown=shown(8)) for n in ("next", "last")], 8)
    assert len(asked(server)) == 2


def test_whoever_can_not_know_may_go_on_when_told_to(server: FaultyServer) -> None:
    llm = load(server, check_frames=False)
    server.script([], silent=True)
    assert llm.generate([Chat("What?", shown=shown(8))], 8)[0].text == "Answer: B"
    assert llm.info.details["frames_checked"] is False


def test_a_server_without_videos_gets_pictures(server: FaultyServer) -> None:
    server.script([], pictures_only=True)
    assert load(server).forms == ("images",)
    with pytest.raises(ModelError, match=r"takes no video.*send=images"):
        load(server, send="video")


def test_a_server_that_trusts_no_request_with_times_is_named_what_to_start_with(server: FaultyServer) -> None:
    server.script([], distrust=True)
    with pytest.raises(ModelError, match=r"--trust-request-mm-kwargs, or send=images"):
        load(server)
    assert load(server, send="images").forms == ("images",)
    server.script([], distrust=True, pictures_only=True)
    assert load(server).forms == ("images",)


def test_options_are_weighed_by_their_own_tokens_behind_the_prompt(server: FaultyServer) -> None:
    llm = load(server, route="options-loglik")
    chat = Chat("What?", system="Look.", reply_start="Answer:", shown=shown(4))
    texts = (" one two", " three")
    (scores,) = llm.score([chat], [texts])
    assert scores.logprobs == pytest.approx([-sum(map(ord, text)) / 100 for text in texts])
    assert scores.tokens == tuple(map(len, texts))
    body = next(one for one in asked(server) if one["messages"][-1]["content"] == "Answer: one two")
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


def test_letters_are_weighed_in_one_pass(server: FaultyServer) -> None:
    llm = load(server, route="letter-logprob")
    (scores,) = llm.score([Chat("What?", reply_start="Answer:", shown=shown(4))], [("A", "B", "C")])
    assert scores.logprobs == pytest.approx((-0.65, -0.66, -0.67))
    assert scores.tokens == (1, 1, 1)


def test_a_server_that_can_not_weigh_text_is_refused_before_any_question(server: FaultyServer) -> None:
    server.script([], old=True)
    with pytest.raises(ModelError, match=r"can't score options.*generate\+parse works"):
        load(server, route="options-loglik")


def test_sampling_goes_to_the_server_as_it_was_asked_for(server: FaultyServer) -> None:
    extra = '{"top_k": 20, "chat_template_kwargs": {"deep": true}, "mm_processor_kwargs": {"fps": 1}}'
    llm = load(server, temperature=0.7, top_p=0.8, seed=3, thinking=True, thinking_tokens=500, extra=extra)
    server.since = len(server.log())
    llm.generate([Chat("What?", shown=shown(4))], 64)
    body = asked(server)[0]
    told = {key: body[key] for key in ("temperature", "top_p", "seed", "max_tokens", "top_k", "mm_processor_kwargs")}
    assert told == {
        "temperature": 0.7, "top_p": 0.8, "seed": 3, "max_tokens": 564, "top_k": 20, "mm_processor_kwargs": {"fps": 1}
    }  # fmt: skip
    assert body["chat_template_kwargs"] == {"enable_thinking": True, "deep": True}
    llm.generate([Chat("What?", shown=shown(4), draw=2)], 64)
    assert asked(server)[-1]["seed"] == 5


@pytest.mark.parametrize(
    ("content", "apart", "reason", "text", "thought"),
    [
        ("<think>A or B?</think>B", None, "stop", "B", "A or B?"),
        ("A or B? It is </think>\n\nB", None, "stop", "\n\nB", "A or B? It is"),
        ("B", "A or B?", "stop", "B", "A or B?"),
        (None, "A or", "length", "", "A or"),
        ("<think>A or", None, "length", "", "A or"),
        ("So it may be A or", None, "length", "", "So it may be A or"),
    ],
)
def test_a_thought_is_kept_apart_and_a_cut_one_is_no_answer(
    server: FaultyServer, content: str | None, apart: str | None, reason: str, text: str, thought: str
) -> None:
    llm = load(server, thinking=True, check_frames=False)
    message = {"content": content, "reasoning": apart}
    reply = {"choices": [{"message": message, "finish_reason": reason}], "usage": {"prompt_tokens": 99}}
    server.script([f"json:{json.dumps(reply)}"])
    (found,) = llm.generate([Chat("What?", shown=shown(2))], 8)
    assert (found.text, found.thought, found.finished) == (text, thought, reason == "stop")


def test_pictures_and_the_words_among_them_keep_their_order(server: FaultyServer) -> None:
    llm = load(server)
    between = ((0, "before"), (2, "among"), (3, "after"))
    server.since = len(server.log())
    llm.generate([Chat("What?", shown=shown(3, "images", between))], 8)
    parts = asked(server)[0]["messages"][0]["content"]
    told = [part.get("text") or levels(part["image_url"]["url"])[0] for part in parts]
    assert told == ["before", 0, 127, "among", 255, "after", "What?"]


@pytest.mark.parametrize("fault", ["500*", "malformed*", "no-choices*", "abort*", "filter*", "html*"])
@pytest.mark.parametrize("route", ["generate", "options", "letters"])
def test_a_fault_of_the_server_never_becomes_an_answer(server: FaultyServer, fault: str, route: str) -> None:
    llm = load(server, retries=0)
    server.script([fault])
    with pytest.raises(ModelError):
        answer(llm, route, 2)


def logprobs_of(*tokens: tuple[int, Any]) -> dict[str, Any]:
    return {
        "choices": [{"finish_reason": "length"}],
        "prompt_logprobs": [None, *({str(t): {"logprob": value}} for t, value in tokens)],
    }


def test_likelihoods_of_other_tokens_than_asked_are_a_fault() -> None:
    assert read_prompt_logprobs(logprobs_of((7, -1.0), (8, -2.0), (9, -0.5)), [8, 9]) == [-2.0, -0.5]
    for wrong in ([7, 9], [9, 8], [6, 7, 8, 9, 9]):
        with pytest.raises(ModelError):
            read_prompt_logprobs(logprobs_of((7, -1.0), (8, -2.0), (9, -0.5)), wrong)
    for value in (0.5, "x", None, float("nan"), -9999.0, -1e9):
        with pytest.raises(ModelError):
            read_prompt_logprobs(logprobs_of((8, value)), [8])
    with pytest.raises(RefusedError):
        read_prompt_logprobs({"choices": [{"finish_reason": "length"}]}, [8])


def test_a_letter_that_is_not_told_leaves_no_likelihoods() -> None:
    tops = [{"token": "token_id:65", "logprob": -1.0}, {"token": "token_id:66", "logprob": -2.0}]
    content = [{"token": "token_id:65", "logprob": -1.0, "top_logprobs": tops}]
    body = {"choices": [{"logprobs": {"content": content}, "finish_reason": "length"}]}
    assert read_chat_letters(body, [66, 65]) == [-2.0, -1.0]
    assert read_chat_letters(body, [65, 67]) is None
    assert read_chat_letters({"choices": [{"finish_reason": "length"}]}, [65]) is None


@pytest.mark.parametrize(
    "first", [{"top_logprobs": 5}, {"token": ["A"]}, {"token": {}}, {"token": "x", "top_logprobs": [{"token": [1]}]}]
)
def test_letters_of_another_shape_are_letters_that_are_missing(first: dict[str, object]) -> None:
    body = {"choices": [{"finish_reason": "length", "logprobs": {"content": [first]}}]}
    assert read_chat_letters(body, [65]) is None


def test_a_part_whose_kind_is_no_text_and_a_token_without_its_likelihood_are_the_servers_faults() -> None:
    for kind in (["text"], {}):
        message = {"content": [{"type": kind, "text": "B"}]}
        with pytest.raises(ServerFaultError, match="a part that is not text"):
            read_chat({"choices": [{"finish_reason": "stop", "message": message}]})
    body = {"choices": [{"finish_reason": "length"}], "prompt_logprobs": [{"8": {}}]}
    with pytest.raises(ServerFaultError, match="a log-likelihood that is not a number: None"):
        read_prompt_logprobs(body, [8])


def test_letters_without_a_finite_likelihood_are_a_fault_and_not_a_tie() -> None:
    tops = [{"token": f"token_id:{code}", "logprob": -9999.0} for code in (65, 66)]
    content = [{"token": "token_id:65", "logprob": -9999.0, "top_logprobs": tops}]
    body = {"choices": [{"logprobs": {"content": content}, "finish_reason": "length"}]}
    with pytest.raises(ServerFaultError, match="-9999, which stands for an infinite one"):
        read_chat_letters(body, [65, 66])


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content", "thinking"])
def test_reasoning_is_found_under_any_of_its_names(name: str) -> None:
    message = {"content": "B", name: "A or B?"}
    written = read_chat({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert (written.text, written.thought) == ("B", "A or B?")


@pytest.mark.parametrize(
    ("written", "begun", "finished", "thought", "answer"),
    [
        ("B", False, True, "", "B"),
        ("B", True, True, "", "B"),
        ("it is", True, False, "it is", ""),
        ("it is", False, False, "", "it is"),
        ("<think></think>B", False, True, "", "B"),
        ("one</think>two</think>B", True, True, "one</think>two", "B"),
    ],
)
def test_what_is_thought_and_what_is_answer(
    written: str, begun: bool, finished: bool, thought: str, answer: str
) -> None:
    assert split_thought(written, begun=begun, finished=finished) == (thought, answer)
