"""What is measured during training: retrieval by caption, and statements told from false ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.dual import DualEncoder
from encoders.pretrain.engine import autocast
from encoders.pretrain.loader import stack_pixels
from encoders.pretrain.order import Request, seed_of
from encoders.pretrain.samples import Sample, Source, TextView
from encoders.tokens import TextTokenizer
from tasks.ranks import duplicate_aware, ranks_from_vectors, swapped

TEXTS_AT_ONCE = 256
PER_KIND = 5
"""Statements of each kind that are asked of a video."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The first `videos` samples of a held-out source, always the same draws of them, without a mask."""

    encoder: DualEncoder
    tokenizer: TextTokenizer
    source: Source
    videos: int
    batch: int
    device: torch.device
    dtype: str

    @torch.inference_mode()
    def __call__(self) -> dict[str, float]:
        """R@1 both ways, accuracy of statements by kind and their mean over kinds; `unread` samples, where any."""
        requests = (Request(index, seed_of(0, "evaluation", index)) for index in range(self.videos))
        samples, vectors = [], []
        found = self.source.load(requests)
        while chunk := list(islice(found, self.batch)):
            good = [sample for sample in chunk if isinstance(sample, Sample)]
            if good:
                vectors.append(self._videos(stack_pixels(good)))
                samples += [(sample.captions, sample.statements) for sample in good]
        if not samples:
            return {"unread": float(self.videos)}
        joined = np.concatenate(vectors)
        values = self._retrieval(joined, [captions[0].text for captions, _ in samples])
        values |= self._statements(joined, [statements for _, statements in samples])
        unread = self.videos - len(samples)
        return values | ({"unread": float(unread)} if unread else {})

    def _retrieval(self, videos: NDArray[np.float32], captions: Sequence[str]) -> dict[str, float]:
        """Text → video and video → text; equal captions are each other's right answers."""
        truth = duplicate_aware([[i] for i in range(len(captions))], captions)
        texts = self._texts(captions)
        to_video = ranks_from_vectors(texts, videos, truth)
        to_text = ranks_from_vectors(videos, texts, swapped(truth, len(captions)))
        return {"text_to_video_r1": float((to_video == 1).mean()), "video_to_text_r1": float((to_text == 1).mean())}

    def _statements(self, videos: NDArray[np.float32], statements: Sequence[Sequence[TextView]]) -> dict[str, float]:
        asked = list(_asked(statements))
        if not asked:
            return {}
        distinct = list(dict.fromkeys(text for _, view in asked for text in (view.text, *view.false)))
        place = {text: at for at, text in enumerate(distinct)}
        texts = self._texts(distinct)
        right: dict[str, list[bool]] = defaultdict(list)
        for row, view in asked:
            scores = texts[[place[text] for text in (view.text, *view.false)]] @ videos[row]
            right[view.kind].append(bool((scores[0] > scores[1:]).all()))
        by_kind = {f"accuracy_{kind}": float(np.mean(hits)) for kind, hits in sorted(right.items())}
        return {"accuracy": float(np.mean(list(by_kind.values()))), **by_kind}

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


def _asked(statements: Sequence[Sequence[TextView]]) -> Iterator[tuple[int, TextView]]:
    """At most PER_KIND statements of each kind of each video, spread over those there are."""
    for row, views in enumerate(statements):
        kinds: dict[str, list[TextView]] = defaultdict(list)
        for view in views:
            kinds[view.kind].append(view)
        for members in kinds.values():
            count = min(PER_KIND, len(members))
            yield from ((row, members[at * len(members) // count]) for at in range(count))
