"""From the tower's space-time tokens to one token for each place: a fixed number whatever came in."""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.pooling import pool_over_time
from encoders.vision import VisionOutput


def spatial_tokens(output: VisionOutput, places: int) -> Tensor:
    """Mean over time of the kept tokens at each place, added up in float32: [B, places, width].

    Frame count and mask change neither shape nor scale. A place of which no token was kept (short
    masked clips; tubes, which leave places out) gets the mean over the whole video (ours): a vector
    like any other, where zeros would be like none.
    """
    tokens = output.tokens.float()
    means = pool_over_time(tokens, output.place, places)
    counts = torch.zeros(means.shape[:2], device=means.device)
    counts.scatter_add_(1, output.place, torch.ones(tokens.shape[:2], device=means.device))
    whole = tokens.mean(1, keepdim=True)
    return torch.where(counts[..., None] > 0, means, whole).to(output.tokens.dtype)
