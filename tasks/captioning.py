"""The captioning family: a text about a clip, scored against human references under named conventions.

A figure's name begins with its convention: `micro_`, `macro_`, `paragraph_` (see caption_metrics.conventions), or
`summary_` if one text describes a whole video. METEOR is the original jar's figure, or null with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tasks.caption_files import dense_captions, is_dense, paragraph, place, texts_of
from tasks.caption_metrics.conventions import (
    METRICS_VERSION,
    CaptionedItem,
    CaptionScores,
    ClusterSums,
    figure_bounds,
    item_statistics,
    score_conventions,
    tokenised,
)
from tasks.caption_metrics.meteor import MeteorJar, NotRun, find_meteor
from tasks.caption_metrics.ngrams import Corpus, rouge_l
from tasks.digests import rows_sha256
from tasks.errors import DataError, ModelError
from tasks.family import (
    IDS_SHOWN,
    PLAIN,
    Answers,
    Common,
    Family,
    ItemText,
    Means,
    Predictions,
    PredictionsFile,
    means,
    of_pool,
    refusal,
    refuse_choices,
)
from tasks.files import read_object
from tasks.model import Captioner, TextRequest, require
from tasks.prompt import Prompt, load_prompt
from tasks.statistics import LEVEL, Figures, Floats, bounded_interval, jackknife_errors
from tasks.task import Clip, JsonValue, Metric, Prediction, Score, Summary, TaskInfo
from tasks.tokenizers import PTB_VERSION, tokenizer

TOKENIZER = "ptb"
ROUTE = "caption"
CIDER = "cider_d"
NO_METEOR = NotRun("a comparison leaves METEOR out: its jar takes minutes")


@dataclass(frozen=True, slots=True)
class CaptionItem:
    """A clip and its reference texts; `label` is its published category, for labelled floors.

    `question` is what the prompt asks about this clip, if the benchmark has one for each.
    """

    id: str
    cluster: str
    clip: Clip
    references: tuple[str, ...]
    label: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)
    question: str = ""


@dataclass(frozen=True, slots=True)
class TrainingText:
    """A text of the training set, with its video's category, for floors."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class CaptionProtocol:
    """How captions are requested and scored: prompt file, longest reply, and the figures' names.

    `prompt` names a prompt file in tasks/prompts, or is a prompt. `conventions` maps each figure prefix to the
    convention it is computed by; the first is the primary's.
    """

    prompt: str | Prompt
    max_tokens: int
    conventions: Mapping[str, str]

    @property
    def wording(self) -> Prompt:
        """Load the prompt."""
        return self.prompt if isinstance(self.prompt, Prompt) else load_prompt("tasks", self.prompt)


def captioning_digest(items: Sequence[CaptionItem]) -> str:
    """Digest everything that defines the clips and their references, in order."""
    return rows_sha256(
        [
            i.id,
            i.cluster,
            i.clip.video_id,
            i.clip.start,
            i.clip.end,
            list(i.references),
            *([i.question] * bool(i.question)),
        ]
        for i in items
    )


class CaptioningTask:
    """Implements the Task API for one benchmark's clips; `training` feeds the floors, `meteor` finds the jar."""

    def __init__(
        self,
        info: TaskInfo,
        items: Sequence[CaptionItem],
        ask: CaptionProtocol,
        training: Sequence[TrainingText] = (),
        meteor: Callable[[], MeteorJar | NotRun] = find_meteor,
    ) -> None:
        self.info = info
        self.ask = ask
        self.training = tuple(training)
        self._items = tuple(items)
        self._by_id = {item.id: item for item in items}
        self._meteor = meteor
        self._tokenize = tokenizer(TOKENIZER)

    def without_meteor(self, reason: str) -> CaptioningTask:
        """Return the task without METEOR, with the reason: the jar takes seconds to start."""
        return CaptioningTask(self.info, self._items, self.ask, self.training, lambda: NotRun(reason))

    def items(self) -> Sequence[CaptionItem]:
        return self._items

    def check(self, model: object) -> None:
        require(model, Captioner, self.info.name, "to write about clips")

    def protocol(self, model: object) -> Mapping[str, str]:  # noqa: ARG002 - one route for all models
        prompt = self.ask.wording
        return {"route": ROUTE, "prompt": prompt.name, "prompt_sha256": prompt.sha256, "tokenizer": TOKENIZER}

    def predict(self, model: object, batch: Sequence[CaptionItem]) -> list[Prediction]:
        if not isinstance(model, Captioner):
            msg = f"{self.info.name} needs a model that can caption"
            raise ModelError(msg)
        wording = self.ask.wording
        requests = [
            TextRequest(item.id, item.clip, wording.fill("user", question=item.question), self.ask.max_tokens)
            for item in batch
        ]
        predictions = []
        for item, reply in zip(batch, model.caption(requests), strict=True):
            trace = replace(reply.trace, notes={**reply.trace.notes, "finished": reply.finished})
            predictions.append(Prediction(item.id, one_line(reply.text), reply.text, "one line", trace=trace))
        return predictions

    def reread(self, item: CaptionItem, prediction: Prediction) -> Prediction:  # noqa: ARG002 - the text is all
        return replace(prediction, answer=one_line(prediction.raw))

    def score(self, item: CaptionItem, prediction: Prediction) -> Score:
        """Score one text by ROUGE-L, with the share of the clip seen; the other figures need the whole set."""
        text = str(prediction.answer or "")
        one = Corpus((self._tokenize(text),), (tuple(self._tokenize(reference) for reference in item.references),))
        seen = prediction.trace.frames
        values = {
            f"{next(iter(self.ask.conventions))}_rouge_l": float(rouge_l(one)[0]),
            "empty": float(not one.hypotheses[0]),
            "frames": None if seen is None else float(seen.count),
            "share_of_clip": None if seen is None else seen.share_of_clip,
        }
        return Score(item.id, item.cluster, text, values)

    def summarise(self, scores: Sequence[Score], rng: np.random.Generator) -> Summary:  # noqa: ARG002 - nothing is drawn
        if not scores:
            return Summary((null_metric(self.info.primary_metric, "none (no items)", 0, 0, primary=True),))
        captions = [self._captioned(score) for score in scores]
        meteor = self._meteor()
        metrics = []
        scored = score_conventions(captions, list(self.ask.conventions.values()), self._tokenize, meteor)
        for prefix, convention in self.ask.conventions.items():
            metrics += caption_figures(prefix, scored[convention], self.info.primary_metric)
        warnings = list(dict.fromkeys(told for one in scored.values() for told in one.warnings))
        if len(scores) < len(self._items):
            warnings.append(
                f"CIDEr-D's idf comes from the {len(scores)} answered items: its figure is not that of {self.info.name}"
            )
        if isinstance(meteor, NotRun):
            warnings.append(f"METEOR was not run: {meteor.reason}")
        return Summary(tuple(metrics), self._details(scores, captions), tuple(warnings))

    def _captioned(self, score: Score) -> CaptionedItem:
        return CaptionedItem(
            score.item_id, score.cluster, str(score.answer or ""), self._by_id[score.item_id].references
        )

    def _details(self, scores: Sequence[Score], captions: Sequence[CaptionedItem]) -> dict[str, JsonValue]:
        shares = [share for score in scores if (share := score.values["share_of_clip"]) is not None]
        frames = [count for score in scores if (count := score.values["frames"]) is not None]
        durations = [self._by_id[score.item_id].clip.duration for score in scores]
        clips = [seconds for seconds in durations if np.isfinite(seconds)]
        lengths = [len(self._tokenize(caption.hypothesis)) for caption in captions]
        references = [len(self._tokenize(text)) for caption in captions for text in caption.references]
        return {
            "tokenizer": PTB_VERSION,  # the tokenizer of these figures, whenever the captions were recorded
            "caption_metrics": METRICS_VERSION,
            "mean_words": float(np.mean(lengths)),
            "mean_reference_words": float(np.mean(references)),
            "mean_clip_seconds": float(np.mean(clips)) if clips else None,
            "mean_frames": float(np.mean(frames)) if frames else None,
            "mean_share_of_clip_seen": float(np.mean(shares)) if shares else None,
        }


def one_line(text: str) -> str:
    """Remove line breaks and repeated spaces: the form that is scored."""
    return " ".join(text.split())


def caption_figures(prefix: str, scored: CaptionScores, primary: str) -> list[Metric]:
    """Return every figure of one convention with its interval over source videos."""
    clusters = len(scored.clusters)
    errors, freedom = jackknife_errors(scored.sums.figures, scored.sums.counted) if clusters > 1 else ({}, 1.0)
    metrics = []
    for name, value in scored.values.items():
        full = f"{prefix}_{name}"
        if value is None:
            why = f"not run: {scored.meteor_not_run}"
            metrics.append(null_metric(full, why, scored.corpus_items, clusters, primary=full == primary))
            continue
        interval, method = None, "none (one cluster)"
        if errors:
            interval, method = bounded_interval(value, errors[name], freedom, clusters, figure_bounds(name))
            method += ", idf held" if name.endswith("cider_d") else ""
        metrics.append(
            Metric(
                name=full,
                value=value,
                interval=interval,
                level=LEVEL,
                method=method,
                n=scored.corpus_items,
                clusters=clusters,
                primary=full == primary,
                higher_is_better=True,
            )
        )
    return metrics


def null_metric(name: str, method: str, n: int, clusters: int, *, primary: bool) -> Metric:
    """Return a figure without a value, with the reason."""
    return Metric(name, None, None, LEVEL, method, n, clusters, primary=primary, higher_is_better=True)


def read_texts(file: PredictionsFile, task: CaptioningTask, everything: CaptioningTask) -> Predictions:  # noqa: ARG001
    """Read predictions from JSON `{id: text}`, or from a dense-captioning file.

    Raises DataError naming ids with several texts, or if no id is the task's.
    """
    refuse_choices(file)
    content = read_object(file.path)
    if is_dense(content):
        return read_dense(task, content, file.path)
    known, outside = of_pool(file.path, task.items(), list(content))
    texts = texts_of({key: content[key] for key in known}, file.path)
    several = [key for key, values in texts.items() if len(values) != 1]
    if several:
        msg = f"{file.path}: {len(several)} ids have several texts ({', '.join(several[:IDS_SHOWN])}): give one"
        raise DataError(msg)
    return Predictions({key: written(key, text, "one line") for key, (text,) in texts.items()}, outside)


def read_dense(task: CaptioningTask, content: Mapping[str, object], path: Path) -> Predictions:
    """Place sentences on a task's segments, or join them if its items are whole videos (see tasks.caption_files).

    Raises DataError if no video is the task's, or no sentence can be placed.
    """
    sentences_by_video = dense_captions(content, path)
    items: dict[str, list[CaptionItem]] = {}
    for item in task.items():
        items.setdefault(item.clip.video_id, []).append(item)
    outside = tuple(video for video in sentences_by_video if video not in items)
    if len(outside) == len(sentences_by_video):
        raise DataError(refusal(path, "unknown videos and no known one", outside))
    found: dict[str, Prediction | str] = {}
    for video, sentences in sentences_by_video.items():
        if video not in items:
            continue
        if items[video][0].id == video:
            found[video] = written(video, paragraph(sentences), "sentences joined")
            continue
        placed = place(sentences, [item.clip for item in items[video]])
        for number, item in enumerate(items[video]):
            if placed.fault:
                found[item.id] = f"{video}: {placed.fault}"
            elif number in placed.texts:
                found[item.id] = written(item.id, placed.texts[number], placed.rule)
    reasons = [answer for answer in found.values() if isinstance(answer, str)]
    if len(reasons) == len(found):
        why = f" ({reasons[0]})" if reasons else ""
        raise DataError(f"predictions file {path} is refused: no video's sentences match its segments{why}")
    return Predictions(found, outside)


def written(key: str, text: str, rule: str) -> Prediction:
    """Make the prediction of an imported text."""
    return Prediction(key, one_line(text), text, rule)


@dataclass(frozen=True, slots=True)
class Captioned:
    """A run's summed statistics by convention, with CIDEr-D's idf from the common items."""

    values: Floats
    sums: Mapping[str, ClusterSums]
    binary: bool = False
    resamples: int = 5_000

    def bounds(self, name: str) -> tuple[float, float]:
        return figure_bounds(name)

    def paired(self, other: Captioned) -> Figures:
        both = {prefix: joined(sums, other.sums[prefix]) for prefix, sums in self.sums.items()}

        def figures(weights: Floats) -> Mapping[str, Floats]:
            return {
                f"{prefix}_{name}": values
                for prefix, sums in both.items()
                for name, values in sums.figures(weights).items()
            }

        return figures


def joined(first: ClusterSums, other: ClusterSums) -> ClusterSums:
    """Join two runs' sums as those of one set of 2K clusters."""
    counts = None if first.bleu is None or other.bleu is None else np.concatenate([first.bleu, other.bleu])
    columns = {name: np.concatenate([sums, other.means[name]]) for name, sums in first.means.items()}
    return ClusterSums(np.concatenate([first.counted, other.counted]), columns, counts)


def captioned(answers: Answers, common: Common, task: CaptioningTask | None) -> Captioned | Means:
    """Measure every convention's statistics; an item's value is its CIDEr-D if that is primary, else its ROUGE-L.

    Without the benchmark's files only the recorded scores are used.
    """
    if task is None:
        return means(answers, common, task)
    items = {item.id: item for item in task.items()}
    tokenize = tokenizer(TOKENIZER)
    texts = [
        CaptionedItem(key, items[key].cluster, str(answers.predictions[key].answer or ""), items[key].references)
        for key in common.ids
    ]
    scored = score_conventions(texts, list(task.ask.conventions.values()), tokenize, NO_METEOR)
    sums = {prefix: scored[convention].sums for prefix, convention in task.ask.conventions.items()}
    statistics = item_statistics(tokenised(texts, tokenize))
    by_item = statistics.cider_d if task.info.primary_metric.endswith(CIDER) else statistics.rouge_l
    return Captioned(by_item, sums)


def item_text(item: CaptionItem) -> ItemText:
    """Describe an item: its question, if any, and its references."""
    return ItemText(title=item.question, references=item.references)


def outdated(details: Mapping[str, JsonValue]) -> str:
    """Say why a record's figures are by an earlier version of the metrics; empty if they are not."""
    if details.get("caption_metrics") == METRICS_VERSION:
        return ""
    return (
        "its figures are by an earlier version of the caption metrics (METEOR too low where a caption equals its "
        "reference); score the run again"
    )


FAMILY = Family(
    name="captioning",
    terms=(
        (
            "text scores",
            (
                "how much a text shares with what people wrote of the same clip: ROUGE-L the longest sequence of "
                "words, BLEU and METEOR words and phrases, CIDEr-D above all the rare ones. ROUGE-L is high even for "
                "texts that saw nothing."
            ),
        ),
    ),
    beside={
        "micro_cider_d": ("micro_bleu_4", "micro_meteor", "micro_rouge_l", "macro_cider_d", "paragraph_cider_d"),
        "summary_rouge_l": ("summary_bleu_4", "summary_meteor", "summary_cider_d"),
    },
    units={CIDER: PLAIN},
    item_score="rouge_l",
    show=item_text,
    read_predictions=read_texts,
    floors="baselines.floors:caption_floors",
    measure=captioned,
    outdated=outdated,
    comparison_note="METEOR is left out of comparisons; CIDEr-D's idf comes from the common items",
)
