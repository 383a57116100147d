"""Transfer weights from one stage of the recipe to the next: image → short → long, and image → factorised.

What both encoders have is copied unchanged. The 3D kernel starts as the 2D one repeated over time and divided; temporal
attention as the spatial one, with its gate at zero; a longer table of time positions as the shorter one interpolated.
From an image encoder, patches of another size and TubeViT's tubes start as its resized 2D kernel, and its table of
space positions is resized with them (our choice). All other differences are refused.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from encoders.config import EncoderConfig, VisionConfig
from encoders.dual import DualEncoder, build_encoder
from encoders.vit import extend, image_kernel, reshape_kernel, video_kernels
from encoders.weights import load_strict
from tasks.errors import ModelError

TIME, SPACE = "vision.positions.time", "vision.positions.space"
IMAGE = "vision.image.proj"


def transfer(source: DualEncoder, config: EncoderConfig, *, time_std: float = 0.0, seed: int = 0) -> DualEncoder:
    """Build `config`'s encoder with the weights of `source`, an earlier stage.

    New time positions start at zero, so that a still video embeds exactly like its image; a tiny encoder learns the
    order of events sooner from `time_std` near its positions' scale (our choice). `config.adapt` is applied on top.
    Raises ModelError if the stages don't follow each other.
    """
    if source.config.adapt.method in ("adapters", "lora"):
        raise ModelError(f"'{source.config.name}' has {source.config.adapt.method} in it: merge or drop them first")
    encoder = build_encoder(config, seed=seed)
    old = {name: value.detach() for name, value in source.state_dict().items()}
    if source.config.vision.patches != "image" and config.vision.patches == "image":
        raise ModelError("a video encoder does not turn into a frame-level one: load the image encoder itself")
    from_image = source.config.vision.patches == "image"
    state = _front(old, source.config.vision.patch, config.vision) if from_image else {}
    for name, own in encoder.state_dict().items():
        if name not in state:
            state[name] = _value(name, own, old, config, time_std)
    left = sorted(set(old) - {_unwrapped(name) for name in state})
    if left:
        raise ModelError(f"'{config.name}' has no place for {left[0]} of '{source.config.name}'")
    load_strict(encoder, state, f"'{source.config.name}' as '{config.name}'")
    return encoder.eval()


def _value(name: str, own: Tensor, old: dict[str, Tensor], config: EncoderConfig, time_std: float) -> Tensor:
    plain = _unwrapped(name)
    if name == TIME:
        return _time(own, old.get(TIME), time_std)
    if plain in old:
        return old[plain]
    twin = plain.replace("attn_time", "attn").replace("norm_time", "norm1")
    if twin in old:
        return old[twin]
    if ".adapter." in name or ".lora_" in name or name.endswith(".alpha"):
        return own
    raise ModelError(f"'{config.name}' needs {name}, which the earlier encoder does not have")


def _front(old: dict[str, Tensor], patch: int, vision: VisionConfig) -> dict[str, Tensor]:
    """Make projections and space positions of a video encoder from an image encoder with patches of side `patch`."""
    weight, bias = old[f"{IMAGE}.weight"], old[f"{IMAGE}.bias"]
    front = {f"{IMAGE}.weight": reshape_kernel(weight, patch, image_kernel(vision)), SPACE: _places(old[SPACE], vision)}
    for number, kernel in enumerate(video_kernels(vision)):
        front[f"vision.video.{number}.proj.weight"] = reshape_kernel(weight, patch, kernel)
        front[f"vision.video.{number}.proj.bias"] = bias
    return front


def _places(table: Tensor, vision: VisionConfig) -> Tensor:
    """Interpolate a table of space positions [n·n, D] at the centres of a finer or coarser grid."""
    side = round(len(table) ** 0.5)
    if side == vision.grid:
        return table
    square = table.T.reshape(1, -1, side, side)
    size = (vision.grid, vision.grid)
    resized = functional.interpolate(square, size=size, mode="bilinear", align_corners=False)
    return resized.flatten(2)[0].T.contiguous()


def _unwrapped(name: str) -> str:
    """Return a parameter's name without LoRA's wrapping layer."""
    return name.replace(".base_layer.", ".")


def _time(own: Tensor, old: Tensor | None, std: float) -> Tensor:
    if old is None:
        return torch.zeros_like(own) if std == 0 else own * (std / own.std())
    if len(old) > len(own):
        raise ModelError(f"{len(old)} time positions do not fit into {len(own)}: the next stage must be no shorter")
    return extend(old, len(own))
