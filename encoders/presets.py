"""The registered encoders: `imagevit|shortvivit|longvivit|factorized` with `-tiny|b|l`.

Shapes are ViT-B/16 and ViT-L/16 with BERT-medium and BERT-base (paper, section on architecture).
Resolution and projection size are ours: 224 px; 256 and 768 dimensions. `tiny` is ours: it trains
on two CPU cores. The published 77M and 117M of the text towers fit no single vocabulary (about
100k and 41k tokens); with BERT's 30,522 ours have 41M and 109M, the same transformers inside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

from encoders.config import EncoderConfig, TextConfig, VisionConfig
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class Variant:
    """A size: vision and text shapes as (width, depth, heads), image side and shared dimensions."""

    vision: tuple[int, int, int]
    text: tuple[int, int, int]
    size: int
    embed: int
    vocabulary: int = 30522
    context: int = 512


VARIANTS = MappingProxyType(
    {
        "tiny": Variant((128, 4, 4), (128, 2, 4), size=64, embed=128, vocabulary=2048, context=128),
        "b": Variant((768, 12, 12), (512, 8, 8), size=224, embed=256),
        "l": Variant((1024, 24, 16), (768, 12, 12), size=224, embed=768),
    }
)
FAMILIES = ("imagevit", "shortvivit", "longvivit", "factorized")
PRESETS = tuple(f"{family}-{size}" for family in FAMILIES for size in VARIANTS)


def preset(name: str) -> EncoderConfig:
    """The configuration registered as `name`. Raises ModelError for any other name."""
    if name not in PRESETS:
        raise ModelError(f"no encoder preset '{name}'; known are {', '.join(PRESETS)}")
    family, _, size = name.partition("-")
    variant = VARIANTS[size]
    width, depth, heads = variant.vision
    vision = VisionConfig(width=width, depth=depth, heads=heads, mlp=4 * width, size=variant.size)
    text_width, text_depth, text_heads = variant.text
    text = TextConfig(
        width=text_width,
        depth=text_depth,
        heads=text_heads,
        mlp=4 * text_width,
        vocabulary=variant.vocabulary,
        context=variant.context,
        eps=1e-12,
    )
    return EncoderConfig(name, _as_family(vision, family), text, variant.embed)


def _as_family(vision: VisionConfig, family: str) -> VisionConfig:
    if family == "imagevit":
        return replace(vision, attention="frame", patches="image")
    if family == "factorized":
        return replace(vision, attention="factorized")
    return replace(vision, frames=256) if family == "longvivit" else vision
