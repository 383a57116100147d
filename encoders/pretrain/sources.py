"""Which source a stage's data settings mean."""

from __future__ import annotations

from encoders.pretrain.kitchen import KitchenSource
from encoders.pretrain.samples import Source
from encoders.pretrain.settings import DataSettings


def open_source(data: DataSettings, size: int, *, held_out: bool = False) -> Source:
    """Open the one source that `data` names, its frames squares of `size` pixels.

    A held-out source is looked at the same way each time: moments are not drawn but central.
    """
    view = data.view or "video"
    return KitchenSource(data.kitchen, view, frames=data.frames, fps=data.fps, size=size, centred=held_out)
