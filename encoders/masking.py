"""Which tokens survive, as data: index tensors that travel with the batch.

The same indices give the same tokens in every pass over a batch, whatever the random state.
`keep` comes in two shapes, told apart by their axes:
    [B, K]      flat indices into the (time, row, column) grid, K per video; joint attention only.
    [B, T', S]  places kept at each time step, S at every step. T' = 1 keeps the same places at all
                steps (tube masking); factorised attention needs that, because its temporal blocks
                join a place with itself at other times (ours: the paper does not say).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from encoders.config import VisionConfig
from encoders.kernels import time_steps, token_count
from tasks.errors import ModelError

MaskBy = Literal["anywhere", "time"]


def random_keep(rows: int, tokens: int, keep: int, generator: torch.Generator) -> Tensor:
    """`keep` of `tokens` indices for each of `rows`, uniform without replacement, ascending: [rows, keep]."""
    if not 1 <= keep <= tokens:
        raise ModelError(f"cannot keep {keep} of {tokens} tokens")
    scores = torch.rand(rows, tokens, generator=generator, device=generator.device)
    return scores.topk(keep, dim=1).indices.sort(dim=1).values


def kept_count(tokens: int, mask: float) -> int:
    """Tokens left when the share `mask` is dropped, at least one. Raises ModelError outside [0, 1)."""
    if not 0 <= mask < 1:
        raise ModelError(f"mask {mask} is not a share: give a number from 0 up to, not including, 1")
    return max(1, round(tokens * (1 - mask)))


def sample_keep(
    config: VisionConfig,
    shape: tuple[int, int, int, int],
    mask: float,
    generator: torch.Generator,
    by: MaskBy = "anywhere",
) -> Tensor | None:
    """Indices for a batch of shape (B, frames, height, width) with the share `mask` dropped.

    None when nothing is dropped. Joint attention: tokens anywhere in space-time, or with `by` "time" the same
    number at each time step, so that no moment is dropped whole (ours). Frame-level:
    places drawn for each frame. Factorised: places drawn once for all times. Lies on the
    generator's device. Raises ModelError for tubes, which are the paper's alternative to masking.
    """
    batch, frames, height, width = shape
    if mask == 0:
        return None
    if config.patches == "tubes":
        raise ModelError("tubes are not masked: the kernels' grids share no index")
    tokens = token_count(config, frames, height, width)
    steps = time_steps(config, frames)
    if config.attention == "joint" and by == "time":
        places = tokens // steps
        kept = random_keep(batch * steps, places, kept_count(places, mask), generator).view(batch, steps, -1)
        return (kept + torch.arange(steps, device=kept.device)[:, None] * places).flatten(1)
    if config.attention == "joint":
        return random_keep(batch, tokens, kept_count(tokens, mask), generator)
    drawn = steps if config.attention == "frame" else 1
    places = tokens // steps
    kept = random_keep(batch * drawn, places, kept_count(places, mask), generator)
    return kept.view(batch, drawn, -1)


def sample_keep_each(
    config: VisionConfig, shape: tuple[int, int, int], mask: float, seeds: Sequence[int]
) -> Tensor | None:
    """`sample_keep` for videos of one shape (frames, height, width), each drawn by its own seed.

    What survives of a video then does not depend on the batch it is in.
    """
    drawn = [sample_keep(config, (1, *shape), mask, torch.Generator().manual_seed(seed)) for seed in seeds]
    rows = [row for row in drawn if row is not None]
    return torch.cat(rows) if rows else None


def flat_keep(config: VisionConfig, keep: Tensor, steps: int, places: int) -> Tensor:
    """Either shape of `keep` as flat indices [B, K] in (time, place) order.

    Raises ModelError when the shape does not go with the attention.
    """
    if keep.ndim == 2 and config.attention == "joint":
        return keep
    needed = (1,) if config.attention == "factorized" else (1, steps)
    if keep.ndim != 3 or keep.shape[1] not in needed:
        raise ModelError(
            f"keep of shape {tuple(keep.shape)} does not fit {config.attention} attention, {steps} steps: "
            "draw it with sample_keep"
        )
    first = torch.arange(steps, device=keep.device)[:, None] * places
    return (keep + first).flatten(1)
