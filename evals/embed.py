"""`longvid embed FOLDER`: vectors of every video in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evals import console
from evals.benchmark_app import MODEL, OPTIONS


def embed(
    folder: Annotated[Path, typer.Argument(help="A folder of videos; sub-folders are searched too.")],
    model: MODEL,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new .parquet or .safetensors file.")],
    model_option: OPTIONS = None,
) -> None:
    """Write one vector a video, with ids. The same command resumes; a bad video is named and passed over."""
    from encoders.embed_folder import already_embedded, check_target, embed_folder, find_videos
    from encoders.task_model import EncoderModel
    from evals.models import build_model, parse_options
    from tasks.errors import ModelError

    check_target(out)
    videos = find_videos(folder)
    built = build_model(model, parse_options(model_option or []))
    if not isinstance(built, EncoderModel):
        raise ModelError(f"model '{model}' is no encoder: it gives no vectors")
    done = already_embedded(out)
    if done:
        console.say(f"resuming {out}: {done} of {len(videos)} videos are done")
    with console.progress(folder.name, len(videos), done) as tick:
        result = embed_folder(built, videos, out, lambda key, error: tick(f"failed: {key}" if error else key))
    console.say(f"{result.written} vectors in {result.out}")
    for key, error in result.failed.items():
        console.warn(f"no vector for {key}: {error}")
    if result.failed:
        raise typer.Exit(1)
