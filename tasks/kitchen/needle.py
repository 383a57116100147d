"""`kitchen-needle` (ours): a question about one event of three seconds somewhere in a long video.

A video of 2 to 60 minutes shows a dish being cooked in long steps, without brief events. Five copies are made of it.
Each has one event, a different one in each fifth of the video, at a uniformly random time. All five get the same
question with the same options, the five events in a fixed order. Each option is therefore right once, and a model that
ignores the video scores exactly 20 % on the five.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks.errors import DataError
from tasks.kitchen.benchmark import PROMPTS, require_pinned, task_info
from tasks.kitchen.benchmark import benchmark as kitchen_benchmark
from tasks.kitchen.files import SUMS, Made, is_whole, read_sums, side_by_side, write_once, write_sums
from tasks.kitchen.plan import Event, Plan, Sequel, ingredient_order, long_steps, make_recipe, stretched
from tasks.kitchen.render import CLOSE, SIDE, Pictures, render
from tasks.kitchen.world import ACCENTS, DEFAULT, SIGNALS, VERSION, Kind
from tasks.labels import DEPTH, FIFTHS, LENGTH
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask, question_set_digest
from tasks.registry import Benchmark, Generated
from tasks.splice import Window, encode, splice
from tasks.task import Clip
from tasks.video_files import VIDEOS, video_path

if TYPE_CHECKING:
    from av import VideoFrame

MINUTES = (2, 5, 10, 20, 60)
"""Lengths of the videos (our choice)."""
DISHES, DEPTHS = 20, 5
"""Number of dishes of each length, and of equal parts of a video that get an event."""
SECONDS = 3
"""Length of an event, as of kitchen's other brief events."""
SHORTEST = DEPTHS * (SECONDS + 1)
FIRST_FAMILY = 1_000
"""Index of the first recipe in the test split; kitchen's other benchmarks show none of these recipes."""
EVENTS: Mapping[str, str] = MappingProxyType({**{name: a.sentence for name, a in ACCENTS.items()}, **SIGNALS})
"""The events that can be inserted, with their sentences."""
QUESTION = "Which of these happens in the video?"
DRAWN: Mapping[str, str] = MappingProxyType(
    {
        "bell": "a bell",
        "flame": "a flame",
        "honey": "a jar of honey",
        "lid": "a lid",
        "paprika": "a jar of paprika",
        "parsley": "a sprig of parsley",
        "salt": "a salt shaker",
        "stir": "a wooden spoon",
        "tap": "a ladle",
    }
)
"""What the drawings of the events show, in words that do not assume a kitchen."""
NEEDLES = "needles.json"
PICTURES_KEPT = 2_000
PER_LENGTH = DISHES * DEPTHS
POOLS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "400": (400, "782734b20833900893c2d105b352a4a4f811928d81d6a1f37d7e76af7eaf6a12"),
        "500": (500, "5663f5e291bdfb32a87f07f7fb1b457033245cbf18a6e7dcff0297dadc79001c"),
        "100": (100, "a6285074858542019e149de24a56b9850d606ae4ce8b0b60e3ffe59914037263"),
    }
)
"""Number of items and their digest by pool. The shortest videos come first, so each pool is part of the larger ones."""


@dataclass(frozen=True, slots=True)
class Needle:
    """An event inserted at second `start`, in one fifth of a video (`depth`, from 0), and the question's options."""

    depth: int
    start: int
    event: str
    options: tuple[str, ...]

    def window(self, fps: int = DEFAULT.fps) -> Window:
        """Return the frames that show the event in a video of `fps` frames per second."""
        return Window(self.start * fps, SECONDS * fps)

    @property
    def answer(self) -> int:
        """The right option's index."""
        return self.options.index(self.event)


def kind_of(event: str) -> Kind:
    """Return the kind of one of `EVENTS`."""
    return "accent" if event in ACCENTS else "signal"


def lay_needles(seed: str, duration: float) -> tuple[Needle, ...]:
    """Draw five events, and a time for each in its fifth of a video of `duration` seconds.

    Raises DataError for a video whose fifths are too short.
    """
    if duration < SHORTEST:
        raise DataError(f"a video for needles must last at least {SHORTEST} s, not {duration:.1f} s")
    fifth = duration / DEPTHS
    rng = Random(f"{VERSION}/needle/{seed}")
    options = tuple(rng.sample(sorted(EVENTS), DEPTHS))
    events = rng.sample(options, DEPTHS)
    # Whole seconds, so that the piece begins with a frame.
    starts = [ceil(depth * fifth) + rng.randrange(int(fifth) - SECONDS) for depth in range(DEPTHS)]
    return tuple(Needle(*needle, options) for needle in zip(range(DEPTHS), starts, events, strict=True))


def haystack(number: int) -> Plan:
    """Plan the video of a dish, by its number, without brief events; the shortest videos come first."""
    length, dish = divmod(number, DISHES)
    minutes = MINUTES[length]
    name = f"kitchen-needle-{minutes}min-{dish:02d}"
    rng = Random(f"{VERSION}/{name}")
    recipe = make_recipe("test", FIRST_FAMILY + number, DEFAULT)
    steps = long_steps(recipe, ingredient_order(rng, len(recipe.ingredients), 0), rng)
    steps += [Sequel("outcome", recipe.outcome), Sequel("finish", recipe.finish)]
    duration, end, events = 60.0 * minutes, 0.0, []
    for step, seconds in zip(steps, stretched(steps, duration, rng, DEFAULT), strict=True):
        start, end = end, end + seconds
        events.append(Event(step.kind, step.what, step.how, round(start, 2), round(end, 2), rng.random() < 0.5))
    return Plan(name, "test", number, name, duration, recipe, tuple(events), DEFAULT)


def needles(plan: Plan) -> tuple[Needle, ...]:
    """Return the needles of a haystack."""
    return lay_needles(plan.id, plan.duration)


def needle_pictures(needle: Needle, plan: Plan, size: int, fps: int = DEFAULT.fps) -> NDArray[np.uint8]:
    """Render the event's frames at `fps` per second, uint8 [T, size, size, 3], with the vessel of the plan's dish."""
    end = needle.start + SECONDS
    event = Event(kind_of(needle.event), needle.event, "", float(needle.start), float(end), mirrored=False)
    window = needle.window(fps)
    seconds = [number / fps for number in range(window.first, window.first + window.count)]
    shown = replace(plan, events=(event,), duration=max(plan.duration, float(end)))
    return render(shown, seconds, size)


def laid_out(needle: Needle, plan: Plan, size: tuple[int, int], fps: int) -> NDArray[np.uint8]:
    """Render the event's frames centred in frames of `size` (height, width), on its background colour."""
    height, width = size
    side = min(size)
    pictures = needle_pictures(needle, plan, side, fps)
    frames = np.empty((len(pictures), height, width, 3), dtype=np.uint8)
    frames[...] = CLOSE[needle.event]
    top, left = (height - side) // 2, (width - side) // 2
    frames[:, top : top + side, left : left + side] = pictures
    return frames


def video_frames(pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> Iterator[VideoFrame]:
    """Yield pictures as the frames that the encoder takes."""
    import av

    for picture in pictures:
        yield av.VideoFrame.from_ndarray(picture, format="rgb24")


def haystack_frames(plan: Plan) -> Iterator[VideoFrame]:
    """Yield a haystack's frames, rendered a few at a time, so that memory use does not grow with the video's length."""
    kept, fps = Pictures(PICTURES_KEPT), plan.config.fps
    count = int(plan.duration * fps)
    for first in range(0, count, fps * SECONDS):
        seconds = [number / fps for number in range(first, min(first + fps * SECONDS, count))]
        yield from video_frames(render(plan, seconds, SIDE, kept))


def needle_id(plan: Plan, needle: Needle) -> str:
    """Return the id of the video with the needle, which is also the id of the question about it."""
    return f"{plan.id}-{needle.depth + 1}"


def write_copies(folder: Path, number: int, depths: Sequence[int]) -> list[Path]:
    """Write the copies of one haystack with the needles at `depths`. Return their paths."""
    plan = haystack(number)
    wanted = [needle for needle in needles(plan) if needle.depth in depths]
    (folder / VIDEOS).mkdir(parents=True, exist_ok=True)
    paths = []
    with TemporaryDirectory(prefix="longvid-needle-") as temporary:
        whole, fps = Path(temporary) / "whole.mp4", plan.config.fps
        encode(haystack_frames(plan), fps, whole, [cut for needle in needles(plan) for cut in needle.window().cuts])
        for needle in wanted:
            path = folder / VIDEOS / f"{needle_id(plan, needle)}.mp4"
            piece = list(video_frames(needle_pictures(needle, plan, SIDE)))
            splice(whole, needle.window(), piece, fps, path)
            paths.append(path)
    return paths


def generate(folder: Path, videos: Sequence[int]) -> Iterator[Made]:
    """Write the list of needles, and make those of `videos` (by index) that are missing or damaged.

    Raises DataError if the folder holds needles of another world; these are not overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_once(folder / NEEDLES, json.dumps(needle_rows(), indent=1) + "\n")
    known = read_sums(folder / SUMS)
    names = {video: f"{VIDEOS}/{item.id}.mp4" for video, item in enumerate(choice_items(folder)) if video in videos}
    missing = [video for video, name in names.items() if not is_whole(folder / name, known.get(name))]
    work: dict[int, list[int]] = {}
    for video in missing:
        work.setdefault(video // DEPTHS, []).append(video % DEPTHS)
    written = side_by_side(partial(write_all, folder), list(work.items()))
    done: set[str] = set()
    for video, name in names.items():
        if video in missing and name not in done:
            for path, digest in next(written):
                known[path] = digest
                done.add(path)
            write_sums(folder / SUMS, known)
        yield Made(folder / name, video in missing)


def write_all(folder: Path, work: tuple[int, Sequence[int]]) -> list[tuple[str, str]]:
    """Write a haystack's copies. Return the names and digests of the files."""
    from tasks.digests import file_sha256

    return [(f"{VIDEOS}/{path.name}", file_sha256(path)) for path in write_copies(folder, *work)]


def needle_rows() -> list[dict[str, object]]:
    """Return each video's event, time and question, one row per video."""
    return [
        {
            "id": needle_id(plan, needle),
            "seconds": plan.duration,
            "depth": FIFTHS[needle.depth],
            "start": needle.start,
            "end": needle.start + SECONDS,
            "options": [EVENTS[name] for name in needle.options],
            "answer": needle.answer,
        }
        for plan in map(haystack, range(len(MINUTES) * DISHES))
        for needle in needles(plan)
    ]


def choice_items(folder: Path) -> list[ChoiceItem]:
    """Return all questions, those about the shortest videos first."""
    return [
        ChoiceItem(
            id=key,
            cluster=plan.family,
            clip=Clip(key, 0.0, plan.duration, video_path(folder, key)),
            question=QUESTION,
            options=tuple(EVENTS[name] for name in needle.options),
            answer=needle.answer,
            labels={
                DEPTH: FIFTHS[needle.depth],
                LENGTH: f"{plan.duration / 60:.0f} min",
                "event": EVENTS[needle.event],
            },
            evidence=((float(needle.start), float(needle.start + SECONDS)),),
        )
        for plan in map(haystack, range(len(MINUTES) * DISHES))
        for needle in needles(plan)
        if (key := needle_id(plan, needle))
    ]


def load(folder: Path, pool: str = "400") -> MultipleChoiceTask:
    """Build the task of a pool. Raises DataError if its questions are not the pinned ones."""
    count, digest = POOLS[pool]
    items = choice_items(folder)[:count]
    info = task_info(f"kitchen-needle@{pool}", "multiple-choice", "accuracy", 1 / DEPTHS, "dish", (count, digest))
    require_pinned(info, len(items), question_set_digest(items))
    return MultipleChoiceTask(info, items, PROMPTS)


BENCHMARK: Benchmark = replace(
    kitchen_benchmark(
        "kitchen-needle",
        "Kitchen: which event of three seconds happens somewhere in a video of 2 to 60 minutes",
        load,
        {pool: f"kitchen-needle@{pool}" for pool in POOLS},
        "--model blind -M llm=smollm2",
        "choices.csv",
    ),
    folder="kitchen/needle",
    everything="500",
    video_gigabytes=0.63,
    videos="The videos are in {folder}/videos, their events and times in {folder}/needles.json.",
    generated=Generated(
        "tasks.kitchen.needle:generate", {pool: range(count) for pool, (count, _) in POOLS.items()}, NEEDLES
    ),
)
