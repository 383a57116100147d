"""What a family of tasks defines, so that other code need not ask which family a task belongs to.

Multiple choice, captioning and retrieval each end in a `FAMILY`; a package declares its own in the entry-point
group `longvid.families`. Everything but the name has a default: figures are fractions of 1 and means over items, an
item shows only its clip, predictions are a JSON file of replies that the task parses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

from tasks.errors import DataError
from tasks.files import read_object
from tasks.task import Item, JsonValue, Metric, Prediction, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tasks.statistics import Figures, Floats

IDS_SHOWN = 5
MISSPELT = "ids that differ from the benchmark's in upper and lower case or in spaces"
UNPARSED, UNPARSED_RATE = "unparsed", "unparsed_rate"
Vectors: TypeAlias = "NDArray[np.float32]"


@dataclass(frozen=True, slots=True)
class Unit:
    """How a figure is written: `scale` times its value with `digits`, then the symbol.

    Differences are in `points`, or plain numbers if that is empty. `trim` writes 3.0 as 3.
    """

    symbol: str = "%"
    scale: float = 100.0
    digits: int = 1
    points: str = " points"
    trim: bool = False

    def number(self, value: float) -> str:
        """Format the value without its symbol."""
        text = f"{self.scale * value:.{self.digits}f}"
        return text.removesuffix(".0") if self.trim else text

    def text(self, value: float) -> str:
        """Format the value with its symbol."""
        return f"{self.number(value)} {self.symbol}".rstrip()

    def amount(self, difference: float) -> str:
        """Format a difference without its sign."""
        return f"{self.scale * difference:.1f}{self.points}" if self.points else f"{self.scale * difference:.3g}"


PERCENT = Unit()
PLAIN = Unit(symbol="", scale=1.0, digits=3, points="")
RANK = Unit(symbol="", scale=1.0, points="", trim=True)


@dataclass(frozen=True, slots=True)
class ItemText:
    """An item in words: its question, its options with the right one's index, its references."""

    title: str = ""
    options: tuple[str, ...] = ()
    answer: int | None = None
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ranking:
    """The result of one direction of a retrieval run: per query its rank, and the ids that came first."""

    rank: Mapping[str, int]
    first: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Floor:
    """The score of a model that never looks on the answered items: the primary figure, and others."""

    name: str
    metric: Metric
    others: tuple[Metric, ...] = ()


@dataclass(frozen=True, slots=True)
class PredictionsFile:
    """A file of predictions made elsewhere, and how to read choices in it: see `longvid import --help`."""

    path: Path
    field: str | None = None
    invalid_as_wrong: bool = False
    allow_missing: bool = False


@dataclass(frozen=True, slots=True)
class Predictions:
    """A file's predictions: by item id the answer or why there is none, the ids that the task lacks, and notes."""

    answers: Mapping[str, Prediction | str]
    outside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answers:
    """A run's answers for comparisons, by item id: predictions and scores.

    If the benchmark's files are available, they are parsed and scored by the current code, else as recorded.
    """

    primary: str
    predictions: Mapping[str, Prediction]
    scores: Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True, slots=True)
class Common:
    """The items that all runs answered, in order, with their source videos numbered from 0 to `count`."""

    ids: tuple[str, ...]
    codes: NDArray[np.intp]
    count: int

    def sums(self, values: Floats) -> Floats:
        """Sum item values [N] by source video [K]."""
        import numpy as np

        return np.bincount(self.codes, weights=values, minlength=self.count).astype(np.float64)


class Measured(Protocol):
    """A run on the common items: `values` [N] of the primary figure by item, 0 or 1 where `binary`."""

    @property
    def values(self) -> Floats: ...
    @property
    def binary(self) -> bool: ...
    @property
    def resamples(self) -> int: ...
    def bounds(self, name: str) -> tuple[float, float]:
        """Return the range of a figure of this family."""
        ...

    def paired(self, other: Self) -> Figures:
        """Return figures for weights [R, 2K] over this run's source videos, then the other's."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """Figures that are means over items: `sums` [K] by name, of `sizes` [K] items, each between `low` and `high`.

    `grouped` holds figures that are means over groups of items: sums and sizes [G, K] of each.
    """

    values: Floats
    sums: Mapping[str, Floats]
    sizes: Floats
    low: float = 0.0
    high: float = 1.0
    resamples: int = 5_000
    grouped: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)

    @property
    def binary(self) -> bool:
        import numpy as np

        return not self.grouped and bool(np.isin(self.values, (0.0, 1.0)).all())

    def bounds(self, name: str) -> tuple[float, float]:  # noqa: ARG002 - all lie in one range
        return (self.low, self.high)

    def paired(self, other: Means) -> Figures:
        import numpy as np

        from tasks.statistics import group_means

        def figures(weights: Floats) -> Mapping[str, Floats]:
            items = weights @ np.concatenate([self.sizes, other.sizes])
            found = {
                name: weights @ np.concatenate([sums, other.sums[name]]) / items for name, sums in self.sums.items()
            }
            for name, (sums, sizes) in self.grouped.items():
                both = (
                    np.hstack([mine, theirs]) for mine, theirs in zip((sums, sizes), other.grouped[name], strict=True)
                )
                found[name] = group_means(weights, *both)
            return found

        return figures


def means(
    answers: Answers,
    common: Common,
    task: Task[Any] | None,  # noqa: ARG001 - scores are all it takes
    *,
    low: float = 0.0,
    high: float = 1.0,
    groups: Mapping[str, str] = MappingProxyType({}),
) -> Means:
    """Measure the primary figure as a mean of item scores from `low` to `high`, and the unparsed replies.

    `groups` holds the items' groups if the figure is the mean over them.
    """
    import numpy as np

    from tasks.statistics import by_group

    columns = {answers.primary: answers.primary}
    if all(UNPARSED in answers.scores[key] for key in common.ids):
        columns[UNPARSED_RATE] = UNPARSED
    values = {
        name: np.array([answers.scores[key][column] for key in common.ids], dtype=np.float64)
        for name, column in columns.items()
    }
    sums = {name: common.sums(column) for name, column in values.items()}
    grouped = {}
    if groups:
        of = [groups[key] for key in common.ids]
        grouped = {answers.primary: by_group(values[answers.primary], common.codes, common.count, of)[:2]}
    return Means(values[answers.primary], sums, common.sums(np.ones(len(common.ids))), low, high, grouped=grouped)


def no_text(item: object) -> ItemText:  # noqa: ARG001 - nothing is known of it
    """Describe an item of which only the clip is shown."""
    return ItemText()


def no_floors(task: object, items: Sequence[object], seed: int) -> Iterator[Floor]:  # noqa: ARG001 - there are none
    """No floors."""
    return iter(())


def never(details: Mapping[str, JsonValue]) -> str:  # noqa: ARG001 - there is one version
    """Return no reason: figures of this family are never outdated."""
    return ""


def read_replies(file: PredictionsFile, task: Task[Any], everything: Task[Any]) -> Predictions:  # noqa: ARG001
    """Read replies from JSON `{id: text}`, to be parsed by the task. Raises DataError naming the file."""
    refuse_choices(file)
    replies = read_object(file.path)
    known, outside = of_pool(file.path, task.items(), list(replies))
    items = {item.id: item for item in task.items()}
    answers: dict[str, Prediction | str] = {}
    for key in known:
        reply = replies[key]
        if not isinstance(reply, str):
            msg = f"predictions file {file.path}, '{key}': a reply must be a text, not {type(reply).__name__}"
            raise DataError(msg)
        answers[key] = task.reread(items[key], Prediction(key, None, reply))
    return Predictions(answers, outside)


def refuse_choices(file: PredictionsFile) -> None:
    """Raise DataError if options for choices were given for another kind of file."""
    if file.field or file.invalid_as_wrong:
        raise DataError("--field and --count-invalid-as-wrong are for choices between options")


def of_pool(path: Path, items: Sequence[Item], ids: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Split ids into the task's and others.

    Raises DataError if one of the task's is repeated or misspelt (see `misspelt`), or if there are none.
    """
    known = {item.id for item in items}
    outside = tuple(dict.fromkeys(key for key in ids if key not in known))
    inside = [key for key in ids if key in known]
    if wrong := misspelt(known, ids):
        raise DataError(refusal(path, MISSPELT, wrong))
    if not inside:
        raise DataError(refusal(path, "unknown ids and no known one", outside))
    repeated = sorted(key for key, times in Counter(inside).items() if times > 1)
    if repeated:
        raise DataError(refusal(path, "repeated ids", repeated))
    return inside, outside


def misspelt(known: Collection[str], ids: Iterable[str]) -> list[str]:
    """Return the unknown ids that would be known, and are not given, in other case or without spaces around them."""
    given = set(ids)
    lacking = {plain_id(key) for key in known if key not in given}
    return sorted(key for key in given.difference(known) if plain_id(key) in lacking)


def plain_id(key: str) -> str:
    """Return an id as people tell them apart."""
    return key.strip().casefold()


def refusal(path: Path, what: str, keys: Sequence[str]) -> str:
    """Say why a file is refused, with the first of the ids at fault."""
    more = " …" * (len(keys) > IDS_SHOWN)
    return f"predictions file {path} is refused: {len(keys)} {what}: {', '.join(keys[:IDS_SHOWN])}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The definition of a family of tasks; a task names its family in `TaskInfo.family`.

    Attributes:
        name: its name in tasks and records.
        terms: glossary of its pages.
        beside: by primary figure, the names of figures shown beside it in tables.
        units: by suffix of a figure's name, its unit; all others are fractions of 1, in percent.
        lower_is_better: suffixes of the names of figures for which lower is better.
        item_score: suffix of the name of the score that items are sorted and broken down by; if empty, the primary
            figure's name.
        right_or_wrong: whether that score is 0 or 1.
        needs_blind: whether figures say little without a blind run beside them.
        show: describes an item in words.
        read_predictions: reads a file of predictions for a task; the other task holds all the benchmark's items.
        floors: yields floors on a task's answered items, given a seed; `module:function` is imported late.
        measure: measures a run on the common items; `task` is None if the benchmark's files are missing.
        rank: for figures of vectors kept beside the record: rankings by direction, the primary's first, each with the
            given number of nearest items. Items then have no scores of their own.
        outdated: says from a record's details why its figures are by earlier code; empty if they are not.
        comparison_note: what readers of every comparison must know.
        source: the package that declares it.
    """

    name: str
    terms: tuple[tuple[str, str], ...] = ()
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)
    lower_is_better: tuple[str, ...] = ()
    item_score: str = ""
    right_or_wrong: bool = False
    needs_blind: bool = False
    show: Callable[[Any], ItemText] = no_text
    read_predictions: Callable[[PredictionsFile, Any, Any], Predictions] = read_replies
    floors: Callable[[Any, Sequence[Any], int], Iterator[Floor]] | str = no_floors
    measure: Callable[[Answers, Common, Any], Any] = means
    rank: Callable[[Mapping[str, Vectors], int], dict[str, Ranking]] | None = None
    outdated: Callable[[Mapping[str, JsonValue]], str] = never
    comparison_note: str = ""
    source: str = ""

    def unit(self, figure: str) -> Unit:
        """Return a figure's unit."""
        return next((unit for end, unit in self.units.items() if figure.endswith(end)), PERCENT)

    def is_lower_better(self, figure: str) -> bool:
        """Whether lower is better: ranks, errors, unparsed replies."""
        return figure.endswith((UNPARSED_RATE, *self.lower_is_better))
