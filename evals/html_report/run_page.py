"""One run as a page: its figure beside its floors, what it cost, where it is strong and weak, and every item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.captions import CaptionFile
from evals.breakdowns import breakdowns, sample_labels
from evals.html_report import sections
from evals.html_report.captions import CAPTIONS_DIGEST
from evals.html_report.cards import Budget, Card, make_cards, within_budget
from evals.html_report.items import OUTCOMES, item_view, worst_and_best
from evals.html_report.render import render
from evals.html_report.table import TableView, table_view
from evals.html_report.terms import terms
from evals.item_figures import item_figures
from evals.leaderboard.build import make_table, record_sha256
from evals.leaderboard.references import references
from evals.record import Results, Sample
from evals.results import prediction_of
from evals.store import RESULTS, read_results, read_samples
from evals.vector_store import Vectors, read_vectors
from tasks.errors import RecordError
from tasks.labels import labels_of
from tasks.registry import family_of
from tasks.task import Item, Task

CARDS = 6
HITS = 3


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What a run directory holds, and the results of runs on the same items that lie beside it."""

    results: Results
    samples: Mapping[str, Sample]
    vectors: Mapping[str, Vectors]
    neighbours: tuple[Results, ...] = ()


def read_run_files(folder: Path) -> RunFiles:
    """Everything a page needs from a run directory. Raises RecordError."""
    results, samples = read_results(folder), read_samples(folder)
    if sum(metric.primary for metric in results.metrics) != 1:
        msg = f"{folder / RESULTS} must have exactly one primary metric"
        raise RecordError(msg)
    return RunFiles(results, samples, read_vectors(folder, samples))


def run_page(files: RunFiles, task: Task[Any] | None = None, captions: CaptionFile | None = None) -> str:
    """The page. Without `task` (the benchmark's files are not at hand) it has no questions, texts or pictures."""
    results = files.results
    items: dict[str, Item] = {item.id: item for item in task.items()} if task is not None else {}
    samples = files.samples if task is None else reread(task, items, files)
    vectors = {key: files.vectors[key] for key in samples if key in files.vectors}
    family = family_of(results.task.family)
    figures = item_figures(results.task, samples, vectors)
    rankings = family.rank(vectors, HITS) if family.rank is not None and vectors else {}
    labels = {
        key: sample_labels(sample, labels_of(items[key]) if key in items else None) for key, sample in samples.items()
    }
    views = [item_view(s, items.get(key), figures, labels[key], rankings, family) for key, s in samples.items()]
    shown, left_out = within_budget(sorted(views, key=lambda view: view.worth))
    worst, best = worst_and_best(views, CARDS)
    budget = Budget()
    metric = sections.shown_metric(results)
    table = run_table(files)
    lowest = list(make_cards(worst, items, samples, captions, budget, family))
    highest = list(make_cards(best, items, samples, captions, budget, family))
    made = breakdowns(figures, samples, labels) if figures else []
    return render(
        "run.html.j2",
        results=results,
        metric=metric,
        headline="" if metric.value is None else family.unit(metric.name).number(metric.value),
        interval="" if metric.interval is None else "–".join(map(family.unit(metric.name).number, metric.interval)),
        view=table,
        leads=sections.leads(results, table, family),
        figures=sections.other_figures(results, family),
        breakdowns=sections.breakdown_views(made, figures, family),
        counts=sections.option_counts(results),
        stages=sections.stages(results),
        facts=sections.facts(results),
        worst=lowest,
        best=highest,
        no_pictures=no_pictures([*lowest, *highest]),
        items=shown,
        left_out=left_out,
        outcomes=[(o, sum(v.outcome == o for v in shown)) for o in OUTCOMES if any(v.outcome == o for v in shown)],
        has_items=bool(items),
        older=sections.differs(results, figures),
        terms=terms([results.task.family]),
        captions_read=captions is None or CAPTIONS_DIGEST in results.model.details,
    )


def no_pictures(cards: Sequence[Card]) -> str:
    """Why no card has pictures; empty where one has."""
    reasons = [card.strip.why_not for card in cards if not card.strip.frames]
    return next(iter(reasons), "") if len(reasons) == len(cards) else ""


def reread(task: Task[Any], items: Mapping[str, Item], files: RunFiles) -> dict[str, Sample]:
    """The task's samples in its order, read by today's parser, as `score` does; strangers are left out."""
    return {
        key: reread_sample(task, item, files.samples[key], files.vectors.get(key))
        for key, item in items.items()
        if key in files.samples
    }


def reread_sample(task: Task[Any], item: Item, sample: Sample, vectors: Vectors | None) -> Sample:
    """A sample with today's answer, rule and scores."""
    if sample.error is not None:
        return sample
    prediction = task.reread(item, prediction_of(sample, vectors))
    scores = dict(task.score(item, prediction).values)
    return sample.model_copy(update={"answer": prediction.answer, "rule": prediction.rule, "scores": scores})


def run_table(files: RunFiles) -> TableView:
    """The run beside its neighbours, its floors and what was published; a run that is not complete beside floors only.

    Whatever was got on other items would not compare.
    """
    own = record_sha256(files.results)
    runs, published = {own: files.results}, []
    if files.results.status == "complete":
        runs |= {record_sha256(results): results for results in files.neighbours}
        published = [row for row in references() if row.task == files.results.task.name]
    return table_view(make_table(runs, published), here=own)
