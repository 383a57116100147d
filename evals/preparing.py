"""Prepare a model's clips before the first item, behind a progress bar."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evals import console
from tasks.errors import DataError
from tasks.model import NeedsPreparing, Preparer
from tasks.registry import System
from tasks.task import Clip

if TYPE_CHECKING:
    from tasks.task import Task

SHOWN_VIDEOS = frozenset({System.ENCODER, System.VIDEO_LLM})
MISSING = "MissingVideoError"
LEARNT_FROM_KITCHEN = re.compile(r"(^|=)kitchen(:|,|;|$)")
"""Matches a name of shipped weights in an option's value."""


def prepare_model(model: object, clips: Sequence[Clip]) -> None:
    """Let the model prepare its clips first; an item whose clip failed reports the error again when asked."""
    if not isinstance(model, NeedsPreparing) or model.preparer is None:
        return
    clips = list(dict.fromkeys(clips))
    failed = prepare_clips(model.preparer, clips, "captions")
    if failed:
        first = next(iter(failed.values()))
        console.warn(f"{len(failed)} of {len(clips)} clips have no captions and will fail; the first: {first}")


def prepare_clips(preparer: Preparer, clips: Sequence[Clip], label: str) -> dict[Clip, str]:
    """Prepare clips behind a progress bar; the errors by clip. An interrupt keeps what is done and exits with 130."""
    failed: dict[Clip, str] = {}
    try:
        with console.progress(label, len(clips), 0) as tick:

            def on_clip(clip: Clip, error: str | None) -> None:
                if error is not None:
                    failed[clip] = error
                tick(f"failed: {clip.video_id}" if error else clip.video_id)

            preparer.prepare(clips, on_clip)
    except KeyboardInterrupt:
        console.fail("interrupted; the finished captions are kept, and the same command resumes there")
        raise typer.Exit(130) from None
    return failed


def warn_of_kitchen(options: Mapping[str, str], videos: Iterable[str]) -> None:
    """Warn if weights trained on kitchen alone are shown other videos; `videos` are their names."""
    from tasks.kitchen.plan import is_kitchen

    ours = [f"{key}={value}" for key, value in options.items() if LEARNT_FROM_KITCHEN.search(value)]
    stranger = next((name for name in videos if not is_kitchen(Path(name).stem)), None) if ours else None
    if stranger is not None:
        console.warn(
            f"{' and '.join(ours)} learnt from kitchen's generated videos alone, and {stranger} is not one of them: "
            f"what it says of other videos means nothing"
        )


def require_videos(task: Task[Any], model: object, system: str | None, limit: int | None) -> None:
    """Warn of missing videos before a model that is shown them is asked anything.

    Raises DataError if all are missing and the first item can't be answered without its video.
    """
    from evals.runner import answer

    items = list(task.items())[:limit]
    clips = [item.clip for item in items]
    lost = [clip for clip in clips if clip.path is None]
    makes_captions = isinstance(model, NeedsPreparing) and model.preparer is not None
    if not lost or not (makes_captions or system in SHOWN_VIDEOS):
        return
    if len(lost) < len(clips):
        videos = len({clip.video_id for clip in lost})
        way = way_to(task.info.name)
        console.warn(f"{len(lost)} of {len(clips)} items will fail: {videos} videos are missing. {way}")
        return
    # A model that is shown videos may still have an answer, from vectors on disk for example.
    sample = None if makes_captions else answer(task, model, items[:1])[0][0]
    if sample is None or (sample.error is not None and sample.error.kind == MISSING):
        raise no_videos(task.info.name, clips)


def no_videos(task_name: str, clips: Sequence[Clip]) -> DataError:
    """Return the error for a task whose videos are all missing."""
    count = len({clip.video_id for clip in clips})
    return DataError(f"none of the {count:,} videos of {task_name} is here ({len(clips):,} items). {way_to(task_name)}")


def way_to(task_name: str) -> str:
    """Say how to get a benchmark's videos; empty if it does not say."""
    from tasks.data_roots import data_roots
    from tasks.registry import benchmark_of

    benchmark = benchmark_of(task_name)
    if benchmark is None:
        return "Put them beside the questions, or say with --videos where they are."
    folder = data_roots()[0] / benchmark.data_folder
    told = benchmark.videos.format(folder=folder).rstrip(".")
    return f"{told}: see 'longvid {benchmark.name} prepare --help'"
