"""The encoders as models for the tasks: clips and texts in, unit vectors of one space out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.decode_ahead import FrameSource, Reading
from encoders.device import batches_of_equals, to_device
from encoders.dual import DualEncoder
from encoders.frames import Frames
from encoders.sampling import FramePolicy
from encoders.tokens import TextTokenizer
from tasks.errors import ModelError
from tasks.model import BatchHint, Embeddings, ModelInfo
from tasks.routes import Route
from tasks.task import Clip, JsonValue, Trace

Embed = Callable[[Tensor], Tensor]
REMEMBERED = 1024
"""Clips whose vectors are cached, a few megabytes in all."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The device and settings with which an encoder runs."""

    device: torch.device
    dtype: torch.dtype
    compile: bool = False
    batch: int = 8
    workers: int = 2

    @property
    def batch_hint(self) -> BatchHint:
        """Return the batch size that keeps the device busy.

        On a CPU one clip is enough, and a resumed run gives the same bits.
        """
        return BatchHint(self.batch if self.device.type == "cuda" else 1)

    def rows(self, policy: FramePolicy) -> int | None:
        """Return the fixed batch size if all batches need one shape, as CUDA graphs do; None if any will do."""
        return self.batch if self.compile and self.device.type == "cuda" and policy.fps is None else None

    @property
    def reading(self) -> Reading:
        """How frames are read for the encoder."""
        return Reading(self.workers, self.batch, torch.get_num_threads())


class EncoderModel:
    """Implements VideoTextEncoder; answers multiple choice by similarity."""

    route = Route.SIMILARITY

    def __init__(
        self, encoder: DualEncoder, tokenizer: TextTokenizer, policy: FramePolicy, runtime: Runtime, info: ModelInfo
    ) -> None:
        self.info = info
        self.policy = policy
        self.runtime = runtime
        self._encoder = encoder.to(runtime.device, runtime.dtype).eval()
        self._tokenizer = tokenizer
        self.batch_hint = runtime.batch_hint
        self.frames = FrameSource(policy, runtime.reading)
        self._seen: Mapping[Clip, tuple[NDArray[np.float32], Trace]] = {}
        self._tubelet = encoder.config.vision.tubelet if encoder.config.vision.patches != "image" else 1
        embed: Embed = self._encoder.embed_video
        self._embed = compiled(embed, policy, runtime) if runtime.compile else embed
        self._rows = runtime.rows(policy)

    def looking_ahead(self, clips: Sequence[Clip]) -> AbstractContextManager[None]:
        """Decode `clips` while earlier ones are encoded."""
        return self.frames.ahead(clips)

    def forget(self) -> None:
        """Drop the cached vectors, so that the next measurement pays for every clip."""
        self._seen = {}

    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        """Return unit vectors of clips. Raises the first VideoError: the caller decides what a bad video means.

        Recent clips are cached, because questions about a video need not follow each other.
        """
        new = [clip for clip in dict.fromkeys(clips) if clip not in self._seen]
        read = self.frames.read(new)
        embedded = self.embed_frames([one.frames for one in read], [one.seconds for one in read])
        fresh = dict(zip(new, zip(embedded.vectors, embedded.traces, strict=True), strict=True))
        known = {**self._seen, **fresh}
        earlier = [(clip, seen) for clip, seen in self._seen.items() if clip not in clips]
        self._seen = dict([*earlier[-REMEMBERED:], *((clip, known[clip]) for clip in clips)])
        # The cost of encoding a clip is charged to its first question only.
        traces = tuple(
            known[clip][1] if clip in fresh and clip not in clips[:at] else remembered(known[clip][1])
            for at, clip in enumerate(clips)
        )
        return Embeddings(np.stack([known[clip][0] for clip in clips]), traces)

    def embed_frames(self, decoded: Sequence[Frames], reading_seconds: Sequence[Mapping[str, float]]) -> Embeddings:
        """Return unit vectors of frames already read, in batches of equal frame counts; order is kept.

        `reading_seconds` gives the seconds of reading for their traces.
        """
        vectors = np.empty((len(decoded), self._encoder.config.embed), dtype=np.float32)
        traces: list[Trace] = [Trace()] * len(decoded)
        padded = [pad_to_multiple(frames.pixels, self._tubelet) for frames in decoded]
        for chunk in batches_of_equals([len(pixels) for pixels in padded], self.runtime.batch):
            began = perf_counter()
            vectors[chunk] = self._encode(np.stack([padded[i] for i in chunk]))
            spent = (perf_counter() - began) / len(chunk)
            for i in chunk:
                traces[i] = frame_trace(decoded[i], len(padded[i]), {**reading_seconds[i], "encode": spent})
        return Embeddings(vectors, tuple(traces))

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """Return unit vectors of texts; texts longer than the tower's context are pooled from chunks, with a note."""
        began = perf_counter()
        batch = self._tokenizer.batch(texts, self._encoder.config.text.context)
        vectors = self._encoder.embed_text(batch.to(self.runtime.device)).float().cpu().numpy()
        spent = {"text": (perf_counter() - began) / max(len(texts), 1)}
        traces = tuple(Trace(seconds=spent, notes={"text_chunks": n} if n > 1 else {}) for n in batch.chunks)
        return Embeddings(vectors, traces)

    @torch.inference_mode()
    def _encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [B, T, H, W, 3] → float32 [B, E]."""
        batch = to_device(filled(pixels, self._rows), self.runtime.device)
        vectors: NDArray[np.float32] = self._embed(batch)[: len(pixels)].float().cpu().numpy()
        return vectors


def compiled(embed: Embed, policy: FramePolicy, runtime: Runtime) -> Embed:
    """Compile `embed`: replayed as a CUDA graph if every batch has one shape, else one graph for all lengths."""
    if runtime.rows(policy) is not None:
        return torch.compile(embed, mode="reduce-overhead", dynamic=False)
    return torch.compile(embed, dynamic=policy.fps is not None)


def filled(pixels: NDArray[np.uint8], rows: int | None) -> NDArray[np.uint8]:
    """Repeat a batch's last video until it has `rows` videos; unchanged for None."""
    missing = 0 if rows is None else rows - len(pixels)
    return np.concatenate([pixels, np.repeat(pixels[-1:], missing, axis=0)]) if missing > 0 else pixels


def remembered(trace: Trace) -> Trace:
    """Return the trace of a cached clip, which takes no time."""
    return replace(trace, seconds={}, notes={**trace.notes, "video": "seen for the item before"})


def pad_to_multiple(pixels: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    """Repeat the last frame until the count divides into tubelets; at most `multiple - 1` times."""
    missing = -len(pixels) % multiple
    return pixels if missing == 0 else np.concatenate([pixels, np.repeat(pixels[-1:], missing, axis=0)])


def frame_trace(frames: Frames, fed: int, seconds: Mapping[str, float]) -> Trace:
    """Return what a record keeps of one clip's embedding."""
    repeated = fed - len(frames.seconds)
    notes: dict[str, JsonValue] = {"last_frame_repeated": repeated} if repeated else {}
    return Trace(seconds=seconds, frames=frames.seen, notes=notes)


def policy_facts(policy: FramePolicy) -> dict[str, JsonValue]:
    """Return a frame policy as a record keeps it."""
    return {f"frames_{name}": value for name, value in asdict(policy).items() if value is not None}


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalise a vector to length 1. Raises ModelError for a zero or non-finite vector."""
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        raise ModelError("the model gave a vector that is zero or not finite")
    return (vector / length).astype(np.float32)


def word_chunks(text: str, most: int, length: Callable[[str], int], model: str) -> list[str]:
    """Split a text whose `length` in tokens exceeds `most` into consecutive pieces of whole words.

    Raises ModelError, naming the model, if a single word is longer.
    """
    whole = length(text)
    if whole <= most:
        return [text]
    words = text.split()
    count = -(-whole // most)
    while True:
        size = max(1, -(-len(words) // count))
        parts = [" ".join(words[start : start + size]) for start in range(0, len(words), size)]
        longest = max(map(length, parts), default=whole)
        if longest <= most:
            return parts
        if size == 1:
            raise ModelError(f"{model}: a word of {longest} tokens exceeds its {most}")
        count += 1
