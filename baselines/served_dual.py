"""A dual encoder on a server (`-m served-dual`): frames and texts through `/v1/embeddings`, in vLLM's image format.

Each frame is sent as a chat request with one image, each text as one without; a clip's vector is the mean of its
frames' unit vectors, as with `hf-dual`. A reply that is not a valid vector of the model's space counts as a server
fault.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.llm.client import ApiClient, Patience, RefusedError, ServerFaultError, read_embeddings
from baselines.llm.options import parse_extra
from baselines.llm.served import BASE_URL, NO_SUCH_ROUTE, ServedModel, look_up, read_key, read_tokens, side_by_side
from baselines.llm.vision_served import JPEG_QUALITY, jpeg
from baselines.models import ServedDualOptions
from encoders.control_tokens import neutral
from encoders.decode_ahead import FrameSource, Reading
from encoders.frames import Frames
from encoders.models import timed_policy
from encoders.sampling import FramePolicy
from encoders.task_model import REMEMBERED, frame_trace, policy_facts, remembered, unit, word_chunks
from tasks.errors import ModelError
from tasks.model import BatchHint, Embeddings, ModelInfo
from tasks.routes import Route
from tasks.task import Clip, JsonValue, Trace

FRAMES = 16
"""Our choice, the same as for `hf-dual`."""
DECODER_THREADS = 2
TEXTS_AT_ONCE = 32
PROBES = ("a pan", "two dogs in the snow")
SAME = 1e-6
"""Our choice: largest difference of two unit vectors that count as the same."""
UNKNOWN = "unknown"
MISSING_CAPABILITIES = {
    "ChoiceScorer": "a dual encoder gives vectors and no likelihoods of words",
    "TextGenerator": "a dual encoder writes nothing; -m vlm asks models that do",
}


class ServedDual:
    """Implements VideoTextEncoder with a server; answers multiple choice by similarity."""

    route = Route.SIMILARITY
    missing_capabilities = MISSING_CAPABILITIES

    def __init__(
        self,
        client: ApiClient,
        served: ServedModel,
        policy: FramePolicy,
        info: ModelInfo,
        options: ServedDualOptions,
    ) -> None:
        self.info = info
        self.policy = policy
        self.batch_hint = BatchHint()
        self.frames = FrameSource(policy, Reading(options.workers, 1, DECODER_THREADS))
        self.dimensions: int | None = None
        self._client = client
        self._served = served
        self._options = options
        self._extra = parse_extra(options.extra)
        self._known: OrderedDict[Clip, tuple[NDArray[np.float32], Trace]] = OrderedDict()
        self._context = served.context if self._tells_tokens() else None

    def looking_ahead(self, clips: Sequence[Clip]) -> AbstractContextManager[None]:
        """Decode `clips` ahead, while the server works on earlier ones."""
        return self.frames.ahead(clips)

    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        """Return unit vectors of clips; a recent clip is not sent again. Raises the first clip's VideoError."""
        vectors, traces = [], []
        for clip in clips:
            if clip in self._known:
                vector, trace = self._known[clip]
                trace = remembered(trace)
            else:
                (read,) = self.frames.read([clip])
                began = perf_counter()
                vector = self._seen(read.frames)
                spent = {**read.seconds, "encode": perf_counter() - began}
                trace = frame_trace(read.frames, len(read.frames.seconds), spent)
                self._known[clip] = vector, trace
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
            vectors.append(vector)
            traces.append(trace)
        return Embeddings(np.stack(vectors), tuple(traces))

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """Return unit vectors of texts; one longer than the server's context is pooled from chunks (see its trace)."""
        began = perf_counter()
        chunks = [self._chunks(text) for text in texts]
        found = iter(self._read([chunk for parts in chunks for chunk in parts]))
        vectors = [unit(np.mean([next(found) for _ in parts], axis=0)) for parts in chunks]
        spent = {"text": (perf_counter() - began) / max(len(texts), 1)}
        traces = tuple(Trace(seconds=spent, notes={"text_chunks": len(p)} if len(p) > 1 else {}) for p in chunks)
        return Embeddings(np.stack(vectors), traces)

    def check(self) -> None:
        """Raise ModelError unless two images, and two texts, get different vectors of the same length."""
        first = self._picture(probe_picture(0))
        self.dimensions = len(first)
        pictures = first, self._picture(probe_picture(1))
        texts = self._read(PROBES)
        for what, (one, other) in (("pictures", pictures), ("texts", texts)):
            if float(np.abs(one - other).max()) < SAME:
                raise ModelError(
                    f"{self._client.where}: '{self._served.name}' returns the same vector for two different {what}: it "
                    f"does not read them"
                )

    def _seen(self, frames: Frames) -> NDArray[np.float32]:
        """Return the mean of the frames' unit vectors, normalised."""
        rows = side_by_side(self._picture, list(frames.pixels), lanes=self._options.concurrency)
        return unit(np.mean(rows, axis=0))

    def _picture(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{jpeg(pixels)}"}}
        ]
        if self._options.picture_words:
            parts.append({"type": "text", "text": self._options.picture_words})
        return self._ask({"messages": [{"role": "user", "content": parts}]}, 1)[0]

    def _read(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return unit vectors of texts that fit the context."""
        asked: list[tuple[Mapping[str, Any], int]]
        if self._options.texts_as == "input":
            batches = [list(texts[at : at + TEXTS_AT_ONCE]) for at in range(0, len(texts), TEXTS_AT_ONCE)]
            asked = [({"input": [self._worded(text) for text in batch]}, len(batch)) for batch in batches]
        else:
            asked = [({"messages": self._message(text)}, 1) for text in texts]
        lanes = self._options.concurrency
        rows: list[list[NDArray[np.float32]]] = side_by_side(lambda one: self._ask(*one), asked, lanes=lanes)
        return [vector for batch in rows for vector in batch]

    def _ask(self, what: Mapping[str, Any], count: int) -> list[NDArray[np.float32]]:
        body = {"model": self._served.name, **what, "encoding_format": "float", **self._extra}
        rows = self._client.post(
            f"{self._client.base_url}/embeddings", body, lambda reply: read_embeddings(reply, count, self.dimensions)
        )
        return [unit(np.array(row, dtype=np.float32)) for row in rows]

    def _worded(self, text: str) -> str:
        """Return a text as it is sent, with control tokens broken up, as the server's tokenizer is not available."""
        return self._options.text_words.replace("{text}", neutral(text))

    def _message(self, text: str) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [{"type": "text", "text": self._worded(text)}]}]

    def _chunks(self, text: str) -> list[str]:
        # A token is at least one byte and a template adds few, so that short texts need not be counted by the server.
        context = self._context
        if context is None or 2 * len(self._worded(text).encode()) <= context:
            return [text]
        return word_chunks(text, context, self._length, f"'{self._served.name}'")

    def _length(self, text: str) -> int:
        """Count the tokens of a text with the server's tokenizer."""
        if self._options.texts_as == "input":
            asked: dict[str, Any] = {"prompt": self._worded(text)}
        else:
            kept = ("add_special_tokens", "add_generation_prompt", "chat_template_kwargs")
            more = {name: self._extra[name] for name in kept if name in self._extra}
            asked = {"add_generation_prompt": False, "messages": self._message(text), **more}
        url = f"{self._client.root_url}/tokenize"
        return len(self._client.post(url, {"model": self._served.name, **asked}, read_tokens))

    def _tells_tokens(self) -> bool:
        """Whether the server counts tokens, which splitting a long text needs."""
        if self._served.context is None:
            return False
        try:
            return self._length(PROBES[0]) > 0
        except RefusedError as error:
            if error.status in NO_SUCH_ROUTE:
                return False
            raise


def probe_picture(which: int) -> NDArray[np.uint8]:
    """Return one of two small, unlike images."""
    rows = np.arange(224 * 224 * 3, dtype=np.uint32).reshape(224, 224, 3)
    return (rows // 700 % 251 if which else rows[::-1] // 90 % 83).astype(np.uint8)


def build_served_dual(options: ServedDualOptions) -> ServedDual:
    """Connect to the server and try it on two images and two texts.

    Raises ModelError, naming the server, if it can't be reached, lacks the model, or does not embed both.
    """
    address = options.base_url or os.environ.get(BASE_URL)
    if not address:
        raise ModelError(f"served-dual needs its server: -M base_url=http://HOST:PORT/v1 or ${BASE_URL}")
    patience = Patience(timeout=options.timeout, retries=options.retries, away=options.patience)
    client = ApiClient(address, read_key(options.key_from), patience, options.concurrency)
    served = look_up(client, options.name, f"served-dual name={options.name}")
    policy = timed_policy(
        options, FramePolicy(count=FRAMES), FramePolicy(count=1, size=None, fit="keep", pixels=options.pixels)
    )
    details: dict[str, JsonValue] = {
        "engine": f"vllm {served.vllm}" if served.vllm else "OpenAI-compatible server",
        "server": client.host,
        **served.facts,
        "context": served.context or UNKNOWN,
        "read_as": "frames",
        "jpeg_quality": JPEG_QUALITY,
        "texts_as": options.texts_as,
        "text_words": options.text_words,
        "picture_words": options.picture_words,
        **policy_facts(policy),
    }
    info = ModelInfo(name=options.name, device="served", details=details)
    try:
        model = ServedDual(client, served, policy, info, options)
        model.check()
    except (RefusedError, ServerFaultError) as error:
        raise ModelError(f"served-dual name={options.name}: it does not embed images and texts: {error}") from error
    model.info = replace(info, details={**details, "dimensions": model.dimensions})
    return model
