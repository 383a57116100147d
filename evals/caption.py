"""`longvid caption SOURCE`: caption every segment of many videos into one file that any number of models can read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from evals import console
from evals.benchmark_app import DATA, LIMIT, MODEL, OPTIONS
from evals.benchmarks import load_task
from evals.engines import ADDRESS, ENGINE, GPUS, WORKERS, Engine, build_captioner, pool_of

FAILURES_SHOWN = 20

if TYPE_CHECKING:
    from baselines.segment_captions import SegmentCaptions
    from tasks.task import Clip


def caption(
    source: Annotated[str, typer.Argument(help="A folder of videos, or a benchmark's name, such as egoschema.")],
    model: MODEL,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new .jsonl file.")],
    model_option: OPTIONS = None,
    cut: Annotated[
        str,
        typer.Option(
            help="How to cut: uniform:N (seconds), shots, shots:N (at most N seconds), whole, or a JSON file."
        ),
    ] = "uniform:16",
    prompt: Annotated[str, typer.Option(help="Name of the prompt, a file in baselines/prompts.")] = "segment.v1",
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest caption, in tokens.")] = 64,
    pool: Annotated[str | None, typer.Option(help="A benchmark's item set; default: its first.")] = None,
    data: DATA = None,
    limit: LIMIT = None,
    engine: ENGINE = Engine.PROCESS,
    workers: WORKERS = None,
    gpus_per_worker: GPUS = None,
    address: ADDRESS = None,
) -> None:
    """Caption segments of videos. The same command resumes; a bad video is named and skipped.

    With --engine ray the videos and the model's files must be found at the same path by every worker.
    """
    from baselines.segment_captions import CaptionSettings, captions_by
    from baselines.segments import parse_cutting
    from evals.preparing import prepare_clips, warn_of_kitchen
    from tasks.errors import DataError
    from tasks.prompt import load_prompt
    from tasks.registry import parse_options

    if out.suffix.lower() != ".jsonl":
        raise DataError(f"{out}: write to a name that ends in .jsonl")
    if out.exists():
        raise DataError(f"{out} exists already; delete it or choose another name")
    spread = pool_of(engine, workers, gpus_per_worker, address)
    clips, unreadable = clips_of(source, pool, data)
    clips = clips[:limit]
    settings = CaptionSettings(parse_cutting(cut), load_prompt("baselines", prompt), max_tokens)
    options = parse_options(model_option or [])
    build = partial(build_captioner, model, options)
    with ExitStack() as loaded:
        with console.working(f"loading {model}"):
            captions, preparer = loaded.enter_context(captions_by(build, settings, spread))
        warn_of_kitchen(options, (clip.video_id for clip in clips))
        failed = prepare_clips(preparer, clips, "captions")
        bad = [*unreadable.items(), *((clip.video_id, error) for clip, error in failed.items())]
        if bad and len(failed) == len(clips):
            key, error = bad[0] if not failed else bad[len(unreadable)]
            raise DataError(f"no captions: nothing is written to {out}; the first reason, of {key}: {error}")
        written = write_captions(captions, [clip for clip in clips if clip not in failed], out)
    captioned = console.number_of(len(clips) - len(failed), "clip")
    console.say(f"{console.number_of(written, 'caption')} of {captioned} in {out}")
    console.say(f"next: -m aggregator -M captions={quote(str(out))} reads them ('longvid models aggregator')")
    say_without_captions(bad)
    if bad:
        raise typer.Exit(1)


def say_without_captions(bad: Sequence[tuple[str, str]]) -> None:
    """Warn of each clip that has no captions, by its key, with the reason of the first ones."""
    for key, error in bad[:FAILURES_SHOWN]:
        console.warn(f"no captions for {key}: {error}")
    if len(bad) > FAILURES_SHOWN:
        console.warn(f"nor for {len(bad) - FAILURES_SHOWN} more: {' '.join(key for key, _ in bad[FAILURES_SHOWN:])}")


def clips_of(source: str, pool: str | None, data: Path | None) -> tuple[list[Clip], dict[str, str]]:
    """Return the distinct clips of a benchmark's pool or the whole videos of a folder, and why some are missing.

    Raises DataError if the source is neither.
    """
    from encoders.embed import find_videos, unusable_names
    from encoders.video_errors import VideoError
    from encoders.video_file import probe
    from tasks.registry import known_benchmark
    from tasks.task import Clip

    if not Path(source).is_dir() and (benchmark := known_benchmark(source)) is not None:
        task = load_task(benchmark, pool or benchmark.pools[0], data)
        return list(dict.fromkeys(item.clip for item in task.items())), {}
    videos = find_videos(Path(source))
    clips, unreadable = [], unusable_names(videos)
    for key, path in videos.items():
        if key in unreadable:
            continue
        try:
            clips.append(Clip(key, 0.0, probe(path).duration, path))
        except VideoError as error:
            unreadable[key] = str(error)
    return clips, unreadable


def write_captions(captions: SegmentCaptions, clips: list[Clip], out: Path) -> int:
    """Write the clips' captions as JSON lines atomically and return their number.

    Raises DataError if there are none.
    """
    from io import StringIO

    from jsonlines import Writer

    from evals.store import write_atomic
    from tasks.errors import DataError

    settings = captions.settings
    made_by = {
        "captioner": captions.captioner,
        "captioner_sha256": captions.sha256,
        "prompt_sha256": settings.prompt.sha256,
        "cut": settings.cutting.name,
    }
    rows = [{"video": clip.video_id, **row, **made_by} for clip in clips for row in captions.rows(clip)]
    if not rows:
        raise DataError(f"no captions: nothing is written to {out}")
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = StringIO()
    Writer(lines).write_all(rows)
    write_atomic(out, lines.getvalue())
    return len(rows)
