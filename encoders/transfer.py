"""From one stage of the recipe to the next: image → short → long, and image → factorised.

What both encoders have is copied as it is. The 3D kernel starts as the 2D one repeated over time
and divided; temporal attention as the spatial one, its gate shut; a longer table of time positions
as the shorter one stretched. Everything else that differs is refused.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.config import EncoderConfig
from encoders.dual import DualEncoder, build_encoder
from encoders.patchify import inflate
from encoders.positions import extend
from encoders.weights import load_strict
from tasks.errors import ModelError

TIME = "vision.positions.time"


def transfer(source: DualEncoder, config: EncoderConfig, *, time_std: float = 0.0, seed: int = 0) -> DualEncoder:
    """Build `config`'s encoder with the weights of `source`, an earlier stage.

    New time positions start at zero, so that a still video embeds exactly like its image; a tiny
    encoder learns the order of events sooner from `time_std` near its positions' scale (ours).
    `config.adapt` is applied on top. Raises ModelError when the stages don't follow on each other.
    """
    if source.config.adapt.method in ("adapters", "lora"):
        raise ModelError(f"'{source.config.name}' has {source.config.adapt.method} in it: merge or drop them first")
    encoder = build_encoder(config, seed=seed)
    old = {name: value.detach() for name, value in source.state_dict().items()}
    if source.config.vision.patches != "image" and config.vision.patches == "image":
        raise ModelError("a video encoder does not turn into a frame-level one: load the image encoder itself")
    state: dict[str, Tensor] = {}
    for name, own in encoder.state_dict().items():
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
    if name.startswith("vision.video.0.proj.") and config.vision.patches == "tubelet":
        flat = old[name.replace("video.0", "image")]
        return inflate(flat, config.vision.tubelet) if flat.ndim == 2 else flat
    twin = plain.replace("attn_time", "attn").replace("norm_time", "norm1")
    if twin in old:
        return old[twin]
    if ".adapter." in name or ".lora_" in name or name.endswith(".alpha"):
        return own
    raise ModelError(f"'{config.name}' needs {name}, which the earlier encoder does not have")


def _unwrapped(name: str) -> str:
    """A parameter's name without the layer that LoRA puts around it."""
    return name.replace(".base_layer.", ".")


def _time(own: Tensor, old: Tensor | None, std: float) -> Tensor:
    if old is None:
        return torch.zeros_like(own) if std == 0 else own * (std / own.std())
    if len(old) > len(own):
        raise ModelError(f"{len(old)} time positions do not fit into {len(own)}: the next stage must be no shorter")
    return extend(old, len(own))
