"""`longvid embed FOLDER`: write one vector per video of a folder."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from evals import console
from evals.benchmark_app import MODEL, OPTIONS
from evals.engines import ADDRESS, ENGINE, GPUS, WORKERS, Engine, build_encoder_model, pool_of
from evals.preparing import warn_of_kitchen


def embed(
    folder: Annotated[Path, typer.Argument(help="A folder of videos; sub-folders are searched too.")],
    model: MODEL,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new .parquet or .safetensors file.")],
    model_option: OPTIONS = None,
    engine: ENGINE = Engine.PROCESS,
    workers: WORKERS = None,
    gpus_per_worker: GPUS = None,
    address: ADDRESS = None,
) -> None:
    """Write one vector per video, with ids. The same command resumes; a bad video is named and skipped.

    With --engine ray the videos and the model's files must be found at the same path by every worker.
    """
    from encoders.embed import already_embedded, check_target, embed_folder, embedder_of, find_videos
    from tasks.registry import parse_options

    check_target(out)
    pool = pool_of(engine, workers, gpus_per_worker, address)
    videos = find_videos(folder)
    options = parse_options(model_option or [])
    build = partial(build_encoder_model, model, options)
    with ExitStack() as loaded:
        with console.working(f"loading {model}"):
            embedder = loaded.enter_context(embedder_of(build, pool))
        warn_of_kitchen(options, videos)
        done, kept = already_embedded(out, videos), already_embedded(out)
        if done:
            console.say(f"resuming {out}: {done} of {len(videos)} videos are done")
        if kept > done:
            console.note(
                f"{kept - done} vectors kept for {out} are of other files or older versions; they are not used"
            )
        with console.progress(folder.resolve().name, len(videos), done) as tick:
            result = embed_folder(embedder, videos, out, lambda key, error: tick(f"failed: {key}" if error else key))
    console.say(f"{console.number_of(result.written, 'vector')} in {result.out}")
    for key, error in result.failed.items():
        console.warn(f"no vector for {key}: {error}")
    if result.failed:
        raise typer.Exit(1)
