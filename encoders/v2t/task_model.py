"""Video-to-text as a model for the tasks: captions, free answers and option likelihoods from one look at a clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from encoders.clip_batches import batches_of_equals, to_device
from encoders.frame_source import FrameSource, ReadClip
from encoders.masking import sample_keep_each
from encoders.sampling import FramePolicy
from encoders.task_model import Runtime, frame_trace, pad_to_multiple, remembered
from encoders.v2t.generate import Caption, Decoding, generate
from encoders.v2t.model import VideoToText
from encoders.v2t.score import score_options
from encoders.vision import VisionTower
from tasks.digests import text_sha256
from tasks.model import ModelInfo, OptionRequest, OptionScores, TextReply, TextRequest
from tasks.routes import Route
from tasks.task import Clip, TokenUsage, Trace

Request = TextRequest | OptionRequest
ReadFrames = Callable[[Sequence[Request]], list[ReadClip]]
"""Frames of each request's clip."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How the model is asked: frames, share of input tokens dropped, decoding, and whose words come before a caption.

    `max_tokens` bounds replies where the task's own bound is not wanted. With `task_prompt` a caption
    answers the task's request, without it the prompt of training.
    """

    policy: FramePolicy
    route: Route = Route.OPTIONS_LOGLIK
    mask: float = 0.0
    beams: int = 1
    length_penalty: float = 1.0
    min_tokens: int = 0
    max_tokens: int | None = None
    task_prompt: bool = False

    def decoding(self, asked: int) -> Decoding:
        """Decoding for a task that asks for at most `asked` tokens."""
        return Decoding(self.max_tokens or asked, self.min_tokens, self.beams, self.length_penalty)


@dataclass(frozen=True, slots=True)
class Watched:
    """A clip's spatial tokens [1, places, width] and how they came about."""

    tokens: Tensor
    trace: Trace


class VideoToTextModel:
    """Offers Captioner, TextGenerator and ChoiceScorer. Every clip passes the encoder once a call."""

    def __init__(
        self,
        model: VideoToText,
        vision: VisionTower,
        tokenizer: PreTrainedTokenizerBase,
        asking: Asking,
        runtime: Runtime,
        info: ModelInfo,
    ) -> None:
        self.info = info
        self.route = asking.route
        self._model = model.eval()
        self._vision = vision.config
        self._tokenizer = tokenizer
        self._asking = asking
        self._runtime = runtime
        watch: Callable[[Tensor, Tensor | None], Tensor] = self._model.watch
        dynamic = asking.policy.fps is not None
        self._watch_pixels = torch.compile(watch, dynamic=dynamic) if runtime.compile else watch
        self.appetite = runtime.appetite
        self.frames = FrameSource(asking.policy, runtime.reading)
        self._read: ReadFrames | None = None
        self._seen: Mapping[Clip, Watched] = {}

    @property
    def policy(self) -> FramePolicy:
        """Which frames it looks at, and their shape."""
        return self._asking.policy

    def looking_through(self, read: ReadFrames, info: ModelInfo) -> VideoToTextModel:
        """The same model, whose frames `read` chooses for each request; `info` is what a record keeps of it."""
        other = copy(self)
        other._read = read  # noqa: SLF001 - its own class
        other.info = info
        return other

    def looking_ahead(self, clips: Sequence[Clip]) -> AbstractContextManager[None]:
        """Decode `clips` while earlier ones are looked at and talked about; frames chosen by request can't be."""
        return self.frames.ahead(clips) if self._read is None else nullcontext()

    def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """A caption of each clip, behind the prompt of training or the task's (`Asking.task_prompt`)."""
        own = self._model.connector.config.prompt
        texts = [task_text(request.prompt) if self._asking.task_prompt else own for request in requests]
        return self._write(requests, texts)

    def generate(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """A free answer to each task's request."""
        return self._write(requests, [task_text(request.prompt) for request in requests])

    def score_options(self, requests: Sequence[OptionRequest]) -> list[OptionScores]:
        """Mean log-likelihoods of the options, the prompt processed once for each request."""
        results = []
        for request, watched in zip(requests, self._watch(requests), strict=True):
            text = task_text(request.prompt) + request.reply_start
            began = perf_counter()
            with torch.inference_mode():
                memory = self._model.connector(watched.tokens)
            scores, usage = score_options(self._model, self._tokenizer, memory, text, request.options, request.item_id)
            trace = _traced(watched.trace, text, usage, perf_counter() - began)
            results.append(OptionScores(scores, trace))
        return results

    def _write(self, requests: Sequence[TextRequest], texts: Sequence[str]) -> list[TextReply]:
        watched = self._watch(requests)
        replies: dict[int, TextReply] = {}
        for part in batches_of_equals([request.max_tokens for request in requests], self._runtime.batch):
            decoding = self._asking.decoding(requests[part[0]].max_tokens)
            began = perf_counter()
            with torch.inference_mode():
                memory = self._model.connector(torch.cat([watched[i].tokens for i in part]))
            captions = generate(self._model, self._tokenizer, memory, [texts[i] for i in part], decoding)
            spent = (perf_counter() - began) / len(captions)
            for i, caption in zip(part, captions, strict=True):
                replies[i] = _reply(caption, watched[i], texts[i], spent)
        return [replies[i] for i in range(len(requests))]

    def _watch(self, requests: Sequence[Request]) -> list[Watched]:
        """Spatial tokens of each request's clip. Raises the first VideoError.

        A clip of this call or the last is not looked at again, unless its frames depend on the request.
        """
        clips = [request.clip for request in requests]
        if self._read is not None:
            return self._look(clips, self._read(requests))
        new = [clip for clip in dict.fromkeys(clips) if clip not in self._seen]
        fresh = dict(zip(new, self._look(new, self.frames.read(new)), strict=True))
        known = {**self._seen, **fresh}
        self._seen = {clip: known[clip] for clip in clips}
        return [
            known[clip]
            if clip in fresh and clip not in clips[:at]
            else replace(known[clip], trace=remembered(known[clip].trace))
            for at, clip in enumerate(clips)
        ]

    @torch.inference_mode()
    def _look(self, clips: Sequence[Clip], read: Sequence[ReadClip]) -> list[Watched]:
        """Spatial tokens of frames, in batches of equal frame counts; order is kept."""
        tubelet = self._vision.tubelet if self._vision.patches != "image" else 1
        padded = [pad_to_multiple(one.frames.pixels, tubelet) for one in read]
        out: dict[int, Watched] = {}
        for chunk in batches_of_equals([len(pixels) for pixels in padded], self._runtime.batch):
            began = perf_counter()
            pixels = to_device(np.stack([padded[i] for i in chunk]), self._runtime.device)
            shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
            keep = sample_keep_each(self._vision, shape, self._asking.mask, [clip_seed(clips[i]) for i in chunk])
            tokens = self._watch_pixels(pixels, None if keep is None else keep.to(pixels.device))
            spent = (perf_counter() - began) / len(chunk)
            for row, i in enumerate(chunk):
                trace = frame_trace(read[i].frames, len(padded[i]), {**read[i].seconds, "encode": spent})
                out[i] = Watched(tokens[row : row + 1], trace)
        return [out[i] for i in range(len(clips))]


def clip_seed(clip: Clip) -> int:
    """The seed of a clip's mask, from its own name and times (ours)."""
    return int(text_sha256(clip.video_id, str(clip.start), str(clip.end))[:15], 16)


def task_text(prompt: str) -> str:
    """A task's request as plain text, a blank line behind it: video-to-text was trained without chat templates."""
    return f"{prompt}\n\n" if prompt else ""


def _reply(caption: Caption, watched: Watched, text: str, seconds: float) -> TextReply:
    usage = TokenUsage(prompt=caption.prompt_tokens, completion=caption.tokens)
    return TextReply(caption.text, caption.finished, _traced(watched.trace, text, usage, seconds))


def _traced(trace: Trace, text: str, usage: TokenUsage, seconds: float) -> Trace:
    return replace(trace, prompt_sha256=text_sha256(text), usage=usage, seconds={**trace.seconds, "llm": seconds})
