"""Runs on the items that all of them answered, from their records: no model is asked.

Choices and texts are read and scored again by the task; where its files are absent, recorded scores stand in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evals.clips import same_clip
from evals.compare.figures import UNPARSED, Captioned, Common, Means, Measured, Ranked
from evals.compare.record import Record
from evals.results import prediction_of
from tasks.caption_metrics.conventions import CaptionedItem, score_conventions, tokenised
from tasks.caption_metrics.figures import item_statistics
from tasks.caption_metrics.meteor import NotRun
from tasks.captioning import TOKENIZER, CaptioningTask
from tasks.errors import RecordError
from tasks.intervals import by_group, cluster_codes
from tasks.multiple_choice import MultipleChoiceTask
from tasks.ranks import DUPLICATE_AWARE, duplicate_aware, one_to_one, ranks_from_vectors
from tasks.retrieval import DIRECTIONS, PRIMARY, RetrievalTask
from tasks.task import Task
from tasks.tokenizers import tokenizer

NO_METEOR = NotRun("a comparison leaves METEOR out: its jar takes minutes")
SAME = 1e-9
ItemScores = Mapping[str, float | None]


def measure(records: Sequence[Record], task: Task[Any] | None) -> tuple[Common, list[Measured]]:
    """All runs on the items that each of them answered. Raises RecordError where there is none, or no way to score."""
    family = records[0].run.task.family
    if family == "retrieval":
        known = task if isinstance(task, RetrievalTask) else None
        common = common_items(records, [set(record.vectors) for record in records], known)
        return common, [ranked(record, common, known) for record in records]
    if isinstance(task, CaptioningTask):
        common = common_items(records, [set(record.samples) for record in records], task)
        return common, [captioned(record, common, task) for record in records]
    scores = [item_scores(record, task) for record in records]
    common = common_items(records, [set(values) for values in scores], task)
    return common, [means(record, values, common, task) for record, values in zip(records, scores, strict=True)]


def common_items(records: Sequence[Record], answered: Sequence[set[str]], task: Task[Any] | None) -> Common:
    """The items of all runs, in the task's order, else the first record's; about other clips they are other items."""
    shared = {key for key in set.intersection(*answered) if is_one_item(records, key)}
    order: Iterator[str] = (item.id for item in task.items()) if task else iter(records[0].samples)
    ids = tuple(key for key in order if key in shared)
    if not ids:
        raise RecordError(f"{' and '.join(record.name for record in records)} have no scored item in common")
    codes, count = cluster_codes([records[0].samples[key].cluster for key in ids])
    return Common(ids, codes, count)


def is_one_item(records: Sequence[Record], key: str) -> bool:
    """Whether all runs answered an id about the same stretch of the same file, as far as they tell."""
    first, *others = (record.samples[key].clip for record in records)
    return all(same_clip(first, other) for other in others)


def item_scores(record: Record, task: Task[Any] | None) -> dict[str, ItemScores]:
    """The scores of each item whose primary one is known: by the task, else as recorded."""
    primary = record.run.task.primary_metric
    if task is None:
        scores: dict[str, ItemScores] = {key: sample.scores for key, sample in record.samples.items()}
    else:
        answered = [item for item in task.items() if item.id in record.samples]
        read = {item.id: task.reread(item, prediction_of(record.samples[item.id])) for item in answered}
        scores = {item.id: task.score(item, read[item.id]).values for item in answered}
    known = {key: values for key, values in scores.items() if values.get(primary) is not None}
    if task is None:
        check_recorded(record, [values[primary] or 0.0 for values in known.values()])
    return known


def check_recorded(record: Record, values: Sequence[float]) -> None:
    """Raise RecordError where recorded scores are not those of results.json: replies were read again since."""
    told = record.results.primary.value if record.results else None
    if not values or (told is not None and abs(float(np.mean(values)) - told) > SAME):
        raise RecordError(
            f"{record.folder}: {record.run.task.primary_metric} can't be had from the record alone; name the "
            f"benchmark's files with --data"
        )


def means(record: Record, scores: Mapping[str, ItemScores], common: Common, task: Task[Any] | None) -> Means:
    """Choices: the primary figure, over items or a label's groups, and how many replies could not be read."""
    primary = record.run.task.primary_metric
    columns = {primary: primary}
    if all("unparsed" in scores[key] for key in common.ids):
        columns[UNPARSED] = "unparsed"
    values = {
        name: np.array([scores[key][column] for key in common.ids], dtype=np.float64)
        for name, column in columns.items()
    }
    groups = task.groups if isinstance(task, MultipleChoiceTask) else {}
    by = by_group(values[primary], common.codes, common.count, [groups[key] for key in common.ids]) if groups else None
    return Means(
        values=values[primary],
        sums={name: common.sums(column) for name, column in values.items()},
        sizes=common.sums(np.ones(len(common.ids))),
        binary=by is None and bool(np.isin(values[primary], (0.0, 1.0)).all()),
        grouped={primary: by[:2]} if by else {},
    )


def ranked(record: Record, common: Common, task: RetrievalTask | None) -> Ranked:
    """Retrieval: ranks among the common items by the family's own tie rule; an item's value is a hit at rank 1."""
    vectors = np.stack([record.vectors[key] for key in common.ids])
    strict = one_to_one(len(common.ids))
    truths = {"": strict}
    if task is not None:
        texts = {item.id: item.text for item in task.items()}
        truths[DUPLICATE_AWARE] = duplicate_aware(strict, [texts[key] for key in common.ids])
    ranks = {
        (direction, counting): ranks_from_vectors(vectors[:, query], vectors[:, gallery], truth)
        for counting, truth in truths.items()
        for direction, (query, gallery) in DIRECTIONS.items()
    }
    hits = next(ranks[direction, ""] == 1 for direction in DIRECTIONS if PRIMARY.startswith(direction))
    return Ranked(hits.astype(np.float64), ranks, common)


def captioned(record: Record, common: Common, task: CaptioningTask) -> Captioned:
    """Texts: every convention's statistics; an item's value is its CIDEr-D where that is primary, else its ROUGE-L."""
    items = {item.id: item for item in task.items()}
    tokenize = tokenizer(TOKENIZER)
    texts = []
    for key in common.ids:
        read = task.reread(items[key], prediction_of(record.samples[key]))
        texts.append(CaptionedItem(key, items[key].cluster, str(read.answer or ""), items[key].references))
    scored = score_conventions(texts, list(task.ask.conventions.values()), tokenize, NO_METEOR)
    sums = {prefix: scored[convention].sums for prefix, convention in task.ask.conventions.items()}
    statistics = item_statistics(tokenised(texts, tokenize))
    by_item = statistics.cider_d if task.info.primary_metric.endswith("cider_d") else statistics.rouge_l
    return Captioned(by_item, sums)
