"""Frames of real clips by vLLM in this process: the same choices as transformers makes, by every route."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from baselines.llm.options import Sampling
from baselines.llm.protocol import Chat, Shown
from baselines.llm.vision import SeeingModel
from baselines.models import VisionOptions
from encoders.causal_lm.smollm2 import find_smollm2
from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from tasks.digests import file_sha256
from tasks.task import Clip
from tests.baselines.llm.vllm.conftest import DTYPE

pytestmark = pytest.mark.vllm
FRAMES = 4
CLIPS = (("bikes_10s.mp4", 10.0), ("charades_31s.mp4", 30.0), ("scrambled_eggs_70s.mp4", 70.0))
QUESTIONS = ("What is done here?", "Where is it?", "Who is seen?", "What comes next?")
TEXTS = (" a person rides a bike", " somebody cooks", " a car park", " nothing at all")
LETTERS = (" A", " B", " C", " D")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("vllm")
    from encoders.causal_lm.load import dense_folder, dtype_of
    from tests.baselines.llm.vllm.small_vision import write_vision_model

    gguf = find_smollm2()
    speaks = dense_folder(gguf, file_sha256(gguf), dtype_of(DTYPE))
    return write_vision_model(speaks, tmp_path_factory.mktemp("vision") / "model")


@pytest.fixture(scope="module")
def engines(folder: Path) -> tuple[SeeingModel, SeeingModel]:
    from baselines.llm.vision_local import load_vision_model
    from baselines.llm.vision_vllm import load_vllm_vision

    engine = '{"enforce_eager": true, "max_num_seqs": 16}'
    options = VisionOptions(llm=f"vllm:{folder}", engine=engine, dtype=DTYPE, context=1024)
    reference = load_vision_model(str(folder), sampling=Sampling(), dtype=DTYPE, device="cpu")
    return load_vllm_vision(str(folder), options, Sampling()), reference


@pytest.fixture(scope="module")
def chats(shared_data: Path) -> list[Chat]:
    found = []
    for name, end in CLIPS:
        clip = Clip(name, 0.0, end, shared_data / "videos" / "natural" / name)
        frames = read_frames(clip, FramePolicy(count=FRAMES, size=None, fit="keep", pixels=10_000))
        shown = Shown(frames, "images", end)
        found += [Chat(words, reply_start="Answer:", shown=shown) for words in QUESTIONS]
    return found


@pytest.mark.parametrize("texts", [TEXTS, LETTERS], ids=["options-loglik", "letter-logprob"])
def test_likelihoods_and_choices_are_those_of_transformers(
    engines: tuple[SeeingModel, SeeingModel], chats: list[Chat], texts: tuple[str, ...]
) -> None:
    ours, theirs = (engine.score(chats, [texts] * len(chats)) for engine in engines)
    pairs = list(zip(ours, theirs, strict=True))
    same = sum(a.logprobs.index(max(a.logprobs)) == b.logprobs.index(max(b.logprobs)) for a, b in pairs)
    assert same >= math.ceil(0.98 * len(chats))
    for a, b in pairs:
        assert a.tokens == b.tokens
        assert a.logprobs == pytest.approx(b.logprobs, abs=0.05)


def test_replies_and_guided_choices_are_those_of_transformers(
    engines: tuple[SeeingModel, SeeingModel], chats: list[Chat]
) -> None:
    from dataclasses import replace

    guided = [replace(chat, reply_start="", choices=("A", "B", "C")) for chat in chats]
    ours, theirs = (engine.generate(guided, 4) for engine in engines)
    assert [reply.text for reply in ours] == [reply.text for reply in theirs]
    plain = [replace(chat, reply_start="") for chat in chats]
    ours, theirs = (engine.generate(plain, 8) for engine in engines)
    assert sum(a.text == b.text for a, b in zip(ours, theirs, strict=True)) >= math.ceil(0.98 * len(chats))
    assert [reply.usage.prompt for reply in ours] == [reply.usage.prompt for reply in theirs]
