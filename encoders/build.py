"""Build encoder models from options: presets with our weights, and open_clip models."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import torch

from encoders.config import EncoderConfig, preset
from encoders.device import device_name, find_device, has_fast_bfloat16
from encoders.dual import DualEncoder, build_encoder
from encoders.from_open_clip import Inflation, from_open_clip
from encoders.models import (
    SHORT,
    Dtype,
    OpenClipOptions,
    PresetOptions,
    VideoToTextOptions,
    frame_policy,
    own_policy,
    refuse_reading,
    weights_path,
)
from encoders.sampling import FramePolicy
from encoders.shipped import weights_file
from encoders.task_model import EncoderModel, Runtime, policy_facts
from encoders.tokens import TextTokenizer, byte_tokenizer
from encoders.weights import load_encoder
from tasks.errors import ModelError
from tasks.model import ModelInfo

if TYPE_CHECKING:
    from encoders.v2t.task_model import VideoToTextModel


def build_preset(name: str, options: PresetOptions) -> EncoderModel | VideoToTextModel:
    """Build the named preset with its weights, and video-to-text on top if asked for.

    Raises ModelError if a file holds another encoder, or was trained on another.
    """
    config = preset(name)
    path = weights_path(name, options)
    runtime = runtime_of(options)
    if path is None:
        encoder, tokenizer = build_encoder(config, seed=options.seed), byte_tokenizer()
        digest = state_digest(encoder)
    else:
        loaded = load_encoder(path)
        encoder, tokenizer, digest = loaded.encoder, loaded.tokenizer, loaded.digest
        check_family(encoder.config, config, str(path))
    policy = frame_policy(options, own_policy(encoder.config.vision.frames), encoder.config.vision.size)
    return finish(name, encoder, tokenizer, digest, policy, options, runtime)


def build_open_clip(options: OpenClipOptions) -> EncoderModel | VideoToTextModel:
    """Build any open_clip ViT, per frame or inflated. Hub names download on first use."""
    runtime = runtime_of(options)
    encoder, tokenizer = from_open_clip(options.name, options.pretrained, Inflation(options.attention))
    policy = frame_policy(options, SHORT, encoder.config.vision.size)
    name = f"openclip:{options.name}"
    return finish(name, encoder, tokenizer, state_digest(encoder), policy, options, runtime)


def finish(
    name: str,
    encoder: DualEncoder,
    tokenizer: TextTokenizer,
    digest: str,
    policy: FramePolicy,
    options: PresetOptions | OpenClipOptions,
    runtime: Runtime,
) -> EncoderModel | VideoToTextModel:
    """Wrap the encoder as a model of its own or as the vision part of a video-to-text model."""
    if options.v2t is None:
        refuse_reading(options)
        return EncoderModel(encoder, tokenizer, policy, runtime, model_info(name, encoder, digest, policy, runtime))
    from encoders.v2t.task_model import Sight, over_encoder

    file = weights_file(options.v2t, f"{name}-v2t")
    return over_encoder(Sight(name, encoder, digest, name, policy), file, options, runtime)


def model_info(name: str, encoder: DualEncoder, digest: str, policy: FramePolicy, runtime: Runtime) -> ModelInfo:
    """Return what a record keeps of an encoder, its frame policy included."""
    return ModelInfo(
        name=name,
        parameters=sum(p.numel() for p in encoder.parameters()),
        weights_sha256=digest,
        device=device_name(runtime.device),
        dtype=str(runtime.dtype).removeprefix("torch."),
        details={"encoder": encoder.config.name, **policy_facts(policy)},
    )


def check_family(found: EncoderConfig, wanted: EncoderConfig, source: str) -> None:
    """Raise ModelError naming the fields in which a file's vision tower differs from the preset's.

    The number of time positions may differ: they are interpolated to any number of frames.
    """
    free = {"frames", "size"}
    differing = [
        f"{f.name} {getattr(found.vision, f.name)} instead of {getattr(wanted.vision, f.name)}"
        for f in dataclasses.fields(wanted.vision)
        if f.name not in free and getattr(found.vision, f.name) != getattr(wanted.vision, f.name)
    ]
    if differing:
        raise ModelError(f"{source} holds '{found.name}', not {wanted.name}: {', '.join(differing[:4])}")


def runtime_of(options: PresetOptions | OpenClipOptions | VideoToTextOptions) -> Runtime:
    """Resolve device and dtype. Raises ModelError for a missing device."""
    device = find_device(options.device)
    if options.batch < 1 or options.workers < 1:
        raise ModelError("batch and workers must be at least 1")
    return Runtime(device, dtype_of(options.dtype, device), options.compile, options.batch, options.workers)


def dtype_of(name: Dtype, device: torch.device) -> torch.dtype:
    """Return the dtype; `auto` is bfloat16 on GPUs and on CPUs with bfloat16 instructions, else float32."""
    if name == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}[name]


def state_digest(encoder: torch.nn.Module) -> str:
    """Return the SHA-256 of names and values: the same for equal weights from any source."""
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
