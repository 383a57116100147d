"""What one token covers, and where on the grid of positions its centre lies. No tensors here."""

from __future__ import annotations

from dataclasses import dataclass

from encoders.config import VisionConfig
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class Kernel:
    """A box of `frames` by `patch` by `patch` pixels, moved by `stride` from `offset` (time, space)."""

    frames: int
    patch: int
    stride: tuple[int, int]
    offset: tuple[int, int] = (0, 0)

    def starts(self, frames: int, height: int, width: int) -> tuple[range, range, range]:
        """First frame, row and column of each box that fits into a [frames, height, width] video.

        An offset yields where the video would otherwise be too short for the box (ours).
        """
        return (
            _starts(frames, self.frames, self.stride[0], self.offset[0]),
            _starts(height, self.patch, self.stride[1], self.offset[1]),
            _starts(width, self.patch, self.stride[1], self.offset[1]),
        )

    def count(self, frames: int, height: int, width: int) -> int:
        """Tokens of a [frames, height, width] video."""
        times, rows, columns = self.starts(frames, height, width)
        return len(times) * len(rows) * len(columns)


def _starts(length: int, extent: int, stride: int, offset: int) -> range:
    offset = min(offset, max(length - extent, 0))
    return range(offset, length - extent + 1, stride)


TUBES = (
    Kernel(8, 8, (16, 32)),
    Kernel(16, 4, (6, 32), (4, 8)),
    Kernel(4, 12, (16, 32), (0, 16)),
    Kernel(1, 16, (32, 16)),
)
"""TubeViT's four kernels, after arXiv 2212.03229; boxes that cross the border are dropped (ours)."""


def image_kernel(config: VisionConfig) -> Kernel:
    """The 2D patch of a single frame."""
    return Kernel(1, config.patch, (1, config.patch))


def video_kernels(config: VisionConfig) -> tuple[Kernel, ...]:
    """The kernels a video passes through; none for a frame-level encoder."""
    if config.patches == "tubes":
        return TUBES
    if config.patches == "tubelet":
        return (Kernel(config.tubelet, config.patch, (config.tubelet, config.patch)),)
    return ()


def check_video(config: VisionConfig, frames: int, height: int, width: int) -> None:
    """Raise ModelError unless a [frames, height, width] video divides into tokens without rest."""
    if height % config.patch or width % config.patch:
        raise ModelError(f"frames of {height} by {width} pixels do not divide into patches of side {config.patch}")
    if frames < 1 or (config.patches == "tubelet" and frames > 1 and frames % config.tubelet):
        raise ModelError(f"{frames} frames do not divide into tubelets of {config.tubelet}: sample a multiple")
    if config.patches == "tubes" and frames > 1 and min(k.count(frames, height, width) for k in TUBES) == 0:
        raise ModelError(f"{frames} frames of {height} by {width} pixels are too small for tubes of 16 frames")


def time_steps(config: VisionConfig, frames: int) -> int:
    """Time steps of a regular video grid: 1 for a single image, else frames or tubelets."""
    if config.patches == "image" or frames == 1:
        return frames
    return frames // config.tubelet


def token_count(config: VisionConfig, frames: int, height: int, width: int) -> int:
    """Tokens of a dense video, class tokens not counted."""
    if config.patches == "tubes" and frames > 1:
        return sum(kernel.count(frames, height, width) for kernel in TUBES)
    return time_steps(config, frames) * (height // config.patch) * (width // config.patch)


def time_coordinates(config: VisionConfig, kernel: Kernel, frames: int) -> list[float]:
    """Where each box's centre lies on the table of time positions.

    A video no longer than the table uses its first entries: at 1 FPS, entry i is always the same
    second. A longer one stretches the table, both ends fixed (ours).
    """
    first = (config.tubelet - 1) / 2
    middle = (kernel.frames - 1) / 2
    steps = [
        (start + middle - first) / config.tubelet
        for start in _starts(frames, kernel.frames, kernel.stride[0], kernel.offset[0])
    ]
    used = -(-frames // config.tubelet)
    scale = (config.steps - 1) / (used - 1) if used > config.steps else 1.0
    return [min(max(step * scale, 0.0), config.steps - 1.0) for step in steps]


def space_coordinates(config: VisionConfig, kernel: Kernel, side: int) -> list[float]:
    """Where each box's centre lies along one side (pixels) of the table of space positions (ours)."""
    centres = (start + kernel.patch / 2 for start in _starts(side, kernel.patch, kernel.stride[1], kernel.offset[1]))
    return [min(max(centre / side * config.grid - 0.5, 0.0), config.grid - 1.0) for centre in centres]


def grid_axes(
    config: VisionConfig, kernel: Kernel, frames: int, height: int, width: int
) -> tuple[list[int], list[int]]:
    """Time step of each temporal start and place of each spatial one, on the regular grid.

    The tokens of the kernel are their product. Boxes that lie off the grid count as the entry
    nearest to their centre.
    """
    times, rows, columns = kernel.starts(frames, height, width)
    per_step = frames // time_steps(config, frames)
    steps = [(start + (kernel.frames - 1) // 2) // per_step for start in times]
    centre = kernel.patch // 2
    across = width // config.patch
    places = [
        (row + centre) // config.patch * across + (column + centre) // config.patch
        for row in rows
        for column in columns
    ]
    return steps, places
