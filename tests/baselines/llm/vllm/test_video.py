"""Frames as a video by vLLM, in this process and served: tiny models answer as transformers by hand does."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baselines.llm.options import Sampling
from baselines.llm.protocol import Chat, Shown
from baselines.llm.vision import SeeingModel
from baselines.llm.vision_served import ServedVisionModel, jpeg, load_served_vision
from baselines.models import VisionOptions
from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from tasks.errors import ModelError
from tasks.task import Clip
from tests.baselines.llm.by_hand import ByHand
from tests.baselines.llm.tiny_vision import WRITERS
from tests.baselines.llm.vllm.conftest import DTYPE
from tests.baselines.llm.vllm.server import VllmServer, running

pytestmark = pytest.mark.vllm
KINDS = ("qwen2_5_vl", "qwen3_vl")
"""vLLM's SmolVLM takes pictures only, and of LLaVA-OneVision it doesn't read what transformers 5 saves."""
SERVED = "qwen3_vl"
HEAD = 32
"""The narrowest attention head that vLLM runs on a CPU."""
CONTEXT = 4096
CLIPS = (("bikes_10s.mp4", 10.0), ("charades_31s.mp4", 30.0), ("scrambled_eggs_70s.mp4", 70.0))
FRAMES = (4, 8)
QUESTIONS = ("What is done here?", "Where is it?", "Who is seen?", "What comes next?")
OPTIONS = (" a person rides a bike", " somebody cooks", " a car park", " nothing at all")
LETTERS = ("A", "B", "C", "D")
REPLY_TOKENS = 12
# Frames are small and the engine's own guess of the largest video is not.
ENGINE = '{"enforce_eager": true, "max_num_seqs": 16, "max_num_batched_tokens": 4096, "skip_mm_profiling": true}'


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pytest.importorskip("vllm")
    pytest.importorskip("torchvision")
    found = {kind: tmp_path_factory.mktemp("video") / kind for kind in KINDS}
    for kind, folder in found.items():
        WRITERS[kind](folder, head=HEAD)
    return found


@pytest.fixture(scope="module")
def chats(shared_data: Path) -> list[Chat]:
    found = []
    for name, end in CLIPS:
        clip = Clip(name, 0.0, end, shared_data / "videos" / "natural" / name)
        for count in FRAMES:
            frames = read_frames(clip, FramePolicy(count=count, size=None, fit="keep", pixels=10_000))
            shown = Shown(frames, "video", end)
            found += [Chat(words, reply_start="Answer: ", shown=shown) for words in QUESTIONS]
    return found


def choices_agree(engine: SeeingModel, by_hand: ByHand, chats: Sequence[Chat], seen: Sequence[Chat]) -> None:
    """All four routes; `seen` are the chats with the frames that the engine was really shown."""
    enough = math.ceil(0.98 * len(chats))
    for texts in (OPTIONS, LETTERS):
        ours = engine.score(chats, [texts] * len(chats))
        theirs = np.array([by_hand.likelihoods(chat, texts) for chat in seen])
        means = theirs / [len(text) for text in texts]  # its tokens are bytes
        assert np.abs(np.array([one.logprobs for one in ours]) - theirs).max() < 0.01
        assert sum(np.argmax([one.means for one in ours], 1) == np.argmax(means, 1)) >= enough
    unstarted = [replace(chat, reply_start="") for chat in chats]
    seen = [replace(chat, reply_start="") for chat in seen]
    replies = engine.generate(unstarted, REPLY_TOKENS)
    written = [by_hand.reply(chat, REPLY_TOKENS) for chat in seen]
    same = [legible(reply.text) == legible(other) for reply, other in zip(replies, written, strict=True)]
    assert sum(same) >= enough
    assert [reply.usage.prompt for reply in replies] == [by_hand.prompt_tokens(chat) for chat in seen]
    assert len({reply.text for reply in replies}) > len(QUESTIONS)
    guided = engine.generate([replace(chat, choices=LETTERS) for chat in unstarted], 4)
    likeliest = [LETTERS[int(np.argmax(by_hand.likelihoods(chat, LETTERS)))] for chat in seen]
    assert sum(a.text == b for a, b in zip(guided, likeliest, strict=True)) >= enough


def legible(text: str) -> str:
    """Without what differs in form alone: control codes, and the bytes of a letter that is cut off by the end."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text).rstrip("\ufffd")


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_in_this_process_gets_the_answers_of_transformers_by_every_route(
    folders: dict[str, Path], chats: list[Chat], kind: str
) -> None:
    from baselines.llm.vision_vllm import load_vllm_vision

    options = VisionOptions(llm=f"vllm:{folders[kind]}", engine=ENGINE, dtype=DTYPE, context=CONTEXT)
    engine = load_vllm_vision(str(folders[kind]), options, Sampling())
    assert engine.forms == ("video", "images")
    choices_agree(engine, ByHand.load(folders[kind]), chats, chats)
    notes = engine.generate(chats[:1], 1)[0].notes
    assert notes["sent_as"] == "video"
    assert notes["vision_tokens"] >= FRAMES[0] // 2  # type: ignore[operator]


@pytest.fixture(scope="module")
def server(folders: dict[str, Path]) -> Iterator[VllmServer]:
    more = ("--max-num-seqs", "8", "--max-num-batched-tokens", "4096", "--skip-mm-profiling")
    with running(folders[SERVED], "tiny", CONTEXT, *more, "--trust-request-mm-kwargs") as started:
        yield started


@pytest.fixture(scope="module")
def served(server: VllmServer) -> ServedVisionModel:
    asked = VisionOptions(llm="openai:tiny", base_url=server.url, timeout=600)
    return load_served_vision("tiny", asked, Sampling(), scoring=True)


def as_sent(chat: Chat) -> Chat:
    """With the frames as they are behind JPEG, which is how a server is sent them."""
    assert chat.shown is not None
    pictures = [Image.open(io.BytesIO(base64.b64decode(jpeg(one)))) for one in chat.shown.frames.pixels]
    frames = replace(chat.shown.frames, pixels=np.stack([np.asarray(one) for one in pictures]))
    return replace(chat, shown=replace(chat.shown, frames=frames))


def test_a_video_over_http_gets_the_answers_of_transformers_by_every_route(
    served: ServedVisionModel, folders: dict[str, Path], chats: list[Chat]
) -> None:
    assert served.forms == ("video", "images")
    choices_agree(served, ByHand.load(folders[SERVED]), chats, [as_sent(chat) for chat in chats])


def test_sixty_four_frames_all_arrive_over_http(served: ServedVisionModel, shared_data: Path) -> None:
    name, end = CLIPS[-1]
    clip = Clip(name, 0.0, end, shared_data / "videos" / "natural" / name)
    tokens = []
    for count in (32, 64):
        frames = read_frames(clip, FramePolicy(count=count, size=None, fit="keep", pixels=5_000))
        (reply,) = served.generate([Chat("What is done?", shown=Shown(frames, "video", end))], 16)
        tokens.append(reply.notes["vision_tokens"])
    assert tokens[1] == pytest.approx(2 * tokens[0], rel=0.1)  # type: ignore[operator]


def test_other_times_of_the_same_frames_are_another_prompt(served: ServedVisionModel, chats: list[Chat]) -> None:
    chat = chats[0]
    assert chat.shown is not None
    frames = chat.shown.frames
    late = replace(frames, seconds=tuple(40 + second for second in frames.seconds))
    later = replace(chat, shown=replace(chat.shown, frames=late, duration=60.0))
    ours, theirs = (served.score([one], [OPTIONS])[0].logprobs for one in (chat, later))
    assert ours != pytest.approx(theirs, abs=1e-4)


def test_a_server_that_was_not_told_to_trust_times_is_refused_with_what_to_set(folders: dict[str, Path]) -> None:
    with running(folders[SERVED], "tiny", CONTEXT, "--max-num-seqs", "4", "--skip-mm-profiling") as started:
        asked = VisionOptions(llm="openai:tiny", base_url=started.url, timeout=600)
        with pytest.raises(ModelError, match="start vllm serve with --trust-request-mm-kwargs, or send=images"):
            load_served_vision("tiny", asked, Sampling(), scoring=False)
