"""The vision tower: uint8 video → tokens → vector, its parts chosen by `VisionConfig`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from encoders.blocks import Block, FactorizedBlock
from encoders.config import VisionConfig
from encoders.kernels import check_video, grid_axes, image_kernel, time_steps, video_kernels
from encoders.masking import flat_keep
from encoders.patchify import Patches, PixelNorm
from encoders.pooling import Pool
from encoders.positions import Positions
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class VisionOutput:
    """What the tower makes of a batch.

    `pooled` [B, out]; `tokens` [B, N, width], patch tokens only, with their `time` step and `place`
    [B, N] on the grid of positions; `hidden`, when asked for, the tokens after each block.
    """

    pooled: Tensor
    tokens: Tensor
    time: Tensor
    place: Tensor
    hidden: tuple[Tensor, ...] = ()


class VisionTower(nn.Module):
    """One transformer for images and videos.

    Images (one frame) pass through their own 2D projection, videos through the 3D one; everything
    else is shared (paper, architecture). With a class token there is one for *each* time step, so
    that a still video weighs it against patches as its image does (ours).

    `checkpointing` recomputes each block in the backward pass instead of keeping its activations.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        self.norm = PixelNorm(config.pixel_mean, config.pixel_std)
        self.image = Patches(image_kernel(config), config.width)
        self.video = nn.ModuleList(Patches(kernel, config.width) for kernel in video_kernels(config))
        self.positions = Positions(config)
        self.class_token = nn.Parameter(torch.empty(config.width)) if config.class_token else None
        self.pre_norm = nn.LayerNorm(config.width, eps=config.eps) if config.pre_norm else None
        kind = FactorizedBlock if config.attention == "factorized" else Block
        self.blocks = nn.ModuleList(
            kind(config.width, config.heads, config.mlp, config.activation, config.eps) for _ in range(config.depth)
        )
        self.pool = Pool(config)

    def forward(self, pixels: Tensor, keep: Tensor | None = None, *, hidden: bool = False) -> VisionOutput:
        """Embed uint8 [B, T, H, W, 3], all of it or the tokens at `keep` (see encoders.masking).

        Raises ModelError when the shape does not divide into tokens or `keep` does not fit.
        """
        if pixels.ndim != 5 or pixels.shape[-1] != 3 or pixels.dtype != torch.uint8:
            raise ModelError(f"pixels must be uint8 [B, T, H, W, 3], not {pixels.dtype} {tuple(pixels.shape)}")
        shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        check_video(self.config, *shape)
        steps = time_steps(self.config, shape[0])
        if keep is not None:
            keep = flat_keep(self.config, keep, steps, self._places(shape))
        tokens = self._embed(pixels, shape, keep)
        time, place = self._indices(shape, keep, pixels)
        tokens, class_tokens, states = self._transform(tokens, steps, keep_hidden=hidden)
        pooled, tokens = self.pool(tokens, class_tokens, steps)
        return VisionOutput(pooled, tokens, time, place, states)

    def _patches(self, frames: int) -> list[Patches]:
        if frames == 1 or self.config.attention == "frame":
            return [self.image]
        return [module for module in self.video if isinstance(module, Patches)]

    def _places(self, shape: tuple[int, int, int]) -> int:
        return (shape[1] // self.config.patch) * (shape[2] // self.config.patch)

    def _embed(self, pixels: Tensor, shape: tuple[int, int, int], keep: Tensor | None) -> Tensor:
        parts = [
            patches(pixels, self.norm, keep) + self.positions(patches.kernel, shape, keep)
            for patches in self._patches(shape[0])
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def _indices(self, shape: tuple[int, int, int], keep: Tensor | None, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Time step and place of each token, [B, N] both."""
        if keep is not None:
            places = self._places(shape)
            return keep // places, keep % places
        axes = [
            [torch.tensor(axis, device=pixels.device) for axis in grid_axes(self.config, patches.kernel, *shape)]
            for patches in self._patches(shape[0])
        ]
        time = torch.cat([steps.repeat_interleave(len(places)) for steps, places in axes])
        place = torch.cat([places.repeat(len(steps)) for steps, places in axes])
        return time.expand(len(pixels), -1), place.expand(len(pixels), -1)

    def _transform(
        self, tokens: Tensor, steps: int, *, keep_hidden: bool
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
        """Run the blocks: patch tokens [B, N, D], class tokens [B, steps, D], hidden states."""
        batch, count, width = tokens.shape
        groups = 1 if self.config.attention == "joint" else steps
        x = tokens.view(batch, groups, -1, width)
        extra = 0
        if self.class_token is not None:
            extra = steps // groups
            x = torch.cat([self.class_token.to(x.dtype).expand(batch, groups, extra, width), x], 2)
        if self.pre_norm is not None:
            x = self.pre_norm(x)
        layout = x.shape  # [B, groups, extra + places, D]
        if self.config.attention != "factorized":
            x = x.flatten(0, 1)
        hidden = []
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x)
            if keep_hidden:
                hidden.append(x.view(layout)[:, :, extra:].reshape(batch, count, width))
        x = x.view(layout)
        class_tokens = x[:, :, :extra].reshape(batch, steps, width) if extra else None
        return x[:, :, extra:].reshape(batch, count, width), class_tokens, tuple(hidden)
