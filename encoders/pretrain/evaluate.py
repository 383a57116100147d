"""Evaluation during training: retrieval by caption, and telling statements from false ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.dual import DualEncoder
from encoders.pretrain.data import Sample, Source, TextView, stack_pixels
from encoders.pretrain.engine import autocast
from encoders.pretrain.step import Request, seed_of
from encoders.tokens import TextTokenizer
from tasks.ranks import duplicate_aware, ranks_from_vectors, swapped

TEXTS_AT_ONCE = 256
PER_KIND = 5
"""Number of statements of each kind asked of a video."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The outcomes by video: `keys` of the readable ones, and whether each was found.

    `statements` holds, by kind, each statement's video row and whether it was told from its false
    ones; `chances` the accuracy of guessing by kind.
    """

    keys: tuple[str, ...]
    text_to_video: NDArray[np.bool_]
    video_to_text: NDArray[np.bool_]
    statements: dict[str, list[tuple[int, bool]]]
    chances: dict[str, float]
    unread: int = 0
    questions: dict[str, list[tuple[int, bool]]] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """R@1 both ways, accuracy of statements and of a benchmark's questions; `unread` samples, if any.

        Accuracies are given by kind and as the mean over kinds.
        """
        unread = {"unread": float(self.unread)} if self.unread else {}
        if not self.keys:
            return unread
        recalls = {
            "text_to_video_r1": float(self.text_to_video.mean()),
            "video_to_text_r1": float(self.video_to_text.mean()),
        }
        return recalls | _accuracies("accuracy", self.statements) | _accuracies("questions", self.questions) | unread


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The first `videos` samples of a held-out source, always with the same draws, without a mask."""

    encoder: DualEncoder
    tokenizer: TextTokenizer
    source: Source
    videos: int
    batch: int
    device: torch.device
    dtype: str

    def __call__(self) -> dict[str, float]:
        """Return the figures of `outcomes`."""
        return self.outcomes().figures()

    @torch.inference_mode()
    def outcomes(self) -> Outcomes:
        """Evaluate everything on every video."""
        requests = (Request(index, seed_of(0, "evaluation", index)) for index in range(self.videos))
        samples, vectors = [], []
        found = self.source.load(requests)
        while chunk := list(islice(found, self.batch)):
            good = [sample for sample in chunk if isinstance(sample, Sample)]
            if good:
                vectors.append(self._videos(stack_pixels(good)))
                samples += [replace(sample, pixels=sample.pixels[:0]) for sample in good]
        if not samples:
            nothing = np.zeros(0, dtype=np.bool_)
            return Outcomes((), nothing, nothing, {}, {}, self.videos)
        joined = np.concatenate(vectors)
        to_video, to_text = self._retrieval(joined, [sample.captions[0].text for sample in samples])
        asked = list(_asked([sample.statements for sample in samples]))
        questions = [(row, view) for row, sample in enumerate(samples) for view in sample.questions]
        return Outcomes(
            keys=tuple(sample.key for sample in samples),
            text_to_video=to_video,
            video_to_text=to_text,
            statements=self._statements(joined, asked),
            chances=_chances(asked),
            unread=self.videos - len(samples),
            questions=self._statements(joined, questions),
        )

    def _retrieval(
        self, videos: NDArray[np.float32], captions: Sequence[str]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which are found, text → video and video → text; equal captions are correct answers for each other."""
        truth = duplicate_aware([[i] for i in range(len(captions))], captions)
        texts = self._texts(captions)
        to_video = ranks_from_vectors(texts, videos, truth)
        to_text = ranks_from_vectors(videos, texts, swapped(truth, len(captions)))
        return to_video == 1, to_text == 1

    def _statements(
        self, videos: NDArray[np.float32], asked: Sequence[tuple[int, TextView]]
    ) -> dict[str, list[tuple[int, bool]]]:
        if not asked:
            return {}
        distinct = list(dict.fromkeys(text for _, view in asked for text in (view.text, *view.false)))
        place = {text: at for at, text in enumerate(distinct)}
        texts = self._texts(distinct)
        right: dict[str, list[tuple[int, bool]]] = defaultdict(list)
        for row, view in asked:
            scores = texts[[place[text] for text in (view.text, *view.false)]] @ videos[row]
            right[view.kind].append((row, bool((scores[0] > scores[1:]).all())))
        return dict(sorted(right.items()))

    def _videos(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with autocast(self.device, self.dtype):
            return _array(self.encoder.embed_video(torch.from_numpy(pixels).to(self.device)))

    def _texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        context = self.encoder.config.text.context
        parts = [texts[at : at + TEXTS_AT_ONCE] for at in range(0, len(texts), TEXTS_AT_ONCE)]
        with autocast(self.device, self.dtype):
            batches = [self.tokenizer.batch(part, context).to(self.device) for part in parts]
            return np.concatenate([_array(self.encoder.embed_text(batch)) for batch in batches])


def _array(vectors: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = vectors.float().cpu().numpy()
    return found


def _accuracies(name: str, asked: Mapping[str, Sequence[tuple[int, bool]]]) -> dict[str, float]:
    """Return the accuracy by kind, and the mean over kinds."""
    by_kind = {f"{name}_{kind}": float(np.mean([right for _, right in found])) for kind, found in asked.items()}
    return {name: float(np.mean(list(by_kind.values())))} | by_kind if by_kind else {}


def _chances(asked: Sequence[tuple[int, TextView]]) -> dict[str, float]:
    """Return the accuracy of guessing among statements and their false ones, by kind."""
    shares: dict[str, list[float]] = defaultdict(list)
    for _, view in asked:
        shares[view.kind].append(1 / (1 + len(view.false)))
    return {kind: float(np.mean(found)) for kind, found in sorted(shares.items())}


def _asked(statements: Sequence[Sequence[TextView]]) -> Iterator[tuple[int, TextView]]:
    """Yield at most PER_KIND statements of each kind of each video, spread from first to last."""
    for row, views in enumerate(statements):
        kinds: dict[str, list[TextView]] = defaultdict(list)
        for view in views:
            kinds[view.kind].append(view)
        for members in kinds.values():
            count = min(PER_KIND, len(members))
            yield from ((row, members[at * (len(members) - 1) // max(count - 1, 1)]) for at in range(count))
