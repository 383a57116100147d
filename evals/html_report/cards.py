"""Items shown at length, and how many of them a page can hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from baselines.captions import CaptionFile
from evals.html_report.captions import CaptionLine, captions_of
from evals.html_report.frames import Strip, strip
from evals.html_report.items import REFERENCE, ItemView
from evals.html_report.text import clipped, page_bytes
from evals.record import Sample
from tasks.family import Family, ItemText
from tasks.task import Item

# Bytes for items as text, for captions and for pictures: with everything else a page stays under 5 MB.
ITEM_BUDGET, CAPTION_BUDGET, PICTURE_BUDGET = 2_600_000, 500_000, 1_300_000
CAPTION_MARKUP = 60
HIT_FRAMES = 2


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved item: its text, whether it is the right one, and pictures."""

    id: str
    text: str
    right: bool
    strip: Strip


@dataclass(frozen=True, slots=True)
class Card:
    """An item with its captions, its pictures and what was retrieved for it."""

    view: ItemView
    captions: tuple[CaptionLine, ...]
    strip: Strip
    hits: tuple[Hit, ...]


@dataclass(slots=True)
class Budget:
    """Bytes that are left for captions and for pictures."""

    captions: int = CAPTION_BUDGET
    pictures: int = PICTURE_BUDGET

    def admit_captions(self, lines: tuple[CaptionLine, ...]) -> tuple[CaptionLine, ...]:
        """The captions, or none where they would go past the budget."""
        size = sum(page_bytes(line.text) + CAPTION_MARKUP for line in lines)
        if size > self.captions:
            return ()
        self.captions -= size
        return lines

    def admit_strip(self, made: Strip) -> Strip:
        """The pictures, or why there are none."""
        if made.size > self.pictures:
            return Strip(why_not="left out to keep the page small")
        self.pictures -= made.size
        return made


def make_cards(
    views: Sequence[ItemView],
    items: Mapping[str, Item],
    samples: Mapping[str, Sample],
    captions: CaptionFile | None,
    budget: Budget,
    family: Family,
) -> Iterator[Card]:
    """The views at length, in order, until the budget is spent."""
    for view in views:
        sample, item = samples[view.key], items.get(view.key)
        seen = sample.frames.seconds if sample.frames else ()
        pictures = Strip() if item is None else budget.admit_strip(strip(item.clip, seen))
        lines = budget.admit_captions(captions_of(sample, item.clip if item else None, captions))
        hits = tuple(make_hit(key, view.key, items, budget, family) for key in view.hits)
        yield Card(view, lines, pictures, hits)


def make_hit(key: str, asked: str, items: Mapping[str, Item], budget: Budget, family: Family) -> Hit:
    """A retrieved item with two pictures: the middle alone may be a cut-away."""
    item = items.get(key)
    told = ItemText() if item is None else family.show(item)
    text = told.title or next(iter(told.references), "")
    picture = Strip() if item is None else budget.admit_strip(strip(item.clip, (), count=HIT_FRAMES))
    return Hit(clipped(key, REFERENCE), clipped(text, REFERENCE), key == asked, picture)


def within_budget(views: Sequence[ItemView], budget: int = ITEM_BUDGET) -> tuple[list[ItemView], int]:
    """The views that fit into a page, from both ends of their order, and how many were left out of its middle."""
    kept: set[int] = set()
    for step in range(len(views)):
        place = step // 2 if step % 2 == 0 else len(views) - 1 - step // 2
        budget -= views[place].size
        if budget < 0:
            break
        kept.add(place)
    return [view for place, view in enumerate(views) if place in kept], len(views) - len(kept)
