"""Captioners that never look: training texts handed out, and a salad of common words: what a figure is worth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from baselines.models import SALAD_WORDS, SaladOptions, TrainingOptions
from tasks.captioning import TrainingText
from tasks.errors import DataError
from tasks.model import ModelInfo, TextReply, TextRequest
from tasks.task import JsonValue
from tasks.text_floors import medoid, word_salad
from tasks.tokenizers import tokenizer
from tasks.youcook2 import training_texts
from tasks.youcook2_annotations import read_annotations

# Similarities of all pairs: 2,000 texts take 32 MB and some 4 seconds.
MEDOID_TEXTS = 2_000


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
    """All four floors; `labels` are the categories of the videos asked about, by id."""
    floors = [salad_floor(SALAD_WORDS)]
    if training:
        floors += [constant_floor(training), random_floor(training, seed), typical_floor(training, labels)]
    return floors


def salad_floor(words: int) -> TextFloor:
    """The same few words over and over."""
    text = word_salad(words)
    return TextFloor("word-salad", lambda _: text, {"words": words})


def constant_floor(training: Sequence[TrainingText]) -> TextFloor:
    """The training text most like all others, for every clip; of a large set, of an even sample of it."""
    texts = tuple(row.text for row in training)
    step = len(texts) / min(len(texts), MEDOID_TEXTS)
    text = typical_text(tuple(texts[int(i * step)] for i in range(min(len(texts), MEDOID_TEXTS))))
    return TextFloor("constant-paragraph", lambda _: text, {"text": text})


def random_floor(training: Sequence[TrainingText], seed: int) -> TextFloor:
    """A training text drawn by a digest of seed and item id: the same in any order."""

    def write(request: TextRequest) -> str:
        digest = hashlib.sha256(f"{seed}:{request.item_id}".encode()).digest()
        return training[int.from_bytes(digest[:8], "big") % len(training)].text

    return TextFloor("random-paragraph", write, {"seed": seed})


def typical_floor(training: Sequence[TrainingText], labels: Mapping[str, str]) -> TextFloor:
    """The medoid of the training texts of the clip's own recipe type: it uses the label, so it is not blind."""

    def write(request: TextRequest) -> str:
        label = labels.get(request.clip.video_id)
        same = tuple(row.text for row in training if row.label == label)
        if not same:
            msg = f"'{request.clip.video_id}' has no recipe type that the training set knows"
            raise DataError(msg)
        return typical_text(same)

    return TextFloor("recipe-type-paragraph", write, {"uses_label": True})


@cache
def typical_text(texts: tuple[str, ...]) -> str:
    """The medoid by ROUGE-L."""
    tokens = tokenizer("ptb")
    return texts[medoid([tokens(text) for text in texts])]


def build_word_salad(options: SaladOptions) -> TextFloor:
    """The salad."""
    return salad_floor(options.words)


def build_constant_paragraph(options: TrainingOptions) -> TextFloor:
    """The constant text. Raises DataError for a bad annotation file."""
    return constant_floor(training_texts(read_annotations(options.annotations), options.unit))


def build_random_paragraph(options: TrainingOptions) -> TextFloor:
    """The random text. Raises DataError for a bad annotation file."""
    return random_floor(training_texts(read_annotations(options.annotations), options.unit), options.seed)


def build_recipe_type_paragraph(options: TrainingOptions) -> TextFloor:
    """The text typical of the clip's recipe type. Raises DataError for a bad annotation file."""
    videos = read_annotations(options.annotations)
    return typical_floor(training_texts(videos, options.unit), {video.id: video.recipe_type for video in videos})
