"""The encoders as models for the tasks: clips and texts in, unit vectors of one space out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.clip_batches import batches_of_equals, read_clips, to_device
from encoders.dual import DualEncoder
from encoders.frames import Frames
from encoders.sampling import FramePolicy
from encoders.tokens import TextTokenizer
from tasks.model import Embeddings, ModelInfo
from tasks.routes import Route
from tasks.task import Clip, JsonValue, Trace


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where and how an encoder computes."""

    device: torch.device
    dtype: torch.dtype
    compile: bool = False
    batch: int = 8
    workers: int = 2


class EncoderModel:
    """Offers VideoTextEncoder; answers multiple choice by similarity."""

    route = Route.SIMILARITY

    def __init__(
        self, encoder: DualEncoder, tokenizer: TextTokenizer, policy: FramePolicy, runtime: Runtime, info: ModelInfo
    ) -> None:
        self.info = info
        self.policy = policy
        self.runtime = runtime
        self._encoder = encoder.to(runtime.device, runtime.dtype).eval()
        self._tokenizer = tokenizer
        self._last: tuple[Clip, Embeddings] | None = None
        self._tubelet = encoder.config.vision.tubelet if encoder.config.vision.patches != "image" else 1
        embed: Callable[[Tensor], Tensor] = self._encoder.embed_video
        # Frame counts vary with the clip under an FPS policy: one graph for all of them.
        self._embed = torch.compile(embed, dynamic=policy.fps is not None) if runtime.compile else embed

    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        """Unit vectors of clips. Raises the first clip's VideoError: the caller decides what a bad video means.

        A clip alone that was also the last one is not looked at again: questions about a video follow each other.
        """
        if self._last is not None and list(clips) == [self._last[0]]:
            return self._last[1]
        read = read_clips(clips, self.policy, workers=self.runtime.workers, ahead=self.runtime.batch)
        seen = self.embed_frames([frames for frames, _ in read], [seconds for _, seconds in read])
        again = tuple(
            replace(t, seconds={}, notes={**t.notes, "video": "seen for the item before"}) for t in seen.traces
        )
        self._last = (clips[0], Embeddings(seen.vectors, again)) if len(clips) == 1 else None
        return seen

    def embed_frames(self, decoded: Sequence[Frames], decode_seconds: Sequence[float]) -> Embeddings:
        """Unit vectors of frames already read, in batches of equal frame counts; order is kept."""
        vectors = np.empty((len(decoded), self._encoder.config.embed), dtype=np.float32)
        traces: list[Trace] = [Trace()] * len(decoded)
        padded = [pad_to_multiple(frames.pixels, self._tubelet) for frames in decoded]
        for chunk in batches_of_equals([len(pixels) for pixels in padded], self.runtime.batch):
            began = perf_counter()
            vectors[chunk] = self._encode(np.stack([padded[i] for i in chunk]))
            spent = (perf_counter() - began) / len(chunk)
            for i in chunk:
                traces[i] = frame_trace(decoded[i], len(padded[i]), decode_seconds[i], spent)
        return Embeddings(vectors, tuple(traces))

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """Unit vectors of texts; longer texts than the tower's context are pooled from chunks, and say so."""
        batch = self._tokenizer.batch(texts, self._encoder.config.text.context)
        vectors = self._encoder.embed_text(batch.to(self.runtime.device)).float().cpu().numpy()
        traces = tuple(Trace(notes={"text_chunks": chunks} if chunks > 1 else {}) for chunks in batch.chunks)
        return Embeddings(vectors, traces)

    @torch.inference_mode()
    def _encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [B, T, H, W, 3] → float32 [B, E]."""
        batch = to_device(pixels, self.runtime.device)
        vectors: NDArray[np.float32] = self._embed(batch).float().cpu().numpy()
        return vectors


def remembered(seen: Embeddings) -> Embeddings:
    """The same vectors once more, which takes no time."""
    note = {"video": "seen for the item before"}
    return Embeddings(seen.vectors, tuple(replace(t, seconds={}, notes={**t.notes, **note}) for t in seen.traces))


def pad_to_multiple(pixels: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    """Repeat the last frame until the count divides into tubelets; at most `multiple - 1` times."""
    missing = -len(pixels) % multiple
    return pixels if missing == 0 else np.concatenate([pixels, np.repeat(pixels[-1:], missing, axis=0)])


def frame_trace(frames: Frames, fed: int, decode: float, encode: float) -> Trace:
    """What a record keeps of one clip's embedding."""
    repeated = fed - len(frames.seconds)
    notes: dict[str, JsonValue] = {"last_frame_repeated": repeated} if repeated else {}
    return Trace(seconds={"decode": decode, "encode": encode}, frames=frames.seen, notes=notes)


def policy_facts(policy: FramePolicy) -> dict[str, JsonValue]:
    """A frame policy as a record keeps it."""
    return {f"frames_{name}": value for name, value in asdict(policy).items() if value is not None}
