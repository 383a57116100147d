"""The stage `texts`: the text tower learns to tell statements apart, from a video's facts instead of its pixels (ours).

An encoder can say only what its texts tell apart. After the short stages "the flame was turned up just before the egg
went in" is nearly the sum of a vector for the flame and one for the egg: of a video with both signals, each before an
ingredient of its own, no vector can say which came before which. Here a bag of true facts stands for the video,
so that nothing but the texts is left to learn, without the cost of pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.dual import DualEncoder, unit

MARKS = 3
"""Places that each fact marks: two facts that share one still differ in the others."""
WIDTH, HIDDEN = 128, 512


def facts_picture(facts: Iterable[str], side: int) -> NDArray[np.uint8]:
    """Mark facts in a picture, [1, side, side, 3] of 0 and 1: what is true of a video as pixels of their own."""
    picture = np.zeros(side * side * 3, dtype=np.uint8)
    picture[[place for fact in facts for place in places_of(fact, picture.size)]] = 1
    return picture.reshape(1, side, side, 3)


@lru_cache(maxsize=1 << 16)
def places_of(fact: str, size: int) -> tuple[int, ...]:
    """Where a fact marks a picture of `size` numbers; kept, because facts recur from video to video."""
    digest = hashlib.sha256(fact.encode()).digest()
    return tuple(int.from_bytes(digest[4 * at : 4 * at + 4]) % size for at in range(MARKS))


class FactsEncoder(DualEncoder):
    """A dual encoder that reads pictures of facts; its text tower, projection and temperature are another encoder's."""

    def __init__(self, encoder: DualEncoder, *, seed: int) -> None:
        nn.Module.__init__(self)
        self.config = encoder.config
        self.text, self.text_proj, self.log_scale = encoder.text, encoder.text_proj, encoder.log_scale
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.bag = nn.Linear(self.config.vision.size**2 * 3, WIDTH, bias=False)
            nn.init.normal_(self.bag.weight, std=0.1)
            self.linear = nn.Linear(WIDTH, self.config.embed)
            self.mlp = nn.Sequential(
                nn.LayerNorm(WIDTH), nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, self.config.embed)
            )
        for parameter in self.parameters():
            parameter.requires_grad_(True)

    def embed_video(self, pixels: Tensor, keep: Tensor | None = None) -> Tensor:
        """Embed pictures of facts uint8 [B, 1, side, side, 3] as unit vectors float32 [B, E]."""
        del keep  # there is nothing to mask
        known = self.bag(pixels.flatten(1).float())
        return unit(self.linear(known) + self.mlp(known))
