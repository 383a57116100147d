"""`longvid kitchen-annotations`: what is done in the videos of a split, without the videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evals import console


def kitchen_annotations(
    split: Annotated[str, typer.Option(help="train, val or test.")],
    videos: Annotated[int, typer.Option(min=1, help="The first so many of the split.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .json file, as YouCook2's annotation file.")],
) -> None:
    """Write sentences and times of a split's videos: captions without a fault.

    Read as captions by -M captions=FILE and by 'longvid train-aggregator'.
    """
    from tasks.kitchen.files import write_split

    write_split(out, split, videos)
    console.say(f"annotations of {videos} videos in {out}")
