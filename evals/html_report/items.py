"""A run's items as a page shows them: what was asked, what came back, how it was read, and what it was worth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from evals.html_report.text import clipped, page_bytes
from evals.html_report.units import seconds
from evals.item_figures import ItemFigures
from evals.record import Sample
from tasks.family import Family, ItemText, Ranking
from tasks.multiple_choice import option_names
from tasks.task import Item

TEXT, OPTION, RAW, REFERENCE, NOTES = 600, 700, 1_500, 2_000, 600
RIGHT, WRONG, UNREAD, FAILED, SCORED, UNKNOWN = "right", "wrong", "unread", "failed", "scored", "not public"
OUTCOMES = (WRONG, UNREAD, RIGHT, SCORED, UNKNOWN, FAILED)
MARKUP_BYTES = 700  # what an item's tags take beside its texts, about


@dataclass(frozen=True, slots=True)
class OptionView:
    """One option of a question."""

    letter: str
    text: str
    chosen: bool
    right: bool
    score: str


@dataclass(frozen=True, slots=True)
class ItemView:
    """One item. `key` is its id as recorded; `worth` sorts: the lower, the worse; `figure` is what it scored."""

    key: str
    id: str
    outcome: str
    worth: float
    title: str
    figure: str
    options: tuple[OptionView, ...] = ()
    references: tuple[str, ...] = ()
    answer: str = ""
    raw: str = ""
    rule: str = ""
    error: str = ""
    hits: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    facts: tuple[tuple[str, str], ...] = ()
    notes: str = ""

    @property
    def size(self) -> int:
        """About how many bytes it takes in a page."""
        options = (text for option in self.options for text in (option.text, option.score))
        labels = (text for pair in self.labels.items() for text in pair)
        texts = (self.id, self.title, self.answer, self.raw, self.error, self.notes, *self.references)
        return MARKUP_BYTES + page_bytes(*texts, *options, *labels, *(text for pair in self.facts for text in pair))


def item_view(
    sample: Sample,
    item: Item | None,
    figures: ItemFigures | None,
    labels: Mapping[str, str],
    rankings: Mapping[str, Ranking],
    family: Family,
) -> ItemView:
    """An item with whatever is known of it; `item` is None where the benchmark's files are not at hand."""
    told = ItemText() if item is None else family.show(item)
    value = figures.values.get(sample.id) if figures else None
    outcome = outcome_of(sample, figures, value)
    chosen = sample.answer if isinstance(sample.answer, int) else None
    options = option_views(sample, told, chosen)
    given = chosen is None or not options
    ranks = {name: ranking.rank[sample.id] for name, ranking in rankings.items() if sample.id in ranking.rank}
    figure = ", ".join(f"{name.replace('_', ' ')}: rank {rank:,}" for name, rank in ranks.items())
    if not figure and value is not None and figures is not None and outcome == SCORED:
        figure = f"{figures.name.replace('_', ' ')} {family.unit(figures.name).text(value)}"
    return ItemView(
        key=sample.id,
        id=clipped(sample.id, OPTION),
        outcome=outcome,
        worth=worth_of(sample, told, value, ranks),
        title=clipped(told.title, TEXT),
        figure=figure,
        options=options,
        references=tuple(clipped(text, REFERENCE) for text in told.references),
        answer=clipped(sample.answer, REFERENCE) if given and sample.answer is not None else "",
        raw=clipped(sample.raw, RAW) if sample.raw and sample.raw != str(sample.answer) else "",
        rule=clipped(sample.rule, OPTION),
        error=clipped(f"{sample.error.kind}: {sample.error.message}", RAW) if sample.error else "",
        hits=next((ranking.first.get(sample.id, ()) for ranking in rankings.values()), ()),
        labels={clipped(kind, 60): clipped(label, 60) for kind, label in list(labels.items())[:8]},
        facts=facts_of(sample, item),
        notes=clipped(json.dumps(sample.notes, ensure_ascii=False), NOTES) if sample.notes else "",
    )


def outcome_of(sample: Sample, figures: ItemFigures | None, value: float | None) -> str:
    """How an item came out, in one of `OUTCOMES`."""
    if sample.error is not None:
        return FAILED
    if sample.scores.get("unparsed"):
        return UNREAD
    if figures is None or value is None:
        return UNKNOWN
    if figures.right_or_wrong:
        return RIGHT if value else WRONG
    return SCORED


def worth_of(sample: Sample, told: ItemText, value: float | None, ranks: Mapping[str, int]) -> float:
    """What items are sorted by (ours): a rank, a score, or by how much the right option led or trailed.

    Where options have scores, the model's own certainty tells a near miss from a blunder. Failed items and
    those that nothing is known of stand in the middle of nothing: they are sorted by themselves.
    """
    if ranks:
        return -float(next(iter(ranks.values())))
    scores = sample.option_scores
    if told.answer is not None and 1 < len(scores) == len(told.options):
        return scores[told.answer] - max(s for place, s in enumerate(scores) if place != told.answer)
    return value if value is not None else 0.0


def option_views(sample: Sample, told: ItemText, chosen: int | None) -> tuple[OptionView, ...]:
    """The options with the model's scores, the chosen one and the right one."""
    scores = sample.option_scores if len(sample.option_scores) == len(told.options) else None
    return tuple(
        OptionView(
            letter=letter,
            text=clipped(text, OPTION),
            chosen=place == chosen,
            right=place == told.answer,
            score="" if scores is None else f"{scores[place]:.2f}".replace("-", "−"),
        )
        for place, (letter, text) in enumerate(zip(option_names(len(told.options)), told.options, strict=True))
    )


def facts_of(sample: Sample, item: Item | None) -> tuple[tuple[str, str], ...]:
    """What is known of the clip and of the work, in a few words each."""
    facts = []
    if item is not None:
        clip = item.clip
        name = "" if clip.video_id in {sample.id, sample.cluster} else f"{clipped(clip.video_id, 80)}, "
        ends = f"{clip.start:.0f}–{clip.end:.0f} s" if isfinite(clip.end) else "the whole video"
        facts.append(("clip", f"{name}{ends}"))
    if sample.cluster != sample.id:
        facts.append(("source video", clipped(sample.cluster, 80)))
    if sample.frames is not None:
        share = sample.frames.share_of_clip
        facts.append(
            ("frames", f"{sample.frames.count}{'' if share is None else f', {100 * share:.0f} % of the clip'}")
        )
    if sample.tokens.prompt or sample.tokens.completion:
        facts.append(("tokens", f"{sample.tokens.prompt:,} read, {sample.tokens.completion:,} written"))
    total = sample.seconds.get("total")
    if total is not None:
        facts.append(("time", seconds(total)))
    if sample.prompt_sha256:
        facts.append(("prompt", sample.prompt_sha256[:12]))
    return tuple(facts)


def worst_and_best(views: Sequence[ItemView], count: int) -> tuple[list[ItemView], list[ItemView]]:
    """`count` of each, the most telling first; failed and unknown items are in neither."""
    judged = sorted((v for v in views if v.outcome not in {FAILED, UNKNOWN}), key=lambda view: view.worth)
    half = len(judged) // 2
    worst = [view for view in judged[: min(count, half)] if view.outcome != RIGHT]
    best = [view for view in judged[::-1][: min(count, half)] if view.outcome not in {WRONG, UNREAD}]
    return worst, best
