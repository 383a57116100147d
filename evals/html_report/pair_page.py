"""The page of two runs: the paired difference, and the same questions under both systems, grouped by who was right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from evals.compare.build import ends, p_text, signed
from evals.compare.formats import RUN_COLUMNS, remarks, run_cells, shown_differences
from evals.compare.record import Record
from evals.compare.rows import Comparison, Difference, Pair
from evals.figures import sample_labels
from evals.html_report.items import (
    Budget,
    CaptionLine,
    Frame,
    ItemView,
    Reel,
    Strip,
    admitted_reels,
    item_view,
    strip,
    within_budget,
)
from evals.html_report.render import render, terms
from evals.html_report.run_page import label_kinds, reread_sample
from evals.html_report.table import BAR_MARGIN, BAR_WIDTH
from evals.record import Sample
from tasks.family import Family, Unit
from tasks.labels import labels_of
from tasks.registry import family_of
from tasks.task import Item, Task, figure_title

FIRST, OTHER, BOTH, NEITHER, LEVEL = "only A right", "only B right", "both right", "both wrong", "level"
A_BETTER, B_BETTER = "A better", "B better"
ORDER = (OTHER, FIRST, B_BETTER, A_BETTER, NEITHER, BOTH, LEVEL)
STRIPS = 40
"""Our choice: the number of items with pictures, among those on which the runs differ."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A difference as positions on a bar whose middle is zero."""

    name: str
    text: str
    interval: str
    at: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairOption:
    """An option with who chose it."""

    letter: str
    text: str
    right: bool
    by_first: bool
    by_other: bool


@dataclass(frozen=True, slots=True)
class PairItem:
    """A question under both systems."""

    id: str
    outcome: str
    title: str
    options: tuple[PairOption, ...]
    references: tuple[str, ...]
    first: ItemView
    other: ItemView
    first_captions: tuple[CaptionLine, ...]
    other_captions: tuple[CaptionLine, ...]
    strip: Strip
    labels: Mapping[str, str]
    thumb: Frame | None = None
    reel: Reel | None = None

    @property
    def size(self) -> int:
        """About how many bytes it takes in a page."""
        return self.first.size + self.other.size

    @property
    def slug(self) -> str:
        """The outcome's CSS class, which contains no text of a record."""
        return {FIRST: "wrong", A_BETTER: "wrong", OTHER: "right", B_BETTER: "right"}.get(self.outcome, "level")


def pair_page(records: Sequence[Record], comparison: Comparison, task: Task[Any] | None) -> str:
    """Render the page of two runs and their comparison."""
    (pair,) = comparison.pairs
    family = family_of(comparison.family)
    items, left_out = pair_items(records, pair, task, family)
    counts = [(name, sum(item.outcome == name for item in items)) for name in ORDER]
    return render(
        "pair.html.j2",
        comparison=comparison,
        pair=pair,
        task_name=comparison.task,
        columns=RUN_COLUMNS,
        runs=run_cells(comparison, family),
        shifts=shifts(shown_differences(pair, family), family),
        middle=BAR_WIDTH / 2,
        test=p_text(pair.test),
        items=items,
        left_out=left_out,
        outcomes=[(name, count) for name, count in counts if count],
        has_items=task is not None,
        kinds=label_kinds(items),
        notes=remarks(comparison),
        terms=terms([comparison.family]),
    )


def shifts(rows: Sequence[Difference], family: Family) -> list[Shift]:
    """Place differences on bars; fractions share one scale so that their bars can be compared."""
    reach = max((abs(end) for row in rows for end in (row.difference, *(row.interval or ()))), default=0.0) or 1.0

    def place(value: float) -> float:
        return BAR_WIDTH / 2 + value / reach * (BAR_WIDTH / 2 - BAR_MARGIN)

    made = []
    for row in rows:
        unit: Unit = family.unit(row.name)
        low, high = row.interval or (row.difference, row.difference)
        interval = "" if row.interval is None else ends(row, unit)
        name = figure_title(row.name)
        made.append(Shift(name, signed(row.difference, unit), interval, place(row.difference), place(low), place(high)))
    return made


def pair_items(
    records: Sequence[Record], pair: Pair, task: Task[Any] | None, family: Family
) -> tuple[list[PairItem], int]:
    """The common items, those on which the runs differ first, and how many are left out to keep the page small.

    Room and pictures go to wins and losses in turn, then to ties.
    """
    items: dict[str, Item] = {} if task is None else {item.id: item for item in task.items()}
    budget, pictured = Budget(), 0
    wins, losses = set(pair.wins), set(pair.losses)

    def made(key: str) -> PairItem:
        nonlocal pictured
        item = items.get(key)
        samples = [again(record, key, item, task) for record in records]
        labels = sample_labels(samples[0], labels_of(item) if item is not None else None)
        views = [item_view(sample, item, None, labels, {}, family) for sample in samples]
        pictures = Strip()
        if item is not None and (key in wins or key in losses) and pictured < STRIPS:
            seen = next((sample.frames.seconds for sample in samples if sample.frames), ())
            pictures = budget.admit_strip(strip(item.clip, seen, evidence=getattr(item, "evidence", ())))
            pictured += bool(pictures.frames)
        read = [budget.admit_captions(view.captions) for view in views]
        outcome = outcome_of(samples, family, won=key in wins, lost=key in losses)
        return PairItem(
            views[0].id, outcome, views[0].title, tuple(options(*views)), views[0].references, views[0], views[1],
            read[0], read[1], pictures, views[0].labels,
        )  # fmt: skip

    apart = [key for two in zip_longest(pair.wins, pair.losses) for key in two if key is not None]
    kept = within_budget([*apart, *pair.ties], made)
    for key, reel in admitted_reels(list(kept), kept, items, budget).items():
        large = bool(kept[key].strip.frames)
        kept[key] = replace(kept[key], thumb=reel.thumb, reel=None if large else reel)
    order = (*pair.wins, *pair.losses, *pair.ties)
    return [kept[key] for key in order if key in kept], len(order) - len(kept)


def again(record: Record, key: str, item: Item | None, task: Task[Any] | None) -> Sample:
    """Parse a run's sample again with the current parser if the task is available."""
    sample = record.samples[key]
    return sample if item is None or task is None else reread_sample(task, item, sample, record.vectors.get(key))


def outcome_of(samples: Sequence[Sample], family: Family, *, won: bool, lost: bool) -> str:
    """Who was right, or where items are not right or wrong, who was better."""
    if not family.right_or_wrong and family.rank is None:
        return B_BETTER if won else A_BETTER if lost else LEVEL
    if won or lost:
        return OTHER if won else FIRST
    if family.rank is not None:
        return LEVEL
    return BOTH if any(value == 1 for value in samples[0].scores.values() if value is not None) else NEITHER


def options(first: ItemView, other: ItemView) -> Iterator[PairOption]:
    """Yield the options with who chose them."""
    for mine, theirs in zip(first.options, other.options, strict=True):
        yield PairOption(mine.letter, mine.text, mine.right, mine.chosen, theirs.chosen)
