"""Options of the baselines on the command line; importing this loads neither numpy nor torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from baselines.llm.options import LanguageModelOptions
from tasks.errors import ModelError

SALAD_WORDS = 40


class Unit(StrEnum):
    """What is handed out: a whole video's sentences, or one of them."""

    PARAGRAPH = "paragraph"
    SENTENCE = "sentence"


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatorOptions(LanguageModelOptions):
    """Options of `--model aggregator`."""

    captions: Path = field(metadata={"help": "captions file: JSON {id: [text, …]} or JSON lines"})
    segment_seconds: float = field(default=16.0, metadata={"help": "length of a uniform segment"})
    boundaries: Path | None = field(default=None, metadata={"help": "JSON {id: [[start, end], …]} instead"})
    prompt: str = field(default="aggregator.v1", metadata={"help": "prompt file in baselines/prompts"})

    def __post_init__(self) -> None:
        LanguageModelOptions.__post_init__(self)
        if not self.segment_seconds > 0:
            msg = f"segment_seconds must be positive, not {self.segment_seconds}"
            raise ModelError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindOptions(LanguageModelOptions):
    """Options of `--model blind`."""

    prompt: str = field(default="blind.v1", metadata={"help": "prompt file in baselines/prompts"})


@dataclass(frozen=True, slots=True)
class ConstantOptions:
    """Options of `--model constant`."""

    choice: int = field(default=0, metadata={"help": "the option to choose every time, counted from 0"})


@dataclass(frozen=True, slots=True)
class ChanceOptions:
    """Options of `--model chance`."""

    seed: int = field(default=0, metadata={"help": "seed of the draw; an item's draw depends on its id alone"})


@dataclass(frozen=True, slots=True)
class RandomVectorOptions:
    """Options of `--model random-vectors`."""

    dimensions: int = field(default=64, metadata={"help": "length of the vectors"})
    seed: int = field(default=0, metadata={"help": "seed; a vector depends on its clip or text alone"})

    def __post_init__(self) -> None:
        if self.dimensions < 1:
            msg = f"dimensions must be at least 1, not {self.dimensions}"
            raise ModelError(msg)


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Options of the floors that hand out training texts."""

    annotations: Path = field(metadata={"help": "YouCook2's annotation file, for its training texts"})
    unit: Unit = field(default=Unit.PARAGRAPH, metadata={"help": "paragraph for summaries, sentence for clips"})
    seed: int = field(default=0, metadata={"help": "seed of the draw, where there is one"})


@dataclass(frozen=True, slots=True)
class SaladOptions:
    """Options of `--model word-salad`."""

    words: int = field(default=SALAD_WORDS, metadata={"help": "length of the text"})


@dataclass(frozen=True, slots=True)
class TfidfOptions:
    """Options of `--model tfidf`."""

    captions: Path = field(metadata={"help": "speech transcripts or a captions file"})


@dataclass(frozen=True, slots=True)
class Bm25Options:
    """Options of `--model bm25`."""

    captions: Path = field(metadata={"help": "speech transcripts or a captions file"})
    k1: float = field(default=1.5, metadata={"help": "how soon repeats of a word stop counting"})
    b: float = field(default=0.75, metadata={"help": "how much a long transcript is held against it, 0 to 1"})
