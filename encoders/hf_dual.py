"""Dual encoders of transformers (`-m hf-dual`): CLIP, SigLIP 2, AltCLIP by frames averaged, X-CLIP by video.

Any model with `get_text_features` and `get_image_features` or `get_video_features` can be used, with its own processor:
no code of a model's own is run.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoConfig, AutoModel, AutoProcessor

from encoders.causal_lm.load import (
    check_json,
    check_weights,
    model_folder,
    quiet,
    weight_files,
    weights_sha256,
    without_code,
)
from encoders.config import foreign_file
from encoders.decode_ahead import FrameSource, Reading
from encoders.device import device_name, find_device
from encoders.frames import Frames
from encoders.models import HfDualOptions, timed_policy
from encoders.sampling import FramePolicy
from encoders.task_model import frame_trace, policy_facts, unit, word_chunks
from tasks.errors import ModelError
from tasks.model import BatchHint, Embeddings, ModelInfo
from tasks.routes import Route
from tasks.task import Clip, JsonValue, Trace

IMAGE, VIDEO, TEXT = "get_image_features", "get_video_features", "get_text_features"
FRAMES = 16
"""Our choice, for models without a fixed number of frames."""
PIXELS = 448 * 448
"""Pixels of a decoded frame: more than any of these models' processors keeps."""
UNBOUNDED = 1 << 20
PROBE = "a pan"
MISSING_CAPABILITIES = {
    "ChoiceScorer": "a dual encoder gives vectors and no likelihoods of words",
    "TextGenerator": "a dual encoder writes nothing",
}


class HfDual:
    """Implements VideoTextEncoder; answers multiple choice by similarity."""

    route = Route.SIMILARITY
    missing_capabilities = MISSING_CAPABILITIES

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - untyped library
        processor: Any,  # noqa: ANN401 - untyped library
        policy: FramePolicy,
        info: ModelInfo,
        options: HfDualOptions,
    ) -> None:
        self.info = info
        self.policy = policy
        self.batch_hint = BatchHint(options.batch if model.device.type == "cuda" else 1)
        self.frames = FrameSource(policy, Reading(options.workers, options.batch, torch.get_num_threads()))
        self._model = model
        self._tokenizer = processor.tokenizer
        self._pictures = processor.image_processor
        self._as_video = info.details["read_as"] == "video"
        self._batch = options.batch
        self._context = text_context(model, processor.tokenizer)
        self._padded = False
        self._padded = self._padding_is_read()

    def looking_ahead(self, clips: Sequence[Clip]) -> AbstractContextManager[None]:
        """Decode `clips` while earlier ones are encoded."""
        return self.frames.ahead(clips)

    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        """Return unit vectors of clips. Raises the first VideoError."""
        vectors, traces = [], []
        for read in self.frames.read(clips):
            began = perf_counter()
            vectors.append(self._seen(read.frames))
            spent = {**read.seconds, "encode": perf_counter() - began}
            traces.append(frame_trace(read.frames, len(read.frames.seconds), spent))
        return Embeddings(np.stack(vectors), tuple(traces))

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """Return unit vectors of texts; texts longer than the tower's context are pooled from chunks, with a note."""
        began = perf_counter()
        chunks = [self._chunks(text) for text in texts]
        vectors = [unit(np.mean([self._read(chunk) for chunk in parts], axis=0)) for parts in chunks]
        spent = {"text": (perf_counter() - began) / max(len(texts), 1)}
        traces = tuple(Trace(seconds=spent, notes={"text_chunks": len(p)} if len(p) > 1 else {}) for p in chunks)
        return Embeddings(np.stack(vectors), traces)

    @torch.inference_mode()
    def _seen(self, frames: Frames) -> NDArray[np.float32]:
        """Return a clip's vector: of its video, or the mean of its frames' unit vectors."""
        if self._as_video:
            pixels = self._prepared(frames.pixels)
            found = features(self._model.get_video_features(pixels[None] if pixels.ndim == 4 else pixels))
            return unit(found[0])
        rows = []
        for start in range(0, len(frames.pixels), self._batch):
            given = self._inputs(frames.pixels[start : start + self._batch])
            rows.append(normalize(features_tensor(self._model.get_image_features(**given)).float(), dim=-1))
        return unit(torch.cat(rows).mean(0).cpu().numpy())

    def _inputs(self, pixels: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Return the image tower's inputs, made by the model's own processor."""
        with foreign_file(f"the processor of '{self.info.name}' refuses its frames"):
            found = dict(self._pictures(list(pixels), return_tensors="pt"))
        wanted = inspect.signature(self._model.get_image_features).parameters
        return {name: self._placed(value) for name, value in found.items() if name in wanted}

    def _prepared(self, pixels: NDArray[np.uint8]) -> Tensor:
        with foreign_file(f"the processor of '{self.info.name}' refuses its frames"):
            found = dict(self._pictures(list(pixels), return_tensors="pt"))
        name = next(name for name in ("pixel_values_videos", "pixel_values") if name in found)
        return self._placed(found[name])

    def _placed(self, value: Tensor) -> Tensor:
        moved = value.to(self._model.device)
        return moved.to(self._model.dtype) if moved.is_floating_point() else moved

    def _chunks(self, text: str) -> list[str]:
        """Split a text that is longer than the tower's context into consecutive pieces of whole words."""
        return word_chunks(text, self._context, self._length, f"'{self.info.name}'")

    def _length(self, text: str) -> int:
        return len(self._tokenizer(text, truncation=False, verbose=False)["input_ids"])

    def _padding_is_read(self) -> bool:
        """Whether a text's vector depends on its padding: such towers (SigLIP's) were trained on fully padded texts."""
        bare = self._read(PROBE)
        self._padded = True
        return not np.allclose(bare, self._read(PROBE), atol=1e-2)

    @torch.inference_mode()
    def _read(self, text: str) -> NDArray[np.float32]:
        padding = {"padding": "max_length", "max_length": self._context} if self._padded else {}
        given = self._tokenizer([text], return_tensors="pt", **padding)
        wanted = inspect.signature(self._model.get_text_features).parameters
        placed = {name: value.to(self._model.device) for name, value in given.items() if name in wanted}
        return unit(features(self._model.get_text_features(**placed))[0])


def features_tensor(found: Any) -> Tensor:  # noqa: ANN401 - a tensor, or an output that holds one
    """Return the projected vectors [N, D] in a model's output."""
    tensor: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return tensor


def features(found: Any) -> NDArray[np.float32]:  # noqa: ANN401 - as above
    """Return the projected vectors as an array."""
    array: NDArray[np.float32] = features_tensor(found).float().cpu().numpy()
    return array


def text_context(model: Any, tokenizer: Any) -> int:  # noqa: ANN401 - untyped library
    """Return the text tower's context length in tokens."""
    config = getattr(model.config, "text_config", model.config)
    rows = getattr(config, "max_position_embeddings", None) or UNBOUNDED
    return int(min(rows, tokenizer.model_max_length or UNBOUNDED))


def build_hf_dual(options: HfDualOptions) -> HfDual:
    """Read a folder or a hub name. Raises ModelError if it is not such a model, or can't be read."""
    folder, name = model_folder(options.name, f"hf-dual name={options.name}")
    files = weight_files(folder)
    check_json(folder)
    target = find_device(options.device)
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(options.dtype)
    dtype = dtype or (torch.bfloat16 if target.type == "cuda" else torch.float32)
    with quiet(), without_code(folder, "model"), foreign_file(f"can't load model folder {folder}"):
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
        loaded: Any = AutoModel.from_pretrained(
            str(folder),
            config=config,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            trust_remote_code=False,
        )
        processor: Any = AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]  # untyped library
            str(folder), trust_remote_code=False
        )
    model, report = loaded
    check_weights(folder, model, report)
    if not hasattr(model, TEXT) or not (hasattr(model, IMAGE) or hasattr(model, VIDEO)):
        raise ModelError(f"'{name}' is not a dual encoder: it has no {TEXT}, or neither {IMAGE} nor {VIDEO}")
    read_as = read_as_of(model, options, name)
    own = getattr(getattr(model.config, "vision_config", None), "num_frames", None) if read_as == "video" else None
    shape = FramePolicy(count=1, size=None, fit="keep", pixels=PIXELS)
    policy = timed_policy(options, FramePolicy(count=own or FRAMES), shape)
    if own and policy.count not in (None, own):
        raise ModelError(f"'{name}' reads videos of {own} frames: leave frames= out, or set read_as=frames")
    details: dict[str, JsonValue] = {
        "engine": f"transformers {transformers.__version__}",
        "read_as": read_as,
        **policy_facts(policy),
    }
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise ModelError(f"{folder} has no processor of pictures and texts")
    model.eval().to(target)
    info = ModelInfo(
        name=name,
        parameters=model.num_parameters(),
        weights_sha256=weights_sha256(files),
        device=device_name(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        details=details,
    )
    return HfDual(model, processor, policy, info, options)


def read_as_of(model: Any, options: HfDualOptions, name: str) -> str:  # noqa: ANN401 - untyped library
    """Choose whether clips are read as videos or as frames. Raises ModelError if the model can't."""
    able = [form for form, method in (("video", VIDEO), ("frames", IMAGE)) if hasattr(model, method)]
    if options.read_as is None:
        return able[0]
    if options.read_as not in able:
        raise ModelError(f"'{name}' can't be read as {options.read_as}: read_as={able[0]}")
    return options.read_as
