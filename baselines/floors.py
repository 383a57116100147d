"""Models that never look, and their scores on a task's items, which every figure must be read against.

Chance, a constant option, option lengths, random vectors, training texts and a salad of words (our choice).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from baselines.models import (
    SALAD_WORDS,
    ChanceOptions,
    ConstantOptions,
    LengthOptions,
    RandomVectorOptions,
    SaladOptions,
    TrainingOptions,
)
from tasks.caption_metrics.ngrams import Floats, Tokens, common_lengths, f_measure
from tasks.captioning import CaptioningTask, CaptionItem, TrainingText
from tasks.data_roots import data_file
from tasks.errors import DataError, ModelError
from tasks.family import Floor
from tasks.model import Embeddings, ModelInfo, OptionRequest, TextReply, TextRequest
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask, by_length, correctness, primary_accuracy
from tasks.retrieval import RetrievalItem, RetrievalTask
from tasks.routes import Route
from tasks.statistics import LEVEL, percentile_interval
from tasks.task import Clip, JsonValue, Metric, Summary, Task, Trace
from tasks.tokenizers import tokenizer
from tasks.youcook2 import training_texts
from tasks.youcook2_annotations import read_annotations

AT_ONCE = 1024
GUESSERS = 5_000
WORD_SALAD = "add the and in a pan"
# Similarities of all pairs: 2,000 texts take 32 MB and about 4 seconds.
MEDOID_TEXTS = 2_000
PICKS: Mapping[str, Callable[[Iterable[int]], int]] = MappingProxyType({"longest-option": max, "shortest-option": min})
"""The option-length floors, by the names of their models."""


@dataclass(frozen=True, slots=True)
class ConstantModel:
    """Chooses the same option every time."""

    choice: int
    route = Route.GIVEN

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(name="constant", parameters=0)

    def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
        for request in requests:
            if not 0 <= self.choice < len(request.options):
                msg = f"choice={self.choice} is not an option of {request.item_id} (0 to {len(request.options) - 1})"
                raise ModelError(msg)
        return [self.choice for _ in requests]


@dataclass(frozen=True, slots=True)
class ChanceModel:
    """Chooses uniformly, from a digest of seed and item id: the same on any machine, in any order."""

    seed: int = 0
    route = Route.GIVEN

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(name="chance", parameters=0)

    def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
        return [self._draw(request.item_id, len(request.options)) for request in requests]

    def _draw(self, item_id: str, options: int) -> int:
        digest = hashlib.sha256(f"{self.seed}:{item_id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % options


@dataclass(frozen=True, slots=True)
class LengthModel:
    """Chooses the longest option, or the shortest, by its characters or words; of equally long ones the first."""

    name: str
    pick: Callable[[Iterable[int]], int]
    unit: str = "characters"
    route = Route.GIVEN

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(name=self.name, parameters=0, details={"unit": self.unit})

    def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
        split = str.split if self.unit == "words" else tuple
        return [by_length([split(text) for text in request.options], self.pick) for request in requests]


def build_constant(options: ConstantOptions) -> ConstantModel:
    """Build the constant model."""
    return ConstantModel(options.choice)


def build_length(preset: str, options: LengthOptions) -> LengthModel:
    """Build the model that chooses the longest or the shortest option."""
    return LengthModel(preset, PICKS[preset], options.unit)


def build_chance(options: ChanceOptions) -> ChanceModel:
    """Build the chance model."""
    return ChanceModel(options.seed)


@dataclass(frozen=True, slots=True)
class RandomVectors:
    """Unit vectors in random directions, from a digest of what is embedded."""

    dimensions: int = 64
    seed: int = 0

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(name="random-vectors", parameters=0, details={"dimensions": self.dimensions})

    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        return self._embed([f"video:{clip.video_id}:{clip.start}:{clip.end}" for clip in clips])

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        return self._embed([f"text:{text}" for text in texts])

    def _embed(self, keys: Sequence[str]) -> Embeddings:
        rows = []
        for key in keys:
            digest = hashlib.sha256(f"{self.seed}:{key}".encode()).digest()
            row = np.random.default_rng(list(digest)).standard_normal(self.dimensions)
            rows.append(row / np.linalg.norm(row))
        return Embeddings(np.asarray(rows, dtype=np.float32), tuple(Trace() for _ in keys))


def build_random_vectors(options: RandomVectorOptions) -> RandomVectors:
    """Build the random encoder."""
    return RandomVectors(options.dimensions, options.seed)


def rouge_similarities(texts: Sequence[Tokens]) -> Floats:
    """Return ROUGE-L float64 [N, N] of every text (row) against every text as reference (column)."""
    if not texts or not all(texts):
        msg = "similarities need at least one text, and tokens in each"
        raise DataError(msg)
    lengths = np.array([len(text) for text in texts], dtype=np.float64)
    common = common_lengths(texts)
    return f_measure(common / lengths[:, None], common / lengths[None, :])


def medoid(texts: Sequence[Tokens]) -> int:
    """Return the index of the text most similar on average to all of `texts`, the first among equals.

    A text's similarity to itself is included, which changes no order.
    """
    return int(np.argmax(rouge_similarities(texts).mean(axis=1)))


def word_salad(words: int = 40) -> str:
    """Repeat the words of `WORD_SALAD` up to `words` words."""
    salad = WORD_SALAD.split()
    return " ".join(salad[i % len(salad)] for i in range(words))


@dataclass(frozen=True, slots=True)
class TextFloor:
    """A captioner whose text depends on a request's ids alone."""

    name: str
    write: Callable[[TextRequest], str]
    details: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(name=self.name, parameters=0, details=self.details)

    def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        return [TextReply(self.write(request), finished=True) for request in requests]


def text_floors(training: Sequence[TrainingText], labels: Mapping[str, str], seed: int) -> list[TextFloor]:
    """Build all four floors; `labels` holds the categories of the videos asked about, by id."""
    floors = [salad_floor(SALAD_WORDS)]
    if training:
        floors += [constant_floor(training), random_floor(training, seed), typical_floor(training, labels)]
    return floors


def salad_floor(words: int) -> TextFloor:
    """Build the floor that repeats the same few words."""
    text = word_salad(words)
    return TextFloor("word-salad", lambda _: text, {"words": words})


def constant_floor(training: Sequence[TrainingText]) -> TextFloor:
    """Build the floor that always gives the medoid of the training texts, or of an even sample of a large set."""
    texts = tuple(row.text for row in training)
    step = len(texts) / min(len(texts), MEDOID_TEXTS)
    text = typical_text(tuple(texts[int(i * step)] for i in range(min(len(texts), MEDOID_TEXTS))))
    return TextFloor("constant-paragraph", lambda _: text, {"text": text})


def random_floor(training: Sequence[TrainingText], seed: int) -> TextFloor:
    """Build the floor that draws a training text by a digest of seed and item id: the same in any order."""

    def write(request: TextRequest) -> str:
        digest = hashlib.sha256(f"{seed}:{request.item_id}".encode()).digest()
        return training[int.from_bytes(digest[:8], "big") % len(training)].text

    return TextFloor("random-paragraph", write, {"seed": seed})


def typical_floor(training: Sequence[TrainingText], labels: Mapping[str, str]) -> TextFloor:
    """Build the floor that gives the medoid of the clip's recipe type: it uses the label, so it is not blind."""

    def write(request: TextRequest) -> str:
        label = labels.get(request.clip.video_id)
        same = tuple(row.text for row in training if row.label == label)
        if not same:
            msg = f"'{request.clip.video_id}' has no recipe type of the training set"
            raise DataError(msg)
        return typical_text(same)

    return TextFloor("recipe-type-paragraph", write, {"uses_label": True})


@cache
def typical_text(texts: tuple[str, ...]) -> str:
    """Return the medoid by ROUGE-L."""
    tokens = tokenizer("ptb")
    return texts[medoid([tokens(text) for text in texts])]


def build_word_salad(options: SaladOptions) -> TextFloor:
    """Build the word salad."""
    return salad_floor(options.words)


def build_constant_paragraph(options: TrainingOptions) -> TextFloor:
    """Build the constant text. Raises DataError for a bad annotation file."""
    return constant_floor(training_texts(read_annotations(data_file(options.annotations)), options.unit))


def build_random_paragraph(options: TrainingOptions) -> TextFloor:
    """Build the random text. Raises DataError for a bad annotation file."""
    return random_floor(training_texts(read_annotations(data_file(options.annotations)), options.unit), options.seed)


def build_recipe_type_paragraph(options: TrainingOptions) -> TextFloor:
    """Build the typical text of the clip's recipe type. Raises DataError for a bad annotation file."""
    videos = read_annotations(data_file(options.annotations))
    return typical_floor(training_texts(videos, options.unit), {video.id: video.recipe_type for video in videos})


def choice_floors(task: MultipleChoiceTask, items: Sequence[ChoiceItem], seed: int) -> Iterator[Floor]:
    """Yield chance, the best constant answer, and the longest and the shortest option, by the primary metric.

    The best constant is picked knowing the answers: it is the best that a constant option could score. Lengths
    are counted in characters; of equally long options the first is taken.
    """
    known = [item for item in items if item.answer is not None]
    if not known:
        return
    yield Floor("chance", chance_metric(task.info.primary_metric, known, seed, task.groups))
    right = Counter(item.answer for item in known)
    options = min(len(item.options) for item in known)
    choice = max(range(options), key=lambda index: (right[index], -index))
    yield Floor(f"constant (choice={choice})", choice_figure(task, known, [choice] * len(known)))
    for name, pick in PICKS.items():
        yield Floor(name.replace("-", " "), choice_figure(task, known, [by_length(i.options, pick) for i in known]))


def choice_figure(task: MultipleChoiceTask, items: Sequence[ChoiceItem], chosen: Sequence[int]) -> Metric:
    """The task's primary figure of choices, one for each item, whose answers are all public."""
    values = [correctness(item, index) for item, index in zip(items, chosen, strict=True)]
    groups = [task.groups[item.id] for item in items] if task.groups else []
    return primary_accuracy(items, values, task.info, groups)


def chance_metric(name: str, items: Sequence[ChoiceItem], seed: int, groups: Mapping[str, str]) -> Metric:
    """Return the expected score of uniform guessing, with the range that 95 % of guessers fall into.

    `groups` maps items to groups if the figure is a mean over groups; it is empty if it is over items.
    """
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = {}
    for item in items:
        members.setdefault(groups.get(item.id, ""), []).append(len(item.options))
    guessed, expected = np.zeros(GUESSERS), 0.0
    for _, sizes in sorted(members.items()):
        for options, count in sorted(Counter(sizes).items()):
            guessed += rng.binomial(count, 1 / options, size=GUESSERS) / (len(sizes) * len(members))
        expected += float(np.mean([1 / options for options in sizes])) / len(members)
    return Metric(
        name=name,
        value=expected,
        interval=percentile_interval(guessed),
        level=LEVEL,
        method=f"expected value; interval: central range of {GUESSERS} random guessers",
        n=len(items),
        clusters=len({item.cluster for item in items}),
        primary=True,
        higher_is_better=True,
    )


def summary_of(task: Task[Any], model: object, items: Sequence[Any], seed: int) -> Summary:
    """Predict, score and summarise without a record."""
    scores = []
    for start in range(0, len(items), AT_ONCE):
        batch = items[start : start + AT_ONCE]
        scores += [task.score(item, made) for item, made in zip(batch, task.predict(model, batch), strict=True)]
    return task.summarise(scores, np.random.default_rng(seed))


def primary(summary: Summary) -> Metric:
    """Return the summary's primary figure."""
    return next(metric for metric in summary.metrics if metric.primary)


def caption_floors(task: CaptioningTask, items: Sequence[CaptionItem], seed: int) -> Iterator[Floor]:
    """Yield the word salad and, with a training set, the three floors that give training texts."""
    labels = {item.clip.video_id: item.label for item in items}
    quick = task.without_meteor("left out of floors; run the model by its name to have it")
    for floor in text_floors(task.training, labels, seed):
        note = " (uses the label)" if floor.details.get("uses_label") else ""
        yield model_floor(f"{floor.name}{note}", summary_of(quick, floor, items, seed))


def retrieval_floors(task: RetrievalTask, items: Sequence[RetrievalItem], seed: int) -> Iterator[Floor]:
    """Yield the random-vectors floor."""
    yield model_floor("random-vectors", summary_of(task, RandomVectors(seed=seed), items, seed))


def model_floor(name: str, summary: Summary) -> Floor:
    """Make a floor with all the figures of a model."""
    return Floor(name, primary(summary), tuple(metric for metric in summary.metrics if not metric.primary))
