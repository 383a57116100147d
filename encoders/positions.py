"""Learnt positions, factorised: one table over space, one over time, summed (ours).

Both are read at the coordinates of a token's centre, so one table serves every kernel, image size
and video length: whole coordinates read an entry, fractions the linear mix of its neighbours.

Initial scale (ours): `position_std` 0.5. Patch embeddings of normalised pixels start near norm 1
per dimension; positions of the customary std 0.02 drown beside them and a tiny encoder then never
learns the order of events, while at 0.5 it does within a few hundred steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from encoders.config import VisionConfig
from encoders.kernels import Kernel, space_coordinates, time_coordinates


def read_table(table: Tensor, coordinates: Sequence[float]) -> Tensor:
    """Rows of `table` [N, D] at fractional `coordinates` within [0, N-1]: [len(coordinates), D]."""
    if all(value == at for at, value in enumerate(coordinates)):
        return table[: len(coordinates)]
    at = torch.tensor(coordinates, dtype=torch.float32, device=table.device)
    low = at.floor().long()
    high = (low + 1).clamp(max=len(table) - 1)
    share = (at - low)[:, None].to(table.dtype)
    return torch.lerp(table[low], table[high], share)


def extend(table: Tensor, length: int) -> Tensor:
    """A time table [N, D] stretched to [length, D] by linear interpolation, both ends fixed (ours)."""
    if length == len(table):
        return table
    last = (len(table) - 1) / max(length - 1, 1)
    return read_table(table, [i * last for i in range(length)])


class Positions(nn.Module):
    """Tables `space` [grid², D] and `time` [steps, D] (absent for a frame-level encoder)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.space = nn.Parameter(torch.empty(config.grid**2, config.width))
        self.time = nn.Parameter(torch.empty(config.steps, config.width)) if config.steps else None

    def at_places(self, kernel: Kernel, height: int, width: int) -> Tensor:
        """Space positions of a kernel's grid over [height, width] pixels: [ny·nx, D]."""
        grid, depth = self.config.grid, self.space.shape[1]
        rows = space_coordinates(self.config, kernel, height)
        columns = space_coordinates(self.config, kernel, width)
        whole = [float(i) for i in range(grid)]
        if rows == whole and columns == whole:
            return self.space
        down = read_table(self.space.view(grid, grid * depth), rows).view(len(rows), grid, depth)
        across = read_table(down.transpose(0, 1).reshape(grid, -1), columns)
        return across.view(len(columns), len(rows), depth).transpose(0, 1).reshape(-1, depth)

    def forward(self, kernel: Kernel, shape: tuple[int, int, int], keep: Tensor | None = None) -> Tensor:
        """Positions of a kernel's tokens over a (frames, height, width) video.

        [N, D] for all of them, [B, K, D] for the flat indices `keep` [B, K]. A single image and a
        frame-level encoder have positions in space only.
        """
        frames, height, width = shape
        space = self.at_places(kernel, height, width)
        if self.time is None or frames == 1:
            time = space.new_zeros(frames, space.shape[1])
        else:
            time = read_table(self.time, time_coordinates(self.config, kernel, frames))
        if keep is None:
            return (time[:, None] + space).flatten(0, 1)
        return time[keep // len(space)] + space[keep % len(space)]
