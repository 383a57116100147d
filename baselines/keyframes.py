"""Models on a few frames of a clip: those most similar to the question, or the middle one alone.

The one-frame model shows how much of a benchmark needs neither motion nor order. Any model that takes `frames=N` can be
used: an encoder for questions and retrieval, a captioner for captions and summaries. A video encoder gets the frame
repeated to fill a tubelet, a still video.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.models import KeyFrameOptions, OneFrameOptions
from baselines.parts import BuildModel, build_part, parse_spec
from encoders.decode import decode
from encoders.decode_ahead import ReadClip
from encoders.frames import Frames, read_frames
from encoders.sampling import FramePolicy
from encoders.task_model import EncoderModel, policy_facts
from encoders.v2t.task_model import VideoToTextModel
from tasks.digests import text_sha256
from tasks.errors import ModelError
from tasks.model import Embeddings, ModelInfo, OptionRequest, TextRequest
from tasks.registry import build_model
from tasks.routes import Route
from tasks.task import Clip, JsonValue, Trace, busy_seconds

# A halved gap below this counts as zero.
_LEAST_GAP = 1e-3


@dataclass(frozen=True, slots=True)
class KeyFrames:
    """Indices of the chosen frames in order of time, and the gap (seconds) that was kept between them."""

    chosen: tuple[int, ...]
    gap: float


def choose_key_frames(seconds: Sequence[float], scores: NDArray[np.float32], count: int, min_gap: float) -> KeyFrames:
    """Choose at most `count` frames by falling score, each at least `min_gap` seconds from those chosen before it.

    If that gives fewer frames than there could be, the gap is halved until it does not (our choice; SeViLA takes the
    plain top k). The earlier of two frames with equal scores comes first.
    """
    wanted = min(count, len(seconds))
    order = np.argsort(-scores, kind="stable")
    times = np.asarray(seconds, dtype=np.float64)
    gap = min_gap
    while True:
        chosen: list[int] = []
        for index in order:
            if len(chosen) < wanted and all(abs(times[index] - times[other]) >= gap for other in chosen):
                chosen.append(int(index))
        if len(chosen) == wanted:
            return KeyFrames(tuple(sorted(chosen, key=lambda i: (times[i], i))), gap)
        gap = gap / 2 if gap > _LEAST_GAP else 0.0


NO_RETRIEVAL = {
    "VideoTextEncoder": "its frames depend on the query, and each text of a pool would choose others of each video; "
    "take the encoder alone"
}


@dataclass(frozen=True, slots=True)
class SelectionRule:
    """How many frames are chosen from which, and how far apart."""

    scan: FramePolicy
    frames: int
    min_gap: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """A clip's key frames in the shape that the wrapped model wants, and how they were chosen."""

    frames: Frames
    trace: Trace


class KeyFrameReader:
    """Reads the key frames of a clip for a query, in the shape of `wanted`."""

    def __init__(self, selector: EncoderModel, rule: SelectionRule, wanted: FramePolicy) -> None:
        self._selector = selector
        self._rule = rule
        self._wanted = wanted

    def read(self, clip: Clip, query: str) -> Chosen:
        """Return the key frames. Raises VideoError."""
        started = perf_counter()
        scanned = read_frames(clip, self._rule.scan, threads=torch.get_num_threads())
        ready = perf_counter()
        picked, scores = self._pick(scanned, query)
        selected = perf_counter()
        frames = self._shaped(clip, scanned, picked)
        decode = ready - started + perf_counter() - selected
        seconds = {"decode": decode, "wait": decode, "select": selected - ready}
        notes: dict[str, JsonValue] = {
            "frames_scored": len(scanned.seconds),
            "gap_kept": picked.gap,
            "frame_scores": [round(float(scores[i]), 4) for i in picked.chosen],
            "query_sha256": text_sha256(query),
        }
        return Chosen(frames, Trace(seconds=seconds, notes=notes))

    def for_requests(self, requests: Sequence[TextRequest | OptionRequest]) -> list[ReadClip]:
        """Return the key frames of each request's clip; the query is the question or else the whole prompt."""
        chosen = [self.read(request.clip, request.question or request.prompt) for request in requests]
        spent = [busy_seconds(one.trace) for one in chosen]
        return [ReadClip(one.frames, seconds, seconds) for one, seconds in zip(chosen, spent, strict=True)]

    def _pick(self, scanned: Frames, query: str) -> tuple[KeyFrames, NDArray[np.float32]]:
        """Score each frame as a clip of its own against the query."""
        singles = [
            Frames(scanned.pixels[i : i + 1], (second,), scanned.frame_seconds[i : i + 1], 1.0)
            for i, second in enumerate(scanned.seconds)
        ]
        seen = self._selector.embed_frames(singles, [{}] * len(singles)).vectors
        scores = seen @ self._selector.embed_text([query]).vectors[0]
        return choose_key_frames(scanned.seconds, scores, self._rule.frames, self._rule.min_gap), scores

    def _shaped(self, clip: Clip, scanned: Frames, picked: KeyFrames) -> Frames:
        """Return the chosen frames, decoded again if the selector's shape is not the wanted one."""
        chosen = list(picked.chosen)
        seconds = tuple(scanned.seconds[i] for i in chosen)
        if (self._wanted.size, self._wanted.fit) == (self._rule.scan.size, self._rule.scan.fit):
            shown = tuple(scanned.frame_seconds[i] for i in chosen)
            return Frames(scanned.pixels[chosen], seconds, shown, scanned.share_of_clip)
        if clip.path is None:
            raise ModelError(f"{clip.video_id}: the clip names no video file")
        again = decode(clip.path, seconds, self._wanted, torch.get_num_threads())
        return Frames(again.pixels, seconds, again.frame_seconds, scanned.share_of_clip)


class KeyFrameModel:
    """Implements QueryVideoEncoder."""

    route = Route.SIMILARITY
    missing_capabilities = NO_RETRIEVAL

    def __init__(self, encoder: EncoderModel, reader: KeyFrameReader, info: ModelInfo) -> None:
        self.info = info
        self._encoder = encoder
        self._reader = reader

    def embed_video_for(self, clips: Sequence[Clip], queries: Sequence[str]) -> Embeddings:
        """Return unit vectors of clips' key frames for their queries. Raises the first VideoError."""
        chosen = [self._reader.read(clip, query) for clip, query in zip(clips, queries, strict=True)]
        embedded = self._encoder.embed_frames([one.frames for one in chosen], [one.trace.seconds for one in chosen])
        traces = tuple(
            replace(trace, notes={**trace.notes, **one.trace.notes})
            for trace, one in zip(embedded.traces, chosen, strict=True)
        )
        return Embeddings(embedded.vectors, traces)

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        return self._encoder.embed_text(texts)


def build_keyframes(options: KeyFrameOptions, build: BuildModel = build_model) -> KeyFrameModel | VideoToTextModel:
    """Build the selector and the encoder or video-to-text model that it wraps. Raises ModelError."""
    model = build_part(build, options.encoder, object, "the model behind key frames")
    if not isinstance(model, EncoderModel | VideoToTextModel):
        raise ModelError(f"encoder='{options.encoder}' reads no frames; use an encoder or v2t")
    selector = build_part(build, options.selector, EncoderModel, "the selector of key frames")
    own = selector.policy
    scan = FramePolicy(fps=options.fps, cap=options.cap, size=own.size, fit=own.fit)
    reader = KeyFrameReader(selector, SelectionRule(scan, options.frames, options.min_gap), model.policy)
    details = {
        **model.info.details,
        **policy_facts(scan),
        "selector": selector.info.name,
        "selector_weights_sha256": selector.info.weights_sha256,
        "key_frames": options.frames,
        "min_gap": options.min_gap,
        "query": "the question, or the request",
    }
    info = replace(model.info, name=f"keyframes:{model.info.name}", details=details)
    if isinstance(model, VideoToTextModel):
        return model.looking_through(reader.for_requests, info)
    return KeyFrameModel(model, reader, info)


OTHER_POLICIES = ("frames", "fps", "cap", "beyond_cap")


@runtime_checkable
class Renamable(Protocol):
    """A model whose description can be replaced."""

    info: ModelInfo


def build_one_frame(options: OneFrameOptions, build: BuildModel = build_model) -> object:
    """Build the model named by `of`, restricted to the middle frame. Raises ModelError."""
    name, given = parse_spec(options.of)
    clashing = [key for key in OTHER_POLICIES if key in given]
    if clashing:
        raise ModelError(f"one-frame looks at one frame: leave {', '.join(clashing)} out of of='{options.of}'")
    model = build(name, one_frame(given))
    if not isinstance(model, Renamable):
        raise ModelError(f"model '{name}' can't be a one-frame model")
    model.info = replace(model.info, name=f"one-frame:{model.info.name}")
    return model


def one_frame(options: Mapping[str, str]) -> dict[str, str]:
    """Return options that restrict a model to the frame at the clip's mid-point."""
    return {**options, "frames": "1"}
