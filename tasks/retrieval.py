"""The retrieval family: texts and videos find each other by dot product of a model's vectors.

Both directions, ranked by `tasks.ranks` with its pessimistic tie rule. A figure's name says its direction, and
whether equal captions also count as right (`_duplicate_aware`); the pool is in the task's name.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.digests import rows_sha256, text_sha256
from tasks.errors import DataError, ModelError
from tasks.family import (
    RANK,
    Answers,
    Common,
    Family,
    ItemText,
    Predictions,
    PredictionsFile,
    Ranking,
    Vectors,
    of_pool,
    refuse_choices,
)
from tasks.files import is_file, read_arrays, unicode_only, unpacks_too_far
from tasks.model import VideoTextEncoder, require
from tasks.ranks import (
    DUPLICATE_AWARE,
    MEDIANS,
    Ints,
    duplicate_aware,
    moderate,
    one_to_one,
    rank_figures,
    ranks_from_vectors,
)
from tasks.statistics import (
    LEVEL,
    METHOD,
    Figures,
    Floats,
    bounded_interval,
    cluster_codes,
    jackknife_errors,
    median_interval,
)
from tasks.task import Clip, Metric, Prediction, Score, Summary, TaskInfo, seconds_together

ROUTE = "embedding-similarity"
TIE_RULE = "pessimistic: a right answer ranks behind all that are as similar"
VIDEO, TEXT = 0, 1
DIRECTIONS: Mapping[str, tuple[int, int]] = {"text_to_video": (TEXT, VIDEO), "video_to_text": (VIDEO, TEXT)}
LOWER_IS_BETTER = ("median_rank", "mean_rank", "median_rank_percentile")
PRIMARY = "text_to_video_recall_at_1"
ARRAYS = ("ids", "video", "text")
# Unit vectors in float16 differ in length by less.
_LENGTHS_APART = 1.05


@dataclass(frozen=True, slots=True)
class RetrievalItem:
    """A clip and the text that belongs to it."""

    id: str
    cluster: str
    clip: Clip
    text: str
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)


def retrieval_digest(items: Sequence[RetrievalItem]) -> str:
    """Digest everything that defines the pool, in order."""
    return rows_sha256([i.id, i.cluster, i.clip.video_id, i.clip.start, i.clip.end, i.text] for i in items)


class RetrievalTask:
    """Implements the Task API for one pool: each item's video and text are embedded once, then ranked together."""

    def __init__(self, info: TaskInfo, items: Sequence[RetrievalItem]) -> None:
        self.info = info
        self._items = tuple(items)
        self._texts = {item.id: item.text for item in items}

    def items(self) -> Sequence[RetrievalItem]:
        return self._items

    def check(self, model: object) -> None:
        require(model, VideoTextEncoder, self.info.name, "to compare videos with texts")

    def protocol(self, model: object) -> Mapping[str, str]:  # noqa: ARG002 - one route for all models
        return {"route": ROUTE, "ties": TIE_RULE}

    def predict(self, model: object, batch: Sequence[RetrievalItem]) -> list[Prediction]:
        if not isinstance(model, VideoTextEncoder):
            msg = f"{self.info.name} needs a model with embed_video and embed_text"
            raise ModelError(msg)
        videos = model.embed_video([item.clip for item in batch])
        texts = model.embed_text([item.text for item in batch])
        predictions = []
        for i, item in enumerate(batch):
            vectors = checked_vectors(item.id, videos.vectors[i], texts.vectors[i])
            seen = videos.traces[i]
            read = texts.traces[i]
            trace = replace(
                seen,
                prompt_sha256=text_sha256(item.text),
                seconds=seconds_together([seen, read]),
                notes={**read.notes, **seen.notes},
            )
            predictions.append(Prediction(item.id, None, rule="vectors", trace=trace, vectors=vectors))
        return predictions

    def reread(self, item: RetrievalItem, prediction: Prediction) -> Prediction:  # noqa: ARG002 - nothing to parse
        return prediction

    def score(self, item: RetrievalItem, prediction: Prediction) -> Score:
        """Pass the vectors on: ranks depend on the whole pool."""
        values = {"own_similarity": None if prediction.vectors is None else own_similarity(prediction.vectors)}
        return Score(item.id, item.cluster, None, values, prediction.vectors)

    def summarise(self, scores: Sequence[Score], rng: np.random.Generator) -> Summary:  # noqa: ARG002 - nothing is drawn
        if not scores:
            return Summary((empty_metric(),))
        stacked = stacked_vectors(scores)
        captions = [self._texts[score.item_id] for score in scores]
        clusters = [score.cluster for score in scores]
        metrics = retrieval_metrics(stacked, captions, clusters)
        warnings = []
        if len(scores) < len(self._items):
            warnings.append(
                f"ranks are among the {len(scores)} answered items, an easier pool than {self.info.name}: "
                f"only the median-rank percentile compares"
            )
        details = {
            "pool": len(scores),
            "distinct_texts": len(set(captions)),
            "dimensions": stacked.shape[2],
            "chance_recall_at_1": 1 / len(scores),
            "tie_rule": TIE_RULE,
        }
        return Summary(tuple(metrics), details, tuple(warnings))


def checked_vectors(item_id: str, video: NDArray[np.float32], text: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return both vectors as float32 [2, D].

    Raises ModelError if their lengths differ, DataError for NaN or infinity.
    """
    if video.ndim != 1 or video.shape != text.shape:
        msg = f"item {item_id}: the video's vector {video.shape} and the text's {text.shape} must be of one length"
        raise ModelError(msg)
    with np.errstate(over="ignore"):  # what float32 can't hold becomes infinite, and is refused
        vectors = np.stack([video, text]).astype(np.float32)
    if not np.isfinite(vectors).all():
        msg = f"item {item_id}: a vector holds NaN or infinity"
        raise DataError(msg)
    return vectors


def own_similarity(vectors: NDArray[np.float32]) -> float:
    """Return the dot product of an item's video and text."""
    with np.errstate(over="ignore", invalid="ignore"):
        product = float(vectors[VIDEO] @ vectors[TEXT])
    # float64 holds every product of float32
    return product if isfinite(product) else float(vectors[VIDEO].astype(np.float64) @ vectors[TEXT])


def stacked_vectors(scores: Sequence[Score]) -> NDArray[np.float32]:
    """Return all items' vectors, float32 [N, 2, D]. Raises DataError naming items without vectors."""
    rows = [score.vectors for score in scores if score.vectors is not None]
    lacking = [score.item_id for score in scores if score.vectors is None]
    if lacking or len({row.shape for row in rows}) != 1:
        what = f"items {', '.join(lacking[:5])} have no vectors" if lacking else "vectors differ in length"
        msg = f"{what}: they are kept beside the record when a run ends well; run again"
        raise DataError(msg)
    return np.stack(rows)


def retrieval_metrics(vectors: NDArray[np.float32], captions: Sequence[str], clusters: Sequence[str]) -> list[Metric]:
    """Return figures of both directions, strict and duplicate-aware, from vectors [N, 2, D]."""
    codes, count = cluster_codes(clusters)
    strict = one_to_one(len(captions))
    truths = {"": strict, DUPLICATE_AWARE: duplicate_aware(strict, captions)}
    metrics = []
    for suffix, truth in truths.items():
        for direction, (query, gallery) in DIRECTIONS.items():
            ranks = ranks_from_vectors(vectors[:, query], vectors[:, gallery], truth)
            intervals = rank_intervals(ranks, codes, count)
            for name, value in rank_figures(ranks, len(captions)).items():
                full = f"{direction}_{name}{suffix}"
                interval, method = intervals.get(name, (None, "none (one cluster)"))
                metrics.append(
                    Metric(
                        name=full,
                        value=float(value[0]),
                        interval=interval,
                        level=LEVEL,
                        method=method,
                        n=len(captions),
                        clusters=count,
                        primary=full == PRIMARY,
                        higher_is_better=name not in LOWER_IS_BETTER,
                    )
                )
    return metrics


def rank_intervals(ranks: Ints, codes: NDArray[np.intp], clusters: int) -> dict[str, tuple[tuple[float, float], str]]:
    """Return interval and method of every figure of `ranks` [N] by name, over queries with a fixed gallery.

    Empty if all queries are in one cluster.
    """
    if clusters < 2:
        return {}
    pool = len(ranks)
    sizes = np.bincount(codes).astype(np.float64)
    whole = rank_figures(ranks, pool)
    errors, freedom = jackknife_errors(lambda weights: rank_figures(ranks, pool, weights[:, codes]), sizes)
    found = {}
    for name, (value, *_) in whole.items():
        if name not in MEDIANS:
            interval, method = bounded_interval(value, errors[name], freedom, clusters, rank_bounds(name, pool))
            found[name] = (interval, f"{method}, gallery held")
    low, high = median_interval(ranks, codes)
    for name, unit in zip(MEDIANS, (1, pool), strict=True):
        found[name] = ((low / unit, high / unit), f"{METHOD}, of the share up to the median (Woodruff), gallery held")
    return found


def rank_bounds(name: str, pool: int) -> tuple[float, float]:
    """Return the range of a figure of ranks, by its name with or without direction and way of counting."""
    plain = name.removesuffix(DUPLICATE_AWARE)
    return (1.0, float(pool)) if plain.endswith(("median_rank", "mean_rank")) else (0.0, 1.0)


def empty_metric() -> Metric:
    """Return the primary figure of no items."""
    return Metric(PRIMARY, None, None, LEVEL, "none (no items)", 0, 0, primary=True, higher_is_better=True)


def read_vector_pairs(file: PredictionsFile, task: RetrievalTask, everything: RetrievalTask) -> Predictions:  # noqa: ARG001
    """Read predictions by id from an .npz of `ids` [N], `video` [N, D] and `text` [N, D]. Raises DataError."""
    refuse_choices(file)
    path = file.path
    refuse_bombs(path)
    ids, video, text = read_arrays(path, ARRAYS, "")
    if ids.ndim != 1 or video.ndim != 2 or not video.shape[1] or video.shape != text.shape or len(ids) != len(video):
        msg = f"{path}: ids {ids.shape}, video {video.shape} and text {text.shape} must be [N] and twice [N, D]"
        raise DataError(msg)
    if not all(np.issubdtype(vectors.dtype, np.number) and np.isrealobj(vectors) for vectors in (video, text)):
        raise DataError(f"{path}: video ({video.dtype}) and text ({text.dtype}) must be real numbers")
    names = [unicode_only(name.decode(errors="replace") if isinstance(name, bytes) else str(name)) for name in ids]
    known, outside = of_pool(path, task.items(), names)
    rows = {name: i for i, name in enumerate(names)}
    return Predictions(
        {
            name: Prediction(
                name, None, rule="vectors", vectors=checked_vectors(name, video[rows[name]], text[rows[name]])
            )
            for name in known
        },
        outside,
        tuple(
            f"the lengths of the {what} vectors are from {found.min():.3g} to {found.max():.3g}: vectors are compared "
            f"by dot product, so make them of unit length if the model's similarity is the cosine"
            for what, found in (("video", lengths(video)), ("text", lengths(text)))
            if found.max() > _LENGTHS_APART * found.min()
        ),
    )


def lengths(vectors: NDArray[np.number]) -> Floats:
    """Return the lengths [N] of vectors [N, D]."""
    return np.asarray(np.linalg.norm(vectors.astype(np.float64), axis=1))


def refuse_bombs(path: Path) -> None:
    """Raise DataError for an .npz that is a decompression bomb: vectors hardly compress."""
    if not is_file(path) or not zipfile.is_zipfile(path):
        return
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is not an .npz file of {', '.join(ARRAYS)} ({error})") from error
    with archive:
        for info in archive.infolist():
            if unpacks_too_far(info.file_size, info.compress_size):
                msg = f"{path}: {info.compress_size} bytes of {info.filename} would unpack to {info.file_size}"
                raise DataError(msg)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A run's ranks [N] by direction and way of counting, among the items of a comparison; the gallery is held."""

    values: Floats
    ranks: Mapping[tuple[str, str], NDArray[np.int64]]
    common: Common
    binary: bool = True
    resamples: int = 1_000

    def bounds(self, name: str) -> tuple[float, float]:
        return rank_bounds(name, len(self.common.ids))

    def paired(self, other: Ranked) -> Figures:
        codes = np.concatenate([self.common.codes, self.common.codes + self.common.count])

        def figures(weights: Floats) -> Mapping[str, Floats]:
            found = {}
            for (direction, counting), ranks in self.ranks.items():
                both = np.concatenate([ranks, other.ranks[direction, counting]])
                named = rank_figures(both, len(self.common.ids), weights[:, codes])
                found.update({f"{direction}_{name}{counting}": values for name, values in named.items()})
            return found

        return figures


def ranked(answers: Answers, common: Common, task: RetrievalTask | None) -> Ranked:
    """Rank among the common items with the family's tie rule; an item's value is a hit at rank 1."""
    rows = [answers.predictions[key].vectors for key in common.ids]
    vectors = np.stack([row for row in rows if row is not None])
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


def rankings(vectors: Mapping[str, Vectors], shown: int = 3) -> dict[str, Ranking]:
    """Return both directions' ranks, and the `shown` nearest items of each query among the answered ones."""
    return {direction: ranking(vectors, direction, shown) for direction in DIRECTIONS}


def ranking(vectors: Mapping[str, Vectors], direction: str = "text_to_video", shown: int = 3) -> Ranking:
    """Return ranks with the family's tie rule, and the `shown` nearest items of each query among the answered ones."""
    query, gallery = DIRECTIONS[direction]
    ids = list(vectors)
    table = np.stack([vectors[key] for key in ids])
    ranks = ranks_from_vectors(table[:, query], table[:, gallery], one_to_one(len(ids)))
    first: dict[str, tuple[str, ...]] = {}
    queries, found = moderate(table[:, query]), moderate(table[:, gallery])
    for row, key in enumerate(ids if shown else ()):
        nearest = np.argsort(-(found @ queries[row]), kind="stable")[:shown]
        first[key] = tuple(ids[place] for place in nearest)
    return Ranking(dict(zip(ids, map(int, ranks), strict=True)), first)


def item_text(item: RetrievalItem) -> ItemText:
    """Describe an item: the text to find."""
    return ItemText(title=item.text)


FAMILY = Family(
    name="retrieval",
    terms=(
        (
            "recall at k",
            (
                "the share of texts whose video was among the k found first in the whole pool; video to text the "
                "other way round."
            ),
        ),
    ),
    beside={
        PRIMARY: (
            "text_to_video_recall_at_5",
            "text_to_video_recall_at_10",
            "text_to_video_median_rank",
            "video_to_text_recall_at_1",
        )
    },
    units={"_rank": RANK, f"_rank{DUPLICATE_AWARE}": RANK},
    lower_is_better=tuple(f"_{name}{counting}" for name in LOWER_IS_BETTER for counting in ("", DUPLICATE_AWARE)),
    right_or_wrong=True,
    show=item_text,
    read_predictions=read_vector_pairs,
    floors="baselines.floors:retrieval_floors",
    measure=ranked,
    rank=rankings,
)
