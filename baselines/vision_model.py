"""A vision-language model behind an OpenAI-compatible server (vLLM, hosted ones), shown frames of our own choosing.

Frames are sent as JPEG pictures before the words, with their times, so that every engine sees the same ones; engines'
own sampling of videos differs (vLLM: 32 frames whatever the length). One frame is the middle of the clip.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.pool import ThreadPool
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.llm.client import ApiClient, Patience, Written, read_chat
from baselines.llm.served import BASE_URL, look_up, read_key
from baselines.models import VisionOptions
from baselines.segments import clock
from encoders.control_tokens import neutral
from encoders.frames import Frames, read_together
from encoders.models import frame_policy
from encoders.sampling import FramePolicy
from encoders.task_model import policy_facts
from tasks.digests import text_sha256
from tasks.errors import ModelError
from tasks.model import BatchHint, ModelInfo, TextReply, TextRequest
from tasks.prompt import Prompt, load_prompt
from tasks.routes import Route
from tasks.task import Trace

FRAMES = FramePolicy(count=8)
"""Ours: eight frames of a clip."""
JPEG_QUALITY = 90
DECODER_THREADS = 2


@dataclass(frozen=True, slots=True)
class Vision:
    """What is asked of the server: the model's name, the wording, the frames, the longest reply (None: the task's)."""

    model: str
    prompt: Prompt
    policy: FramePolicy
    max_tokens: int | None


class VisionModel:
    """Offers Captioner and TextGenerator."""

    route = Route.GENERATE

    def __init__(self, client: ApiClient, vision: Vision, info: ModelInfo, concurrency: int) -> None:
        self.info = info
        self.batch_hint = BatchHint(batch=concurrency)
        self._client = client
        self._vision = vision
        self._concurrency = concurrency

    def generate(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """Replies to the requests, asked side by side. Raises VideoError, or ModelError for a fault of the server."""
        started = perf_counter()
        clips = read_together([r.clip for r in requests], self._vision.policy, threads=DECODER_THREADS)
        decode = (perf_counter() - started) / len(clips)
        with ThreadPool(min(self._concurrency, len(requests))) as pool:
            jobs = [(request, frames, decode) for request, frames in zip(requests, clips, strict=True)]
            return pool.starmap(self._reply, jobs, chunksize=1)

    def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """A caption is a reply like any other."""
        return self.generate(requests)

    def _reply(self, request: TextRequest, frames: Frames, decode: float) -> TextReply:
        started = perf_counter()
        times = ", ".join(clock(second) for second in frames.seconds)
        words = neutral(self._vision.prompt.fill("user", times=times, prompt=request.prompt))
        body = {
            "model": self._vision.model,
            "messages": [{"role": "user", "content": [*pictures(frames), {"type": "text", "text": words}]}],
            "max_tokens": self._vision.max_tokens or request.max_tokens,
            "temperature": 0.0,
        }
        written: Written = self._client.post(f"{self._client.base_url}/chat/completions", body, read_chat)
        if not written.text.strip():
            raise ModelError(f"{request.item_id}: {self._vision.model} wrote nothing in {body['max_tokens']} tokens")
        seconds = {"decode": decode, "wait": decode, "llm": perf_counter() - started}
        trace = Trace(text_sha256(words), written.usage, seconds, frames.seen)
        return TextReply(written.text, written.finished, trace)


def pictures(frames: Frames) -> list[dict[str, Any]]:
    """Frames as the parts of a message."""
    return [{"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{jpeg(p)}"}} for p in frames.pixels]


def jpeg(picture: NDArray[np.uint8]) -> str:
    """A picture uint8 [H, W, 3] as base64 JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def build_vision_model(options: VisionOptions) -> VisionModel:
    """Look at the server and check that it has the model. Raises ModelError naming the server."""
    if find_spec("PIL") is None:
        raise ModelError("model 'vlm' needs Pillow to send pictures: pip install 'longvid[video]'")
    address = options.base_url or os.environ.get(BASE_URL)
    if not address:
        raise ModelError(f"vlm '{options.model}' needs its server: -M base_url=http://HOST:PORT/v1 or ${BASE_URL}")
    patience = Patience(timeout=options.timeout, retries=options.retries, away=options.patience)
    client = ApiClient(address, read_key(options.key_from), patience, options.concurrency)
    served = look_up(client, options.model)
    policy = frame_policy(options, FRAMES, options.size)
    prompt = load_prompt("baselines", "vision.v1")
    info = ModelInfo(
        name=options.model,
        device="served",
        prompts={prompt.name: prompt.sha256},
        details={
            "engine": f"vllm {served.vllm}" if served.vllm else "OpenAI-compatible server",
            "server": client.host,
            "jpeg_quality": JPEG_QUALITY,
            "max_tokens": options.max_tokens,
            **policy_facts(policy),
        },
    )
    return VisionModel(client, Vision(options.model, prompt, policy, options.max_tokens), info, options.concurrency)
