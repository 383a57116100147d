"""The Task API: items, a model's predictions, and their scores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from tasks.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STORED: Any = {"extra": "forbid", "allow_inf_nan": False}
"""How records are read into these classes: no unknown fields, no NaN."""
WALL_CLOCK: Mapping[str, Any] = {"json_schema_extra": {"x-wall-clock": True}}

JsonValue = str | int | float | bool | None | Sequence["JsonValue"] | Mapping[str, "JsonValue"]


@dataclass(frozen=True, slots=True)
class Clip:
    """A segment of a video in seconds, without its pixels.

    Attributes:
        video_id: the video's id in its benchmark.
        start: where the segment begins.
        end: where it ends; infinite for a whole video whose file and length are unknown.
        path: the video's file; None if it is missing.
        subtitles: the subtitle file, if the benchmark names one; it may be missing.
        subtitles_start: the video's start on that file's clock.
    """

    video_id: str
    start: float
    end: float
    path: Path | None = None
    subtitles: Path | None = None
    subtitles_start: float = 0.0

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start

    @property
    def known_duration(self) -> float:
        """Return the length in seconds. Raises DataError if it is unknown."""
        if isfinite(self.end):
            return self.duration
        msg = f"'{self.video_id}': the length of the video is unknown without its file, and is needed to cut it"
        raise DataError(msg)


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """The description of a task that a result carries, so that it can't be confused with another.

    `items_sha256` is the digest of the item set (see `item_set_digest`); `chance` is the expected
    value of the primary metric for a uniformly random answer.
    """

    __pydantic_config__: ClassVar[Any] = STORED

    name: str
    family: str
    version: str
    item_count: int
    items_sha256: str
    primary_metric: str
    chance: float
    cluster: str
    source: str
    licence: str
    citation: str


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Language-model tokens spent on one item; `cached` prompt tokens were not computed again."""

    __pydantic_config__: ClassVar[Any] = STORED

    prompt: int = 0
    cached: int = field(default=0, metadata=WALL_CLOCK)
    completion: int = 0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
        )


@dataclass(frozen=True, slots=True)
class FramesSeen:
    """How many frames a model saw, their time stamps (seconds), and the share of the clip that they span."""

    __pydantic_config__: ClassVar[Any] = STORED

    count: int
    seconds: tuple[float, ...] = ()
    share_of_clip: float | None = None


ANSWERED_BY = "answered_by"
"""The note with a model's name in its server's reply, if that is not the name asked for."""


@dataclass(frozen=True, slots=True)
class Trace:
    """How an answer was obtained: the prompt's digest, tokens, seconds by stage, frames, and notes."""

    prompt_sha256: str | None = None
    usage: TokenUsage = TokenUsage()
    seconds: Mapping[str, float] = field(default_factory=dict)
    frames: FramesSeen | None = None
    notes: Mapping[str, JsonValue] = field(default_factory=dict)


def seconds_together(traces: Iterable[Trace]) -> dict[str, float]:
    """Add up the seconds of several traces by stage."""
    total: dict[str, float] = {}
    for trace in traces:
        for stage, spent in trace.seconds.items():
            total[stage] = total.get(stage, 0.0) + spent
    return total


def busy_seconds(trace: Trace) -> float:
    """Return the seconds that an answer took its model, without concurrent decoding."""
    overlapped = trace.seconds.get("decode", 0.0) if "wait" in trace.seconds else 0.0
    return sum(trace.seconds.values()) - overlapped


class Item(Protocol):
    """One question, query or clip of a benchmark; `cluster` groups items of one source video.

    `labels` (kind of label to the item's) are for breakdowns; they don't affect the answer.
    """

    @property
    def id(self) -> str: ...
    @property
    def cluster(self) -> str: ...
    @property
    def clip(self) -> Clip: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's answer to one item.

    Attributes:
        item_id: the item.
        answer: a choice's index, a text, or None if the reply could not be parsed.
        raw: the model's own output, kept so that a record can be scored again without the model.
        rule: the parser's rule that applied.
        option_scores: the score of each option, if the route gives any.
        trace: frames, tokens and seconds that it took.
        vectors: the answer in retrieval, float32 [2, D]: the video's vector and the text's.
    """

    item_id: str
    answer: int | str | None
    raw: str = ""
    rule: str = ""
    option_scores: tuple[float, ...] = ()
    trace: Trace = field(default_factory=Trace)
    vectors: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one prediction.

    Attributes:
        item_id: the item.
        cluster: its cluster.
        answer: the answer that was scored.
        values: the item's value by metric name, None if it can't be known.
        vectors: float32 [2, D], passed on for figures over all items together.
    """

    item_id: str
    cluster: str
    answer: int | str | None
    values: Mapping[str, float | None]
    vectors: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


FIELD_NAMES = {"rouge l": "ROUGE-L", "cider d": "CIDEr-D", "meteor": "METEOR"}
BLEU = re.compile(r"\bbleu (\d)\b")


def figure_title(name: str) -> str:
    """A figure's name as it is read: `micro_cider_d` is "micro CIDEr-D"."""
    text = BLEU.sub(r"BLEU-\1", name.replace("_", " "))
    for ours, written in FIELD_NAMES.items():
        text = text.replace(ours, written)
    return text


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure with its uncertainty. `value` is None if it can't be known from public data."""

    __pydantic_config__: ClassVar[Any] = STORED

    name: str
    value: float | None
    interval: tuple[float, float] | None
    level: float
    method: str
    n: int
    clusters: int
    primary: bool
    higher_is_better: bool


# Below this many clusters neither the standard error nor the degrees of freedom are known well enough for any method:
# with unequal clusters the simulated coverage leaves 95 ± 1.5 % (88 to 99 % at four to eight).
FEW_CLUSTERS = 10
# How names of the first version of intervals begin.
_SUPERSEDED = ("cluster bootstrap", "paired cluster bootstrap", "wilson on clusters")


def superseded(method: str) -> bool:
    """Whether a recorded interval was made by a method that is no longer used: `score` makes it anew."""
    return method.startswith(_SUPERSEDED)


def few_clusters(clusters: int, cluster: str = "") -> str:
    """A warning about an interval over too few clusters; empty where there are enough."""
    if not 1 < clusters < FEW_CLUSTERS:
        return ""
    what = f" ({cluster})" if cluster else ""
    return f"only {clusters} clusters{what}: too few for any method, a 95 % interval over them may not hold its level"


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a set of scores.

    Attributes:
        metrics: the figures.
        details: further facts by name, such as how often each option was chosen.
        warnings: what a reader must know before trusting the figures.
    """

    metrics: tuple[Metric, ...]
    details: Mapping[str, JsonValue] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


ItemT = TypeVar("ItemT", bound=Item)


class Task(Protocol[ItemT]):
    """A benchmark with its pool. Only `predict` touches a model; the rest is pure."""

    @property
    def info(self) -> TaskInfo: ...

    def items(self) -> Sequence[ItemT]:
        """All items: unique ids, stable order."""
        ...

    def check(self, model: object) -> None:
        """Raise ModelError, naming what is missing, if the model can't do this task."""
        ...

    def protocol(self, model: object) -> Mapping[str, str]:
        """Return the route, prompt and parser by name, version and digest: what makes runs comparable."""
        ...

    def predict(self, model: object, batch: Sequence[ItemT]) -> list[Prediction]:
        """Ask the model; one prediction per item, in order."""
        ...

    def reread(self, item: ItemT, prediction: Prediction) -> Prediction:
        """Parse a recorded raw output again with the current parser."""
        ...

    def score(self, item: ItemT, prediction: Prediction) -> Score:
        """Score one prediction."""
        ...

    def summarise(self, scores: Sequence[Score], rng: np.random.Generator) -> Summary:
        """Compute corpus figures with intervals."""
        ...
