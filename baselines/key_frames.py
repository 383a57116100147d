"""Which frames of a video matter to a query: the best-scored ones that do not stand too close together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Below it a halved gap counts as none.
_LEAST_GAP = 1e-3


@dataclass(frozen=True, slots=True)
class KeyFrames:
    """Indices of the chosen frames in order of time, and the gap (seconds) that was kept between them."""

    chosen: tuple[int, ...]
    gap: float


def choose_key_frames(seconds: Sequence[float], scores: NDArray[np.float32], count: int, min_gap: float) -> KeyFrames:
    """At most `count` frames by falling score, each at least `min_gap` seconds from those chosen before it.

    Where that gives fewer than there could be, the gap is halved until it does not (ours; SeViLA takes the top k
    alone). Equal scores go to the earlier frame.
    """
    wanted = min(count, len(seconds))
    order = np.argsort(-scores, kind="stable")
    times = np.asarray(seconds, dtype=np.float64)
    gap = min_gap
    while True:
        chosen: list[int] = []
        for index in order:
            if len(chosen) < wanted and all(abs(times[index] - times[other]) >= gap for other in chosen):
                chosen.append(int(index))
        if len(chosen) == wanted:
            return KeyFrames(tuple(sorted(chosen, key=lambda i: (times[i], i))), gap)
        gap = gap / 2 if gap > _LEAST_GAP else 0.0
