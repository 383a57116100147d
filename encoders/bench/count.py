"""Counting without computing: FLOPs and saved activations on the meta device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode

from encoders.adapt import add_modules, freeze, trainable_patterns
from encoders.bench.methods import Method, method_config
from encoders.bench.rows import Row
from encoders.config import AdaptConfig, VisionConfig
from encoders.init import initialise
from encoders.kernels import time_steps, token_count
from encoders.masking import kept_count
from encoders.vision import VisionTower


@dataclass(frozen=True, slots=True)
class Shape:
    """Square uint8 videos: [batch, frames, side, side, 3]."""

    batch: int
    frames: int
    side: int

    def pixels(self, device: torch.device | str) -> Tensor:
        """Random frames, or a shape without data on the meta device."""
        size = (self.batch, self.frames, self.side, self.side, 3)
        if torch.device(device).type == "meta":
            return torch.empty(size, dtype=torch.uint8, device=device)
        return torch.randint(0, 256, size, dtype=torch.uint8, device=device)


class Prefixed(nn.Module):
    """A tower under the name it has in the dual encoder, so that the same patterns freeze it."""

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.vision = tower


def build_tower(method: Method, size: str, frames: int, device: torch.device | str) -> VisionTower:
    """A method's bf16 vision tower, frozen as in training."""
    return build_vision(method_config(method, size, frames), method.adapt, device).to(torch.bfloat16)


def build_vision(config: VisionConfig, adapt: AdaptConfig, device: torch.device | str) -> VisionTower:
    """A vision tower, frozen as in training."""
    with torch.device(device):
        tower = VisionTower(config)
        initialise(tower)
        add_modules(tower, adapt)
    freeze(Prefixed(tower), trainable_patterns(adapt, config))
    return tower


def meta_keep(tower: VisionTower, shape: Shape, mask: float) -> Tensor | None:
    """A mask's indices as a shape only."""
    if mask == 0:
        return None
    config = tower.config
    tokens = token_count(config, shape.frames, shape.side, shape.side)
    if config.attention == "joint":
        return torch.empty(shape.batch, kept_count(tokens, mask), dtype=torch.long, device="meta")
    steps = time_steps(config, shape.frames)
    drawn = steps if config.attention == "frame" else 1
    kept = kept_count(tokens // steps, mask)
    return torch.empty(shape.batch, drawn, kept, dtype=torch.long, device="meta")


def saved_bytes(tower: VisionTower, pixels: Tensor, keep: Tensor | None) -> int:
    """Bytes that the tower's forward pass keeps for the backward one, on any device."""
    return kept_bytes(tower, lambda: tower(pixels, keep))


def kept_bytes(module: nn.Module, forward: Callable[[], object]) -> int:
    """Bytes that `forward` keeps for the backward pass, on any device.

    Every storage counts once, however many views of it are kept; parameters and buffers of `module` do not count.
    """
    own = {_identity(p) for p in (*module.parameters(), *module.buffers())}
    kept: dict[StorageWeakRef, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[_identity(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(size for storage, size in kept.items() if storage not in own)


def _identity(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]  # torch leaves it untyped


def flops(tower: VisionTower, pixels: Tensor, keep: Tensor | None) -> tuple[int, int]:
    """FLOPs of a forward pass, and of a training step's forward and backward; two for a multiply-add."""
    with FlopCounterMode(display=False) as counter:
        loss = tower(pixels, keep).pooled.sum()
        forward = counter.get_total_flops()
        loss.backward()
    tower.zero_grad()
    return forward, counter.get_total_flops()


def count_row(method: Method, size: str, frames: int) -> Row:
    """A row of everything that can be known without computing, for one video."""
    return count_tower(build_tower(method, size, frames, "meta"), method, size, frames)


def count_tower(tower: VisionTower, method: Method, size: str, frames: int) -> Row:
    """`count_row` of a bf16 tower on the meta device."""
    shape = Shape(1, frames, tower.config.size)
    pixels, keep = shape.pixels("meta"), meta_keep(tower, shape, method.mask)
    trainable = sum(p.numel() for p in tower.parameters() if p.requires_grad)
    parameters = sum(p.numel() for p in tower.parameters())
    dense = token_count(tower.config, frames, shape.side, shape.side)
    forward, train = flops(tower, pixels, keep)
    return Row(
        size=size,
        method=method.name,
        frames=frames,
        mask=method.mask,
        tokens=dense if keep is None else keep.shape[1:].numel() * _broadcast(tower, keep, frames),
        parameters=parameters,
        trainable=trainable,
        forward_flops=forward,
        train_flops=train,
        activation_bytes=saved_bytes(tower, pixels, keep),
        weight_bytes=2 * parameters,
        gradient_bytes=2 * trainable,
        optimizer_bytes=12 * trainable,
        dense_flops=forward if keep is None else flops(tower, pixels, None)[0],
    )


def _broadcast(tower: VisionTower, keep: Tensor, frames: int) -> int:
    """How often each index stands for a token: once per step under tube masking."""
    return time_steps(tower.config, frames) if keep.ndim == 3 and keep.shape[1] == 1 else 1
