"""What a source of training data gives: pixels with what is true of them, and what is nearly true.

A source is read through requests, so that the data of a step is a pure function of its number.
Training texts for a video are views of it: captions tell the whole and are contrasted with the
captions of other videos; statements tell one fact and are contrasted with false ones only, because
what is true of one video may well be true of another in the same batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoders.pretrain.order import Request
from encoders.pretrain.step import BadSample
from tasks.task import JsonValue

View: TypeAlias = Literal["image", "clip", "video"]
"""What of a video is looked at: one frame, a clip of some seconds, or all of it."""


@dataclass(frozen=True, slots=True)
class TextView:
    """A text that is true of a video, with texts that look like it and are not; `kind` is what it is balanced by.

    `prompt` is what a language model reads before it: a question, where the text is an answer.
    """

    text: str
    false: tuple[str, ...] = ()
    kind: str = ""
    prompt: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Pixels uint8 [T, H, W, 3] and the views of them: at least one caption, any number of statements.

    `questions` are a benchmark's own, with its options: what is measured on held-out samples and never trained on.
    """

    key: str
    pixels: NDArray[np.uint8]
    captions: tuple[TextView, ...]
    statements: tuple[TextView, ...] = ()
    questions: tuple[TextView, ...] = ()


class Source(Protocol):
    """A data set of `len(source)` samples.

    `load` answers requests in order, lazily and for as long as there are any; a sample that can't be
    read comes back as a BadSample and is never replaced by another. `texts` are all that a tokenizer
    should know; `facts` go into the run's record.
    """

    @property
    def facts(self) -> Mapping[str, JsonValue]: ...

    def __len__(self) -> int: ...

    def load(self, requests: Iterable[Request]) -> Iterator[Sample | BadSample]: ...

    def texts(self) -> Iterator[str]: ...
