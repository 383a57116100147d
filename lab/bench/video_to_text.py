"""Cost of long videos in video-to-text: before pooling, where it grows, and after it, where it must not."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedTokenizerBase

from encoders.v2t.model import VideoToText
from encoders.v2t.speak import Decoding, generate
from encoders.vit import kept_count, sample_keep_each, token_count
from lab.bench.encode import median_seconds
from tasks.errors import ModelError


def peak_live_bytes(call: Callable[[], object]) -> int:
    """Return the peak bytes of storages created during `call` and alive at once, including its result.

    Memory used inside kernels is not seen. Works on the meta device.
    """
    with _Live() as live:
        result = call()
    del result
    peak: int = live.peak
    return peak


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]  # untyped library
    """Tracks every storage that an operation creates until it is freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - torch's operators have no public type
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        given = {_key(tensor) for tensor in _tensors((args, kwargs))}
        out = func(*args, **(kwargs or {}))
        for tensor in _tensors(out):
            if _key(tensor) not in given:
                self._follow(tensor)
        self.peak = max(self.peak, self.now)
        return out

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = _key(tensor), storage.nbytes()
        if key in self._known:
            return

        def freed(_reference: object) -> None:
            self.now -= size
            self._known.pop(key, None)

        self._known[key] = weakref.ref(storage, freed)
        self.now += size


def _tensors(tree: object) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _key(tensor: Tensor) -> int:
    identity: int = tensor.untyped_storage()._cdata  # noqa: SLF001 - it outlives Python's wrappers
    return identity


@dataclass(frozen=True, slots=True)
class VideoToTextCost:
    """One video of `frames` frames with the share `mask` dropped: `tokens` in the tower, `pooled` after the mean.

    Seconds and peak tensor bytes are given for encoding (tower and mean) and for answering (resampler, keys and values
    of every layer, a caption of fixed length). On a CPU seconds are processor seconds, which other load on the machine
    does not stretch.
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
    """Measure a row for each frame count and mask. Raises ModelError for a model without a tower."""
    if model.vision is None:
        raise ModelError("the model has no vision tower to measure")
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
