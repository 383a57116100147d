"""What a model needs made of its clips before the first item, behind a progress bar."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import typer

from evals import console
from tasks.model import NeedsPreparing, Preparer
from tasks.task import Clip

LEARNT_FROM_KITCHEN = re.compile(r"(^|=)kitchen(:|,|;|$)")
"""An option's value, or one in it, that names weights which come with the package."""


def prepare_model(model: object, clips: Sequence[Clip]) -> None:
    """Have made first what the model needs of its clips; an item whose clip gave an error tells it again."""
    if not isinstance(model, NeedsPreparing) or model.preparer is None:
        return
    clips = list(dict.fromkeys(clips))
    failed = prepare_clips(model.preparer, clips, "captions")
    if failed:
        first = next(iter(failed.values()))
        console.warn(f"{len(failed)} of {len(clips)} clips have no captions and will fail; the first: {first}")


def prepare_clips(preparer: Preparer, clips: Sequence[Clip], label: str) -> dict[Clip, str]:
    """Prepare clips behind a progress bar; the errors by clip. An interrupt leaves what is done and exit code 130."""
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
    """Say that weights which learnt from kitchen alone are shown other videos; `videos` are their names."""
    from tasks.kitchen.plan import is_kitchen

    ours = [f"{key}={value}" for key, value in options.items() if LEARNT_FROM_KITCHEN.search(value)]
    stranger = next((name for name in videos if not is_kitchen(Path(name).stem)), None) if ours else None
    if stranger is not None:
        console.warn(
            f"{' and '.join(ours)} learnt from kitchen's generated videos alone, and {stranger} is none of them: what "
            f"it says of other videos means nothing"
        )
