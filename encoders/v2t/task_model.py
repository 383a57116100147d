"""Video-to-text as a model for the tasks: captions, free answers and option likelihoods from one encoding of a clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from encoders.build import runtime_of
from encoders.causal_lm.load import read_named
from encoders.causal_lm.scoring import use_float32_head
from encoders.config import preset
from encoders.decode_ahead import FrameSource, ReadClip
from encoders.device import batches_of_equals, device_name, find_device, to_device
from encoders.dual import DualEncoder, build_encoder
from encoders.models import ReadingOptions, VideoToTextOptions, frame_policy, own_policy
from encoders.sampling import FramePolicy
from encoders.task_model import Runtime, frame_trace, pad_to_multiple, policy_facts, remembered
from encoders.v2t.model import VideoToText, build_connector, config_for
from encoders.v2t.speak import Caption, Decoding, generate, score_options
from encoders.v2t.weights import Description, find_encoder, load_connector, open_lm, read_description
from encoders.vit import VisionTower, sample_keep_each
from encoders.weights import load_encoder
from tasks.digests import file_sha256, text_sha256
from tasks.errors import ModelError
from tasks.model import ModelInfo, OptionRequest, OptionScores, TextReply, TextRequest
from tasks.routes import Route
from tasks.task import Clip, TokenUsage, Trace

Request = TextRequest | OptionRequest
ReadFrames = Callable[[Sequence[Request]], list[ReadClip]]
"""Frames of each request's clip."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How the model is asked: frames, share of input tokens dropped, decoding, and the prompt before a caption.

    `max_tokens` limits replies instead of the task's own limit. With `task_prompt` a caption
    follows the task's request, without it the prompt of training.
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
        """Return the decoding for a task that asks for at most `asked` tokens."""
        return Decoding(self.max_tokens or asked, self.min_tokens, self.beams, self.length_penalty)


@dataclass(frozen=True, slots=True)
class Watched:
    """A clip's spatial tokens [1, places, width] and how they were made."""

    tokens: Tensor
    trace: Trace


class VideoToTextModel:
    """Implements Captioner, TextGenerator and ChoiceScorer. Every clip is encoded once per call."""

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
        self.batch_hint = runtime.batch_hint
        self.frames = FrameSource(asking.policy, runtime.reading)
        self._read: ReadFrames | None = None
        self._seen: Mapping[Clip, Watched] = {}

    @property
    def policy(self) -> FramePolicy:
        """Which frames are read, and their shape."""
        return self._asking.policy

    def looking_through(self, read: ReadFrames, info: ModelInfo) -> VideoToTextModel:
        """Return the model with frames chosen for each request by `read`; `info` is what a record keeps of it."""
        other = copy(self)
        other._read = read  # noqa: SLF001 - its own class
        other.info = info
        return other

    def looking_ahead(self, clips: Sequence[Clip]) -> AbstractContextManager[None]:
        """Decode `clips` while earlier ones are processed; frames that depend on the request can't be decoded ahead."""
        return self.frames.ahead(clips) if self._read is None else nullcontext()

    def forget(self) -> None:
        """Drop the tokens of the clips seen last, so that the next measurement pays for every clip."""
        self._seen = {}

    def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """Caption each clip, after the prompt of training or the task's (`Asking.task_prompt`)."""
        own = self._model.connector.config.prompt
        texts = [task_text(request.prompt) if self._asking.task_prompt else own for request in requests]
        return self._write(requests, texts)

    def generate(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """Answer each task's request in free text."""
        return self._write(requests, [task_text(request.prompt) for request in requests])

    def score_options(self, requests: Sequence[OptionRequest]) -> list[OptionScores]:
        """Return mean log-likelihoods of the options, processing the prompt once per request."""
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
        """Return spatial tokens of each request's clip. Raises the first VideoError.

        A clip of this call or the last is not encoded again, unless its frames depend on the request.
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
        """Return spatial tokens of frames, in batches of equal frame counts; order is kept."""
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
    """Return the seed of a clip's mask, from its name and times (our choice)."""
    return int(text_sha256(clip.video_id, str(clip.start), str(clip.end))[:15], 16)


def task_text(prompt: str) -> str:
    """Return a task's request as plain text and a blank line: video-to-text was trained without chat templates."""
    return f"{prompt}\n\n" if prompt else ""


def _reply(caption: Caption, watched: Watched, text: str, seconds: float) -> TextReply:
    usage = TokenUsage(prompt=caption.prompt_tokens, completion=caption.tokens)
    return TextReply(caption.text, caption.finished, _traced(watched.trace, text, usage, seconds))


def _traced(trace: Trace, text: str, usage: TokenUsage, seconds: float) -> Trace:
    return replace(trace, prompt_sha256=text_sha256(text), usage=usage, seconds={**trace.seconds, "llm": seconds})


STAGE_RECORD = "run.json"
"""The files in the folder of each stage of `longvid pretrain`."""
ROUTES = (Route.OPTIONS_LOGLIK, Route.LETTER_LOGPROB, Route.GENERATE)


@dataclass(frozen=True, slots=True)
class Sight:
    """The vision encoder: its model string, weights' digest, their source, and frame policy."""

    name: str
    encoder: DualEncoder
    digest: str
    place: str
    policy: FramePolicy


def build_video_to_text(options: VideoToTextOptions) -> VideoToTextModel:
    """Build `--model v2t`: a checkpoint that finds its encoder and language model by name and digest.

    Raises ModelError if a part is missing or differs.
    """
    runtime = runtime_of(options)
    description = read_description(options.weights)
    place = find_encoder(description.encoder, folders_of(options.weights, options.parts), options.weights)
    loaded = load_encoder(place)
    name = loaded.encoder.config.name
    vision = loaded.encoder.config.vision
    policy = frame_policy(options, own_policy(vision.frames), vision.size)
    sight = Sight(name, loaded.encoder, loaded.digest, str(place), policy)
    return over_encoder(sight, options.weights, options, runtime)


def over_encoder(sight: Sight, file: Path, options: ReadingOptions, runtime: Runtime) -> VideoToTextModel:
    """Load a checkpoint on a loaded encoder. Raises ModelError if it was trained on another."""
    description = read_description(file)
    description.encoder.check(sight.digest, "encoder", sight.place, file)
    asking = asking_of(options, sight.policy, description)
    dtype = str(runtime.dtype).removeprefix("torch.")
    lm = open_lm(description.lm, options.lm, folders_of(file, options.parts), file, dtype, str(runtime.device))
    vision = sight.encoder.vision
    connector = load_connector(file, description)
    parameters = sum(p.numel() for part in (vision, connector, lm.model) for p in part.parameters())
    use_float32_head(lm.model)
    model = VideoToText(vision.to(runtime.device, runtime.dtype), connector.to(runtime.device, runtime.dtype), lm.model)
    if runtime.compile:
        vision.compile(dynamic=sight.policy.fps is not None)
    info = ModelInfo(
        name=f"{sight.name}+v2t",
        parameters=parameters,
        weights_sha256=file_sha256(file),
        device=device_name(runtime.device),
        dtype=dtype,
        details={
            "encoder": sight.encoder.config.name,
            "encoder_sha256": sight.digest,
            "llm": lm.name,
            "llm_sha256": lm.digest,
            "mask": asking.mask,
            "beams": asking.beams,
            "length_penalty": asking.length_penalty,
            "caption_prompt": "the task's" if asking.task_prompt else description.config.prompt,
            **policy_facts(sight.policy),
        },
    )
    return VideoToTextModel(model, vision, lm.tokenizer, asking, runtime, info)


def asking_of(options: ReadingOptions, policy: FramePolicy, description: Description) -> Asking:
    """Return the settings of the options, with those of training as defaults."""
    route = options.route or Route.OPTIONS_LOGLIK
    if route not in ROUTES:
        raise ModelError(f"video-to-text does not answer by '{route}': one of {', '.join(ROUTES)}")
    asking = Asking(
        policy=policy,
        route=route,
        mask=description.config.mask if options.mask is None else options.mask,
        beams=options.beams or 1,
        length_penalty=1.0 if options.length_penalty is None else options.length_penalty,
        min_tokens=options.min_tokens or 0,
        max_tokens=options.max_tokens,
        task_prompt=options.caption_prompt == "task",
    )
    asking.decoding(max(asking.min_tokens, 1))  # impossible limits are refused before any work
    if not 0 <= asking.mask < 1:
        raise ModelError(f"mask {asking.mask} is not a share: give a number from 0 up to, not including, 1")
    return asking


def folders_of(file: Path, parts: Path | None) -> list[Path]:
    """List where a checkpoint's parts may be: in the given folder, beside it, or with the recipe's other stages."""
    stages = sorted(file.parent.parent.glob(f"*/{STAGE_RECORD}")) if (file.parent / STAGE_RECORD).is_file() else []
    others = [record.parent for record in stages if record.parent != file.parent]
    return ([] if parts is None else [parts]) + [file.parent, *others]


def untrained(name: str, spec: str, device: str) -> tuple[VideoToText, PreTrainedTokenizerBase]:
    """Build a preset's encoder and a language model with an untrained connector, for measurements."""
    target = find_device(device)
    vision_config = preset(name).vision
    lm = read_named(spec, dtype="float32", device=str(target))
    connector = build_connector(config_for(vision_config, lm.model.config))
    vision = build_encoder(preset(name)).vision
    return VideoToText(vision.to(target), connector.to(target), lm.model).eval(), lm.tokenizer
