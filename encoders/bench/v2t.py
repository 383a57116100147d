"""What a long video costs video-to-text: before the pool, where it grows, and after it, where it must not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from encoders.bench.clock import median_seconds
from encoders.bench.live import peak_live_bytes
from encoders.kernels import token_count
from encoders.masking import kept_count, sample_keep_each
from encoders.v2t.generate import Decoding, generate
from encoders.v2t.model import VideoToText
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class VideoToTextCost:
    """One video of `frames` frames with the share `mask` dropped: `tokens` in the tower, `pooled` after the mean.

    Seconds and peak bytes of tensors of looking (tower and mean) and of answering (resampler, the
    keys and values of every layer, a caption of fixed length). On a CPU seconds are the processor's,
    which other work on the machine does not stretch.
    """

    frames: int
    mask: float
    tokens: int
    pooled: int
    look_seconds: float
    look_bytes: int
    answer_seconds: float
    answer_bytes: int


def bench_video_to_text(
    model: VideoToText,
    tokenizer: PreTrainedTokenizerBase,
    *,
    frames: Sequence[int] = (16, 128, 256),
    masks: Sequence[float] = (0.0, 0.3),
    words: int = 16,
    repeats: int = 3,
) -> Iterator[VideoToTextCost]:
    """A row for each frame count and mask. Raises ModelError for a model without a tower."""
    if model.vision is None:
        raise ModelError("there is no tower to measure")
    config, device = model.vision.config, model.lm.device
    decoding = Decoding(words, words)
    for count in frames:
        shape = (count, config.size, config.size)
        pixels = torch.randint(0, 256, (1, *shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        pixels = pixels.to(device)
        for mask in masks:
            keep = sample_keep_each(config, shape, mask, [0])
            keep = None if keep is None else keep.to(device)

            def look(keep: torch.Tensor | None = keep, pixels: torch.Tensor = pixels) -> torch.Tensor:
                return model.watch(pixels, keep)

            pooled = look()

            @torch.inference_mode()
            def answer(pooled: torch.Tensor = pooled) -> object:
                return generate(model, tokenizer, model.connector(pooled), [""], decoding)

            look_seconds, look_bytes = _cost(look, device, repeats)
            answer_seconds, answer_bytes = _cost(answer, device, repeats)
            yield VideoToTextCost(
                frames=count,
                mask=mask,
                tokens=kept_count(token_count(config, *shape), mask),
                pooled=pooled.shape[1],
                look_seconds=look_seconds,
                look_bytes=look_bytes,
                answer_seconds=answer_seconds,
                answer_bytes=answer_bytes,
            )


def _cost(call: Callable[[], object], device: torch.device, repeats: int) -> tuple[float, int]:
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    return median_seconds(call, device, repeats, clock), peak_live_bytes(call)
