"""`longvid needle VIDEO… -o FOLDER`: kitchen's brief events laid into videos of one's own, as a benchmark in a folder.

As in `kitchen-needle`, each video gives five copies with one event each, in each fifth of it another, and all five are
asked the same question with the same options: whatever does not look scores exactly a fifth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from evals import console
from tasks.errors import DataError

if TYPE_CHECKING:
    from av import VideoFrame

    from tasks.kitchen.needle import Needle

QUESTION = "For a moment a drawing is shown that does not belong to the video. What does it show?"


@dataclass(frozen=True, slots=True)
class Copies:
    """How copies are made: frames a second, the longest short side in pixels, and the seed of what is laid where."""

    fps: int
    side: int
    seed: int


def needle(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO…", help="Video files, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The benchmark's folder to write.")],
    name: Annotated[str | None, typer.Option(help="The benchmark's name; default: the folder's.")] = None,
    fps: Annotated[int, typer.Option(min=1, max=60, help="Frames a second of the copies.")] = 4,
    side: Annotated[int, typer.Option(min=32, help="The copies' shorter side in pixels, at most.")] = 360,
    seed: Annotated[int, typer.Option(help="Seed of which event is laid where.")] = 0,
) -> None:
    """Lay a drawn event of three seconds into each fifth of your videos, and write the questions which it was.

    The copies have no sound. What is finished is kept: the same command goes on where an interrupted one stopped.
    """
    from tasks.durable import write_atomic
    from tasks.folder import QUESTIONS, SETTINGS

    found = video_files(videos)
    choices = Copies(fps, side, seed)
    settings = settings_of(name or out.resolve().name, choices)
    if (out / SETTINGS).is_file() and (out / SETTINGS).read_text(encoding="utf-8") != settings:
        raise DataError(f"{out / SETTINGS} is of other needles (name, fps, side or seed differ): choose another --out")
    (out / "videos").mkdir(parents=True, exist_ok=True)
    write_atomic(out / SETTINGS, settings)
    rows = []
    with console.progress("videos", len(found), 0) as tick:
        for path in found:
            rows += lay_into(path, out, choices)
            tick(path.name)
    write_atomic(out / QUESTIONS, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    console.say(f"{len(rows)} questions about copies of {len(found)} videos: {out / QUESTIONS}")
    console.say(f"next: longvid run {console.path_text(out)} -m MODEL; the picture is on the run's page")


def video_files(places: Sequence[Path]) -> list[Path]:
    """The videos that are named, and those in named folders. Raises DataError for none, or two of one name."""
    from tasks.video_files import is_video_name

    found: dict[str, Path] = {}
    for place in places:
        inside = sorted(path for path in place.iterdir() if is_video_name(path)) if place.is_dir() else [place]
        if not inside:
            raise DataError(f"{place} holds no videos")
        for path in inside:
            if not path.is_file():
                raise DataError(f"there is no video {path}")
            if (other := found.setdefault(path.stem, path)) != path:
                raise DataError(f"{other} and {path} have one name: their copies would, too; rename one")
    return list(found.values())


def settings_of(name: str, choices: Copies) -> str:
    """The benchmark's settings as TOML."""
    told = {
        "name": name,
        "version": "1",
        "title": "Which drawing is shown for three seconds somewhere in the video",
        "cluster": "source video",
        "source": f"longvid needle, {choices.fps} frames a second, short side {choices.side}, seed {choices.seed}",
        "licence": "the videos' own",
    }
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in told.items())


def lay_into(path: Path, out: Path, choices: Copies) -> list[dict[str, object]]:
    """Write the copies of a video that are missing; the rows of the questions about all five. Raises a VideoError."""
    from encoders.video_file import probe
    from tasks.kitchen.needle import SECONDS, haystack, laid_out, lay_needles, video_frames
    from tasks.splice import encode, splice

    laid = lay_needles(f"own/{choices.seed}/{path.stem}", probe(path).duration)
    copies = {one: out / "videos" / f"{path.stem}-{one.depth + 1}.mp4" for one in laid}
    missing = [one for one in laid if not copies[one].is_file()]
    if missing:
        size, dish = copied_size(path, choices.side), haystack(0)
        with TemporaryDirectory(prefix="longvid-needle-") as temporary:
            whole = Path(temporary) / "whole.mp4"
            cuts = [cut for one in laid for cut in one.window(choices.fps).cuts]
            encode(resampled(path, choices.fps, size), choices.fps, whole, cuts)
            for one in missing:
                piece = list(video_frames(laid_out(one, dish, size, choices.fps)))
                splice(whole, one.window(choices.fps), piece, choices.fps, copies[one])
    return [row_of(path, copies[one], one, SECONDS) for one in laid]


def row_of(source: Path, copy: Path, laid: Needle, seconds: int) -> dict[str, object]:
    """A question about a copy, as `questions.jsonl` has it."""
    from tasks.kitchen.needle import DRAWN
    from tasks.labels import DEPTH, FIFTHS

    return {
        "id": copy.stem,
        "video": copy.name,
        "cluster": source.stem,
        "question": QUESTION,
        "options": [DRAWN[name] for name in laid.options],
        "answer": laid.answer,
        "labels": {DEPTH: FIFTHS[laid.depth], "event": DRAWN[laid.event]},
        "evidence": [[laid.start, laid.start + seconds]],
    }


def copied_size(path: Path, side: int) -> tuple[int, int]:
    """Height and width of the upright copies: those of the picture as it is shown, even, and at most `side` across."""
    from encoders.decode import kept_size
    from encoders.video_file import open_video, probe

    info = probe(path)
    with open_video(path) as video:
        shape = video.pixel_shape
    width, height = kept_size(info.width, info.height, 1 / shape if info.rotation % 180 else shape, None)
    scale = min(1.0, side / min(width, height))
    return max(2, round(height * scale / 2) * 2), max(2, round(width * scale / 2) * 2)


def resampled(path: Path, fps: int, size: tuple[int, int]) -> Iterator[VideoFrame]:
    """A video's pictures at `fps` a second, upright in (height, width): what is on screen at each moment."""
    from encoders.decode import frames_between
    from encoders.video_file import probe

    duration = probe(path).duration
    count, number = max(1, int(duration * fps)), 0
    shown: VideoFrame | None = None
    for second, frame in frames_between(path, 0.0, duration):
        while number < count and number / fps < second:
            yield upright(frame if shown is None else shown, size)
            number += 1
        shown = frame
    if shown is not None:
        last = upright(shown, size)
        for _ in range(number, count):
            yield last


def upright(frame: VideoFrame, size: tuple[int, int]) -> VideoFrame:
    """A frame turned upright, in (height, width), as the encoder takes it."""
    import av
    import numpy as np

    from encoders.video_file import quarter_turns

    height, width = size
    turns = quarter_turns(frame)
    if not turns:
        return frame.reformat(width=width, height=height, format="yuv420p")
    stored = (height, width) if turns % 2 == 0 else (width, height)
    pixels = frame.to_ndarray(format="rgb24", height=stored[0], width=stored[1])
    turned = np.ascontiguousarray(np.rot90(pixels, turns), dtype=np.uint8)
    return av.VideoFrame.from_ndarray(turned, format="rgb24")
