"""`longvid needle VIDEO… -o FOLDER`: insert kitchen's brief events into your own videos and write a benchmark folder.

As in `kitchen-needle`, each video gives five copies. Each copy has one event, a different one in each fifth of the
video, and all five get the same question with the same options. A model that ignores the video scores exactly 20 %.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
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
    """How copies are made: frames per second, the shorter side's limit in pixels, and the seed of the events."""

    fps: int
    side: int
    seed: int


def needle(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO…", help="Video files, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The benchmark folder to write.")],
    name: Annotated[str | None, typer.Option(help="The benchmark's name; default: the folder's.")] = None,
    fps: Annotated[int, typer.Option(min=1, max=60, help="Frames per second of the copies.")] = 4,
    side: Annotated[int, typer.Option(min=32, help="Largest size in pixels of the copies' shorter side.")] = 360,
    seed: Annotated[int, typer.Option(help="Seed of the events and their positions.")] = 0,
) -> None:
    """Insert a drawing, shown for three seconds, into each fifth of your videos, and ask which drawing it was.

    The copies have no sound. The same command resumes an interrupted one.
    """
    from tasks.durable import write_atomic
    from tasks.folder import QUESTIONS, SETTINGS

    found = video_files(videos)
    choices = Copies(fps, side, seed)
    settings = settings_of(name or out.resolve().name, choices)
    if (out / SETTINGS).is_file() and (out / SETTINGS).read_text(encoding="utf-8") != settings:
        raise DataError(f"{out / SETTINGS} has another name, fps, side or seed: choose another --out")
    (out / "videos").mkdir(parents=True, exist_ok=True)
    write_atomic(out / SETTINGS, settings)
    rows = []
    with console.progress("videos", len(found), 0) as tick:
        for path in found:
            rows += lay_into(path, out, choices)
            tick(path.name)
    write_atomic(out / QUESTIONS, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    console.say(f"{len(rows)} questions about copies of {console.number_of(len(found), 'video')}: {out / QUESTIONS}")
    console.say(f"next: longvid run {quote(console.path_text(out))} -m MODEL; the run's page shows accuracy by depth")


def video_files(places: Sequence[Path]) -> list[Path]:
    """Return the given videos and those in given folders. Raises DataError if there are none or two have one name."""
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
                raise DataError(f"{other} and {path} have the same name, and so would their copies; rename one")
    return list(found.values())


def settings_of(name: str, choices: Copies) -> str:
    """Return the benchmark's settings as TOML."""
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
    """Write the missing copies of a video and return the questions about all five.

    Raises VideoError if the video can't be read, and DataError if it is too short.
    """
    from encoders.video_file import probe
    from tasks.kitchen.needle import SECONDS, haystack, laid_out, lay_needles, video_frames
    from tasks.splice import encode, splice

    duration = probe(path).duration
    try:
        laid = lay_needles(f"own/{choices.seed}/{path.stem}", duration)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
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
    """Return the question about a copy as a row of `questions.jsonl`."""
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
    """Return the even height and width of a video's copies: as displayed, the shorter side at most `side` pixels."""
    from encoders.decode import kept_size
    from encoders.video_file import open_video, probe

    info = probe(path)
    with open_video(path) as video:
        shape = video.pixel_shape
    width, height = kept_size(info.width, info.height, 1 / shape if info.rotation % 180 else shape, None)
    scale = min(1.0, side / min(width, height))
    return max(2, round(height * scale / 2) * 2), max(2, round(width * scale / 2) * 2)


def resampled(path: Path, fps: int, size: tuple[int, int]) -> Iterator[VideoFrame]:
    """Yield the frames on screen every 1/`fps` seconds, upright and scaled to `size` (height, width)."""
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
    """Return a frame turned upright and scaled to `size` (height, width)."""
    import av
    import numpy as np

    from encoders.video_file import Placing, placing

    height, width = size
    placed = placing(frame)
    if placed == Placing():
        return frame.reformat(width=width, height=height, format="yuv420p")
    stored = (width, height) if placed.transposed else (height, width)
    pixels = np.asarray(frame.to_ndarray(format="rgb24", height=stored[0], width=stored[1]), dtype=np.uint8)
    turned = np.ascontiguousarray(placed.upright(pixels))
    return av.VideoFrame.from_ndarray(turned, format="rgb24")
