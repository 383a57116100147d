"""Choose the trainable parameters: freezing as data, and the small modules that adaptation adds.

MLP adapters after every feed-forward block, LoRA (peft's) in self-attention and feed-forward,
temporal attention only, or the last layers; with the 3D patch projection (paper, adaptation).
Every choice leaves the network's function unchanged at step 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from encoders.config import AdaptConfig, EncoderConfig, Method, VisionConfig
from encoders.vit import Block, VisionTower
from tasks.errors import ModelError

PATCHES = ("vision.video.*", "vision.positions.time")
"""The input layers that videos do not share with images: always trained when an image network is adapted."""

TEXT_PROJ = ("text_proj.*",)
TEXT = ("text.*", *TEXT_PROJ)
SHARED = ("vision_proj.*", "log_scale")


class Adapter(nn.Module):
    """A bottleneck whose output starts at zero: [..., width] → [..., width]."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.act = nn.GELU()
        self.up = nn.Linear(bottleneck, width)

    def reset(self) -> None:
        """Initialise so that the adapter adds nothing."""
        nn.init.xavier_uniform_(self.down.weight)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.up(self.act(self.down(x)))
        return out


def trainable_patterns(adapt: AdaptConfig, vision: VisionConfig) -> tuple[str, ...]:
    """Return name patterns of the dual encoder's trainable parameters. Raises ModelError for an impossible choice."""
    if adapt.method == "temporal" and vision.attention != "factorized":
        raise ModelError("adaptation 'temporal' needs attention 'factorized': it trains its temporal attention")
    if adapt.method == "last" and not 1 <= adapt.last <= vision.depth:
        raise ModelError(f"cannot train the last {adapt.last} of {vision.depth} layers")
    last = range(vision.depth - adapt.last, vision.depth)
    inside = {
        "full": ("vision.*",),
        "frozen": (),
        "adapters": ("vision.blocks.*.adapter.*",),
        "lora": ("vision.blocks.*.lora_*",),
        "temporal": ("vision.blocks.*_time.*", "vision.blocks.*.alpha"),
        "last": (*(f"vision.blocks.{layer}.*" for layer in last), "vision.pool.*"),
    }[adapt.method]
    front = PATCHES if adapt.tune_patches and adapt.method != "frozen" else ()
    text = TEXT if adapt.tune_text else TEXT_PROJ if adapt.tune_text_proj else ()
    return (*inside, *front, *SHARED, *text)


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a parameter's name matches one of the patterns (shell style, case-sensitive)."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def freeze(module: nn.Module, patterns: tuple[str, ...]) -> None:
    """Require gradients of exactly the parameters whose names match `patterns`."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(matches(name, patterns))


def add_modules(tower: VisionTower, adapt: AdaptConfig) -> None:
    """Add the method's modules, whose output starts at zero, to a vision tower."""
    if adapt.method == "adapters":
        _add_adapters(tower, adapt.bottleneck)
    elif adapt.method == "lora":
        _add_lora(tower, adapt.rank)


def _add_adapters(tower: VisionTower, bottleneck: int) -> None:
    like = tower.positions.space
    for block in tower.blocks:
        if isinstance(block, Block):
            adapter = Adapter(tower.config.width, bottleneck).to(device=like.device, dtype=like.dtype)
            adapter.reset()
            block.adapter = adapter


def _add_lora(tower: VisionTower, rank: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ModelError("adaptation 'lora' needs peft: pip install 'longvid[video]'") from error
    config = LoraConfig(
        r=rank, lora_alpha=rank, target_modules=r"blocks\.\d+\.(attn|attn_time|mlp)\.(qkv|proj|fc1|fc2)"
    )
    with torch.device(tower.positions.space.device):
        inject_adapter_in_model(config, tower, low_cpu_mem_usage=tower.positions.space.is_meta)


@dataclass(frozen=True, slots=True)
class Trainable:
    """One line of the table: the parameters of the vision tower that a choice trains."""

    method: str
    total: int
    trainable: int

    @property
    def share(self) -> float:
        """Trainable over total."""
        return self.trainable / self.total


def trainable_table(config: EncoderConfig) -> list[Trainable]:
    """Count the vision tower's parameters by choice of adaptation, on the meta device."""
    methods: list[Method] = ["full", "adapters", "lora", "last"]
    if config.vision.attention == "factorized":
        methods.append("temporal")
    return [_count(config.vision, replace(config.adapt, method=method)) for method in methods]


def _count(vision: VisionConfig, adapt: AdaptConfig) -> Trainable:
    with torch.device("meta"):
        tower = VisionTower(vision)
        add_modules(tower, adapt)
    patterns = trainable_patterns(adapt, vision)
    sizes = {f"vision.{name}": p.numel() for name, p in tower.named_parameters()}
    return Trainable(
        adapt.method,
        sum(sizes.values()),
        sum(size for name, size in sizes.items() if matches(name, patterns)),
    )
