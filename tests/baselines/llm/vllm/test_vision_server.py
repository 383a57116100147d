"""Frames of real clips, shown to a vision-language model that vLLM serves: what it says is what transformers says."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from baselines.llm.vision_served import jpeg
from baselines.models import VisionOptions
from baselines.segments import clock
from baselines.vision_model import VisionModel, build_vision_model
from encoders.causal_lm.smollm2 import find_smollm2
from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from tasks.digests import file_sha256
from tasks.model import TextRequest
from tasks.prompt import load_prompt
from tasks.task import Clip
from tests.baselines.llm.vllm.conftest import DTYPE
from tests.baselines.llm.vllm.server import VllmServer, running

pytestmark = pytest.mark.vllm
FRAMES = 8
WORDS = 16
CLIPS = (("bikes_10s.mp4", 10.0), ("charades_31s.mp4", 30.0), ("scrambled_eggs_70s.mp4", 70.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("vllm")
    from encoders.causal_lm.load import dense_folder, dtype_of
    from tests.baselines.llm.vllm.small_vision import write_vision_model

    gguf = find_smollm2()
    speaks = dense_folder(gguf, file_sha256(gguf), dtype_of(DTYPE))
    return write_vision_model(speaks, tmp_path_factory.mktemp("vision") / "model")


def served(server: VllmServer, **more: Any) -> VisionOptions:
    return VisionOptions(llm="openai:small", base_url=server.url, frames=FRAMES, fit="crop", max_tokens=WORDS, **more)


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[VisionModel]:
    pictures = ("--limit-mm-per-prompt", f'{{"image": {FRAMES}}}')
    with running(folder, "small", 1024, "--max-num-seqs", "8", *pictures) as server:
        yield build_vision_model(served(server))


def test_captions_over_http_are_those_of_transformers_on_the_same_frames(
    folder: Path, model: VisionModel, shared_data: Path
) -> None:
    from PIL import Image
    from transformers import AutoProcessor, Idefics3ForConditionalGeneration

    reference = Idefics3ForConditionalGeneration.from_pretrained(folder, dtype=DTYPE)
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    clips = [Clip(name, 0.0, end, shared_data / "videos" / "natural" / name) for name, end in CLIPS]
    requests = [TextRequest(clip.video_id, clip, "What is done here?", WORDS) for clip in clips]
    replies = model.caption(requests)
    for clip, request, reply in zip(clips, requests, replies, strict=True):
        assert clip.path is not None
        frames = read_frames(clip, FramePolicy(count=FRAMES, size=448))
        times = ", ".join(clock(second) for second in frames.seconds)
        words = load_prompt("baselines", "vision.v1").fill("user", times=times, prompt=request.prompt)
        pictures = [Image.open(io.BytesIO(base64.b64decode(jpeg(pixels)))) for pixels in frames.pixels]
        parts = [*({"type": "image"} for _ in pictures), {"type": "text", "text": words}]
        text = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
        inputs = processor(text=text, images=pictures, return_tensors="pt")
        written = reference.generate(**inputs, max_new_tokens=WORDS, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert reply.text.strip() == processor.decode(written, skip_special_tokens=True).strip()
        assert reply.trace.usage.prompt == inputs["input_ids"].shape[1]
    assert len({reply.text for reply in replies}) > 1
