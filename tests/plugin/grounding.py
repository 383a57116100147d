"""A family that longvid does not have, whole in one file: when does it happen? An interval, scored by its overlap."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tasks.family import Family, Floor, ItemText, Unit
from tasks.model import TextGenerator, TextRequest, require
from tasks.registry import Benchmark
from tasks.statistics import fraction_metric
from tasks.task import Clip, Metric, Prediction, Score, Summary, TaskInfo

INFO = TaskInfo(
    "moments@8", "temporal-grounding", "1", 8, "0" * 64, "mean_iou", 0.0, "video", "this file", "Apache-2.0", "none"
)
OFF = "mean_seconds_off"


@dataclass(frozen=True, slots=True)
class Moment:
    """An event of a clip, and when it begins and ends, in seconds."""

    id: str
    cluster: str
    clip: Clip
    event: str
    when: tuple[float, float]
    labels: Mapping[str, str] = field(default_factory=dict)


def read(reply: str) -> tuple[float, float] | None:
    """The two numbers of a reply such as "12.5 to 20 s"; None where there are not two, in order."""
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", reply)]
    return (numbers[0], numbers[1]) if len(numbers) == 2 and numbers[0] < numbers[1] else None


def overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Intersection over union of two intervals."""
    shared = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    return shared / (max(one[1], other[1]) - min(one[0], other[0]) if shared else 1.0)


class Grounding:
    """Eight moments of four videos."""

    info = INFO

    def __init__(self, folder: Path) -> None:
        clips = [Clip(f"v{n // 2}", 0.0, 60.0, folder / f"v{n // 2}.mp4") for n in range(8)]
        self._items = [
            Moment(f"m{n}", clip.video_id, clip, f"bell {n}", (5.0 * n, 5.0 * n + 10), {"half": "12"[n // 4]})
            for n, clip in enumerate(clips)
        ]

    def items(self) -> Sequence[Moment]:
        return self._items

    def check(self, model: object) -> None:
        require(model, TextGenerator, self.info.name, "to say when")

    def protocol(self, model: object) -> Mapping[str, str]:
        return {"route": "generate+parse"}

    def predict(self, model: TextGenerator, batch: Sequence[Moment]) -> list[Prediction]:
        asked = [TextRequest(m.id, m.clip, f"When does this happen, in seconds? {m.event}", 16) for m in batch]
        replies = model.generate(asked)
        return [
            self.reread(moment, Prediction(moment.id, None, reply.text, trace=reply.trace))
            for moment, reply in zip(batch, replies, strict=True)
        ]

    def reread(self, item: Moment, prediction: Prediction) -> Prediction:
        found = read(prediction.raw)
        return replace(prediction, answer=None if found is None else f"{found[0]:g}-{found[1]:g}", rule="two numbers")

    def score(self, item: Moment, prediction: Prediction) -> Score:
        found = read(prediction.raw)
        values = {
            "mean_iou": 0.0 if found is None else overlap(found, item.when),
            "seconds_off": None if found is None else abs(found[0] - item.when[0]),
            "unparsed": float(found is None),
        }
        return Score(item.id, item.cluster, prediction.answer, values)

    def summarise(self, scores: Sequence[Score], rng: np.random.Generator) -> Summary:
        clusters = [score.cluster for score in scores]
        overlaps = fraction_metric("mean_iou", [s.values["mean_iou"] or 0.0 for s in scores], clusters, primary=True)
        off = [value for score in scores if (value := score.values["seconds_off"]) is not None]
        seconds = Metric(OFF, float(np.mean(off)) if off else None, None, 0.95, "none", len(off), 4, False, False)
        return Summary((overlaps, seconds))


def whole_clip(task: Grounding, items: Sequence[Moment], seed: int) -> Iterator[Floor]:
    """What saying "all of it" gets."""
    scores = [task.score(m, Prediction(m.id, None, f"{m.clip.start:g} {m.clip.end:g}")) for m in items]
    metric, seconds = task.summarise(scores, np.random.default_rng(seed)).metrics
    yield Floor("whole clip", metric, (seconds,))


def words(item: Moment) -> ItemText:
    """The event, and when it happens."""
    return ItemText(title=item.event, references=(f"{item.when[0]:g} to {item.when[1]:g} s",))


FAMILY = Family(
    name=INFO.family,
    terms=(("overlap", "intersection over union of the interval that was named and the true one."),),
    beside={"mean_iou": (OFF,)},
    units={OFF: Unit(symbol="s", scale=1.0, digits=2, points=" s")},
    lower_is_better=(OFF,),
    show=words,
    floors=whole_clip,
)
BENCHMARK = Benchmark("moments", "Moments: when does it happen?", ("8",), lambda folder, pool: Grounding(folder))


class Early:
    """Always says the first ten seconds."""

    system = "text"

    def generate(self, requests: Sequence[TextRequest]) -> list[str]:
        return ["From 0 to 10 s." for _ in requests]
