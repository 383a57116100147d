"""The three conventions for scoring captions of segments, with the names used in results.

`micro`: all segments are one corpus. `macro`: each video is its own corpus (its own idf, so that a
video of one segment has CIDEr-D 0), then videos are averaged. `paragraph`: a video's segments are
joined in order, and paragraphs are the corpus. Their figures for the same captions differ by up to a third.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tasks.caption_metrics.meteor import MeteorJar, NotRun, meteor_score, meteor_statistics
from tasks.caption_metrics.ngrams import Corpus, Floats, Ints, Tokens, bleu, bleu_counts, cider_d, ngram_table, rouge_l
from tasks.errors import DataError
from tasks.tokenizers import Tokenize, is_unsplit

BLEU_NAMES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")
METRIC_NAMES = (*BLEU_NAMES, "rouge_l", "cider_d", "meteor")
HIGHEST_CIDER_D = 10.0
# Stored in results. Version 2: METEOR adds no chunk for captions that match completely.
METRICS_VERSION = "2"


@dataclass(frozen=True, slots=True)
class ItemStatistics:
    """Sufficient statistics of N items: BLEU counts [N, 10], ROUGE-L [N], CIDEr-D [N], METEOR [N, 23].

    `meteor` is None when the jar was not run.
    """

    bleu: Ints
    rouge_l: Floats
    cider_d: Floats
    meteor: Floats | None


@dataclass(frozen=True, slots=True)
class ClusterSums:
    """The sums that figures need for each of K clusters: `counted` items [K], `means` sums [K] by metric.

    `bleu` [K, 10] and `meteor` [K, 23] are None where the metric is itself a mean or was not run.
    """

    counted: Floats
    means: Mapping[str, Floats]
    bleu: Floats | None = None
    meteor: Floats | None = None

    def figures(self, weights: NDArray[np.floating] | None = None) -> dict[str, Floats]:
        """Return figures float64 [R] by metric name for cluster weights [R, K]; of the full set, [1], if None."""
        shares = np.ones((1, len(self.counted))) if weights is None else np.asarray(weights, dtype=np.float64)
        values: dict[str, Floats] = {}
        if self.bleu is not None:
            values.update(zip(BLEU_NAMES, bleu(shares @ self.bleu).T, strict=True))
        counted = shares @ self.counted
        values.update({name: shares @ sums / counted for name, sums in self.means.items()})
        if self.meteor is not None:
            values["meteor"] = meteor_score(shares @ self.meteor)
        return {name: values[name] for name in METRIC_NAMES if name in values}


def figure_bounds(name: str) -> tuple[float, float]:
    """Return the range of a caption figure, by its name with or without a convention."""
    return (0.0, HIGHEST_CIDER_D) if name.endswith("cider_d") else (0.0, 1.0)


def item_statistics(corpus: Corpus, meteor: Floats | None = None, groups: Ints | None = None) -> ItemStatistics:
    """Return statistics of every item; `meteor` [N, 23] is the jar's; `groups` int64 [N] share CIDEr-D's idf."""
    table = ngram_table(corpus)
    return ItemStatistics(
        bleu=bleu_counts(table),
        rouge_l=rouge_l(corpus),
        cider_d=cider_d(table, groups),
        meteor=meteor,
    )


def summed(statistics: ItemStatistics, clusters: Ints) -> ClusterSums:
    """Sum statistics by cluster (int64 [N], numbered from 0): all items are one corpus."""
    return ClusterSums(
        counted=np.bincount(clusters).astype(np.float64),
        means={
            "rouge_l": _sum_rows(statistics.rouge_l[:, None], clusters)[:, 0],
            "cider_d": _sum_rows(statistics.cider_d[:, None], clusters)[:, 0],
        },
        bleu=_sum_rows(statistics.bleu, clusters),
        meteor=None if statistics.meteor is None else _sum_rows(statistics.meteor, clusters),
    )


def averaged(statistics: ItemStatistics, clusters: Ints) -> ClusterSums:
    """Make each cluster a corpus of its own, to be averaged: every metric becomes a mean over clusters.

    The statistics' CIDEr-D must have been computed with `clusters` as its groups.
    """
    by_cluster = summed(statistics, clusters)
    one_each = by_cluster.figures(np.eye(len(by_cluster.counted)))
    return ClusterSums(counted=np.ones(len(by_cluster.counted)), means=one_each)


def _sum_rows(rows: Ints | Floats, clusters: Ints) -> Floats:
    sums = np.zeros((int(clusters.max(initial=-1)) + 1, rows.shape[1]))
    np.add.at(sums, clusters, rows)
    return sums


ConventionName = Literal["micro", "macro", "paragraph"]
# what a convention scores: single segments, or a video's segments joined
Unit = Literal["segment", "paragraph"]


@dataclass(frozen=True, slots=True)
class CaptionedItem:
    """A caption with its references; `cluster` is the source video, whose items are in order."""

    id: str
    cluster: str
    hypothesis: str
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaptionScores:
    """Figures of one convention.

    `values` has every metric's name (None: not run, see `meteor_not_run`); `clusters` names the
    columns of weights of `sums.figures`; `corpus_items` counts captions or paragraphs; `warnings` say which
    texts count 0, and when CIDEr-D is 0 by definition.
    """

    convention: ConventionName
    values: dict[str, float | None]
    clusters: tuple[str, ...]
    corpus_items: int
    meteor_not_run: str | None
    sums: ClusterSums
    warnings: tuple[str, ...] = ()


def score_captions(
    items: Sequence[CaptionedItem], convention: str, tokenize: Tokenize, meteor: MeteorJar | NotRun
) -> CaptionScores:
    """Score `items` under one convention; raises DataError for no items, repeated ids or an unknown convention."""
    return score_conventions(items, [convention], tokenize, meteor)[convention]


def score_conventions(
    items: Sequence[CaptionedItem], conventions: Sequence[str], tokenize: Tokenize, meteor: MeteorJar | NotRun
) -> dict[str, CaptionScores]:
    """Score `items` under each convention, tokenising each text once and starting the jar once.

    Raises DataError as `score_captions` does.
    """
    names = [_known(convention) for convention in conventions]
    if not items:
        raise DataError("no captions to score: the list of items is empty")
    _refuse_repeats([item.id for item in items])
    texts = {unit: _texts_of(items, unit) for unit in dict.fromkeys(map(_unit, names))}
    corpora = {unit: tokenised(members, tokenize) for unit, members in texts.items()}
    statistics = _meteor_once(corpora, meteor) if isinstance(meteor, MeteorJar) else {}
    reason = meteor.reason if isinstance(meteor, NotRun) else None
    scores = {}
    for name in names:
        unit = _unit(name)
        videos, clusters = _numbered([text.cluster for text in texts[unit]])
        if name == "macro":
            sums = averaged(item_statistics(corpora[unit], statistics.get(unit), clusters), clusters)
        else:
            sums = summed(item_statistics(corpora[unit], statistics.get(unit)), clusters)
        figures = sums.figures()
        values = {metric: float(figures[metric][0]) if metric in figures else None for metric in METRIC_NAMES}
        told = (
            *tokenless(texts[unit], corpora[unit]),
            *unsplit(texts[unit], corpora[unit]),
            *without_idf(name, corpora[unit], clusters),
        )
        scores[str(name)] = CaptionScores(name, values, videos, len(texts[unit]), reason, sums, told)
    return scores


def tokenless(texts: Sequence[CaptionedItem], corpus: Corpus) -> list[str]:
    """Warn of texts without any token: they count 0 in every figure."""
    pairs = list(zip(texts, corpus.references, strict=True))
    captions = [text.id for text, tokens in zip(texts, corpus.hypotheses, strict=True) if not tokens]
    references = [text.id for text, found in pairs if not all(found)]
    return [
        f"{len(ids)} of {len(texts)} items have a {what} without a token ({some(ids)}): it matches nothing and counts 0"
        for what, ids in (("caption", captions), ("reference", references))
        if ids
    ]


def unsplit(texts: Sequence[CaptionedItem], corpus: Corpus) -> list[str]:
    """Warn of texts in scripts without spaces that were not split into words."""
    pairs = zip(texts, corpus.hypotheses, corpus.references, strict=True)
    ids = [text.id for text, caption, references in pairs if any(map(is_unsplit, (caption, *references)))]
    if not ids:
        return []
    told = f"{len(ids)} of {len(texts)} items have text in a script without spaces ({some(ids)})"
    return [f"{told}: each run of it counts as one word; split the words by spaces beforehand"]


def without_idf(convention: ConventionName, corpus: Corpus, clusters: Ints) -> list[str]:
    """Warn if all references of a corpus are the same (one item, for example): every idf is 0, and so is CIDEr-D."""
    groups = clusters if convention == "macro" else np.zeros_like(clusters)
    distinct: dict[int, set[frozenset[Tokens]]] = {}
    for group, references in zip(groups.tolist(), corpus.references, strict=True):
        distinct.setdefault(group, set()).add(frozenset(references))
    alike = sum(len(found) == 1 for found in distinct.values())
    if not alike:
        return []
    if convention == "macro":
        whose = f"{alike} of {len(distinct)} videos have one segment, or segments with the same references: their"
    else:
        whose = "one item" if len(corpus) == 1 else f"{len(corpus)} items with the same references"
        whose = f"{convention}: {whose} can't have an idf: the"
    return [f"{whose} CIDEr-D is 0 for any captions"]


def some(ids: Sequence[str], most: int = 5) -> str:
    """List the first of some ids."""
    return ", ".join(ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")


def _unit(convention: ConventionName) -> Unit:
    return "paragraph" if convention == "paragraph" else "segment"


def _texts_of(items: Sequence[CaptionedItem], unit: Unit) -> Sequence[CaptionedItem]:
    return joined_paragraphs(items) if unit == "paragraph" else items


def _meteor_once(corpora: Mapping[Unit, Corpus], meteor: MeteorJar) -> dict[Unit, Floats]:
    """Get the jar's statistics of every corpus from one run, because it takes seconds to start."""
    together = Corpus(
        hypotheses=tuple(chain.from_iterable(corpus.hypotheses for corpus in corpora.values())),
        references=tuple(chain.from_iterable(corpus.references for corpus in corpora.values())),
    )
    ends = np.cumsum([len(corpus) for corpus in corpora.values()])
    return dict(zip(corpora, np.split(meteor_statistics(together, meteor), ends[:-1]), strict=True))


def joined_paragraphs(items: Sequence[CaptionedItem]) -> list[CaptionedItem]:
    """Make one item per cluster: its captions joined by spaces in order, and its k-th references likewise.

    Raises DataError if a video's segments differ in their number of references.
    """
    by_cluster: dict[str, list[CaptionedItem]] = {}
    for item in items:
        by_cluster.setdefault(item.cluster, []).append(item)
    return [_joined(cluster, members) for cluster, members in by_cluster.items()]


def _joined(cluster: str, members: Sequence[CaptionedItem]) -> CaptionedItem:
    counts = {len(item.references) for item in members}
    if len(counts) != 1:
        msg = f"video '{cluster}' has segments with {sorted(counts)} references: paragraphs need equal numbers"
        raise DataError(msg)
    return CaptionedItem(
        id=cluster,
        cluster=cluster,
        hypothesis=" ".join(item.hypothesis for item in members),
        references=tuple(" ".join(texts) for texts in zip(*(item.references for item in members), strict=True)),
    )


def tokenised(items: Sequence[CaptionedItem], tokenize: Tokenize) -> Corpus:
    """Tokenise the items' texts, in order."""
    return Corpus(
        hypotheses=tuple(tokenize(item.hypothesis) for item in items),
        references=tuple(tuple(tokenize(text) for text in item.references) for item in items),
    )


def _known(convention: str) -> ConventionName:
    names: tuple[ConventionName, ...] = get_args(ConventionName)
    for name in names:
        if name == convention:
            return name
    msg = f"no convention '{convention}': choose {', '.join(names)}"
    raise DataError(msg)


def _refuse_repeats(ids: Sequence[str]) -> None:
    repeated = [name for name, times in Counter(ids).items() if times > 1]
    if repeated:
        msg = f"captions repeat the ids {', '.join(repeated[:5])}: each item is scored once"
        raise DataError(msg)


def _numbered(clusters: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    names = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    return tuple(names), np.array([names[name] for name in clusters], dtype=np.int64)
