"""Which source a stage's data settings mean."""

from __future__ import annotations

from pathlib import Path

from encoders.pretrain.entries import read_folder, read_manifest, read_shards
from encoders.pretrain.files import FileSource
from encoders.pretrain.kitchen import KitchenSource
from encoders.pretrain.samples import Source
from encoders.pretrain.settings import DataSettings
from tasks.errors import ModelError

READERS = {"manifest": read_manifest, "folder": read_folder, "shards": read_shards}


def open_source(data: DataSettings, size: int, *, held_out: bool = False) -> Source:
    """Open the one source that `data` names, its frames squares of `size` pixels.

    A held-out source is looked at the same way each time: moments are not drawn but central.
    """
    view = data.view or "video"
    if data.kitchen is not None:
        return KitchenSource(data.kitchen, view, frames=data.frames, fps=data.fps, size=size, centred=held_out)
    for name, read in READERS.items():
        files = getattr(data, name)
        if files is not None:
            entries = read(Path(files.path), view)
            return FileSource(entries, files, view, frames=data.frames, fps=data.fps, size=size, centred=held_out)
    raise ModelError("data: no source is named")
