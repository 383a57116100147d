"""`longvid kitchen-annotations` and `longvid kitchen-videos`: write a split's annotations, make its videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evals import console
from evals.generate_verb import make_all

SPLIT = Annotated[str, typer.Option(help="train, val or test.")]
VIDEOS = Annotated[int, typer.Option(min=1, help="Number of videos, from the start of the split.")]


def kitchen_annotations(
    split: SPLIT,
    videos: VIDEOS,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A .json file, in the format of YouCook2's annotation file.")
    ],
) -> None:
    """Write sentences and times of a split's videos: error-free captions.

    -M captions=FILE and 'longvid train-aggregator' read them as captions.
    """
    from tasks.kitchen.files import write_split

    write_split(out, split, videos)
    console.say(f"annotations of {videos} videos in {out}")


def kitchen_videos(
    split: SPLIT,
    videos: VIDEOS,
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder; the videos go into its sub-folder videos.")],
) -> None:
    """Make the videos of a split; the same command resumes an interrupted one.

    'longvid caption FOLDER/videos' captions them, for 'longvid train-aggregator' to train on a captioner's own words.
    """
    from tasks.kitchen.files import make_videos
    from tasks.kitchen.plan import make_plan

    made = make_all(out, make_videos(out, [make_plan(split, index) for index in range(videos)]), videos)
    console.say(f"{made} videos made, {videos - made} already there, in {out}/videos")
