"""From uint8 pixels to tokens: gather the kept boxes, normalise them, project them.

The order matters: boxes are gathered *before* they are normalised and projected, so that masked
tokens cost nothing (same numbers as convolve-then-drop). The projection is a linear layer over the
box's pixels in (frame, row, column, channel) order, which is what a 3D convolution with stride
equal to its kernel computes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.kernels import Kernel


def boxes(pixels: Tensor, kernel: Kernel) -> Tensor:
    """View [B, T, H, W, 3] as boxes [B, nt, ny, nx, t, p, p, 3] without copying."""
    frames, height, width = pixels.shape[1:4]
    times, rows, columns = kernel.starts(frames, height, width)
    view = pixels[:, times.start :, rows.start :, columns.start :]
    view = view.unfold(1, kernel.frames, kernel.stride[0])
    view = view.unfold(2, kernel.patch, kernel.stride[1])
    view = view.unfold(3, kernel.patch, kernel.stride[1])
    return view.permute(0, 1, 2, 3, 5, 6, 7, 4)


def gather_boxes(view: Tensor, keep: Tensor | None) -> Tensor:
    """Boxes as rows [B, K, t·p·p·3]: all of them, or those whose flat index is in `keep` [B, K]."""
    batch, _, rows, columns = view.shape[:4]
    if keep is None:
        return view.reshape(batch, -1, view.shape[4:].numel())
    sample = torch.arange(batch, device=keep.device)[:, None]
    time, place = keep // (rows * columns), keep % (rows * columns)
    return view[sample, time, place // columns, place % columns].flatten(2)


class PixelNorm(nn.Module):
    """(pixel / 255 - mean) / std per channel, for uint8 rows whose last axis cycles through channels."""

    bits: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        affine = torch.tensor([[1 / (255 * s) for s in std], [-m / s for m, s in zip(mean, std, strict=True)]])
        # Kept as bit patterns: a float buffer would lose half its digits in `.to(bfloat16)`.
        self.register_buffer("bits", affine.view(torch.int32), persistent=False)

    def forward(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """[B, K, n·3] uint8 → the same shape in `dtype`."""
        scale, shift = self.bits.view(torch.float32)
        values = torch.addcmul(shift, rows.view(*rows.shape[:-1], -1, 3).float(), scale)
        return values.to(dtype).flatten(-2)


class Patches(nn.Module):
    """One kernel's projection: uint8 [B, T, H, W, 3] → tokens [B, N or K, width]."""

    def __init__(self, kernel: Kernel, width: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.proj = nn.Linear(kernel.frames * kernel.patch**2 * 3, width)

    def forward(self, pixels: Tensor, norm: PixelNorm, keep: Tensor | None = None) -> Tensor:
        """Tokens in (time, row, column) order, or those at the flat indices `keep` [B, K]."""
        rows = gather_boxes(boxes(pixels, self.kernel), keep)
        tokens: Tensor = self.proj(norm(rows, self.proj.weight.dtype))
        return tokens


def inflate(weight: Tensor, frames: int) -> Tensor:
    """A 2D projection [D, p·p·3] as a tubelet's [D, frames·p·p·3]: repeated over time and divided.

    A tubelet of one repeated frame then projects exactly like that frame (paper, architecture).
    """
    return weight.repeat(1, frames) / frames


def reshape_kernel(weight: Tensor, patch: int, kernel: Kernel) -> Tensor:
    """A 2D projection [D, p·p·3] of patches of side `patch` as one of another kernel's boxes (ours).

    Bilinear in space and repeated over time; its mean is kept and its size divided out, so that a box
    of one colour projects like the patch did. With the kernel's own side it is `inflate`.
    """
    if kernel.patch != patch:
        square = weight.view(len(weight), patch, patch, 3).movedim(-1, 1).float()
        side = (kernel.patch, kernel.patch)
        resized = functional.interpolate(square, size=side, mode="bilinear", antialias=True)
        resized += (square.mean((2, 3)) - resized.mean((2, 3)))[:, :, None, None]
        weight = flatten_convolution(resized * (patch / kernel.patch) ** 2).to(weight.dtype)
    return inflate(weight, kernel.frames)


def flatten_convolution(weight: Tensor) -> Tensor:
    """A convolution's [D, 3, p, p] or [D, 3, t, p, p] as this module's [D, (t·)p·p·3]."""
    return weight.movedim(1, -1).flatten(1)
