"""The shape of what trains between a video encoder and a language model, as data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from transformers import PretrainedConfig

from encoders.config import Bounds, Depth, Heads, Places, Share, VisionConfig, Width, check_bounds, read_dataclass
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class VideoToTextConfig:
    """Resampler and cross-attention between a tower of `vision_width` and a language model of `lm_width`.

    The paper names the parts and leaves their sizes open, so all of these are ours: `latents`
    vectors of `width` come out of `depth` resampler layers, and each of the `lm_layers` layers
    looks at them with `cross_heads` heads. `gated` multiplies what a layer sees by a tanh gate that
    starts at zero, so that training begins at the language model itself.

    `mask` is the share of input tokens dropped, and `prompt` the words before every caption, both
    at training and, unless told otherwise, at inference.
    """

    vision_width: Width
    lm_width: Width
    lm_layers: Depth
    width: Width
    heads: Heads
    cross_heads: Heads
    depth: Depth = 6
    latents: Places = 64
    mlp_ratio: Annotated[int, Bounds(1, 64)] = 4
    gated: bool = True
    mask: Share = 0.0
    prompt: str = ""

    def __post_init__(self) -> None:
        """Refuse shapes that can't be built. Raises ModelError."""
        check_bounds(self, "video-to-text config")
        for what, width, heads in (("width", self.width, self.heads), ("lm_width", self.lm_width, self.cross_heads)):
            if width % heads:
                raise ModelError(f"video-to-text config: {what} {width} is not a multiple of {heads} heads")
        if self.mask == 1:
            raise ModelError(f"video-to-text config: mask {self.mask} is not a share below 1")

    @classmethod
    def from_dict(cls, data: object, source: str) -> VideoToTextConfig:
        """Read `dataclasses.asdict`'s dictionary. Raises ModelError naming the key at fault."""
        return read_dataclass(cls, data, source)


def config_for(vision: VisionConfig, lm: PretrainedConfig, **changes: object) -> VideoToTextConfig:
    """A config whose widths fit the two frozen models; `changes` are fields to set otherwise.

    The resampler is as wide as the tower's tokens, heads are 64 wide where that divides (ours).
    """
    text = lm.get_text_config()
    base = VideoToTextConfig(
        vision_width=vision.width,
        lm_width=int(text.hidden_size),
        lm_layers=int(text.num_hidden_layers),
        width=vision.width,
        heads=_heads(vision.width, vision.heads),
        cross_heads=_heads(int(text.hidden_size), int(text.num_attention_heads)),
    )
    return VideoToTextConfig.from_dict({**dataclasses.asdict(base), **changes}, "video-to-text config")


def _heads(width: int, own: int) -> int:
    return width // 64 if width % 64 == 0 else own
