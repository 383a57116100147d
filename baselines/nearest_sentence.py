"""A captioner that needs no language model (ours): the training sentence that an encoder finds nearest to the clip.

It can say nothing that training did not say, and says it without a fault: a floor for captioners that write, and fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from baselines.model_options import NearestSentenceOptions
from baselines.parts import BuildModel, build_part
from tasks.digests import text_sha256
from tasks.errors import DataError
from tasks.model import Model, ModelInfo, TextReply, TextRequest, VideoTextEncoder
from tasks.youcook2_annotations import Video, read_annotations

TRAINING = "training"
TEXTS_AT_ONCE = 256


class NearestSentence:
    """Offers Captioner; prompts are not read. `vectors` float32 [S, D] are those of the `sentences`, unit length."""

    def __init__(
        self, encoder: VideoTextEncoder, sentences: Sequence[str], vectors: NDArray[np.float32], info: ModelInfo
    ) -> None:
        self.info = info
        self._encoder = encoder
        self._sentences = tuple(sentences)
        self._vectors = vectors

    def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """The nearest sentence of each clip; of equally near ones the first."""
        seen = self._encoder.embed_video([request.clip for request in requests])
        replies = []
        for vector, trace in zip(seen.vectors, seen.traces, strict=True):
            scores = self._vectors @ vector
            best = int(np.argmax(scores))
            notes = {**trace.notes, "similarity": round(float(scores[best]), 4)}
            replies.append(TextReply(self._sentences[best], finished=True, trace=replace(trace, notes=notes)))
        return replies


def build_nearest_sentence(options: NearestSentenceOptions, build: BuildModel) -> NearestSentence:
    """Build the encoder and embed the sentences. Raises DataError or ModelError."""
    encoder = build_part(build, options.encoder, VideoTextEncoder, "the encoder")  # type: ignore[type-abstract]  # checked
    told = training_sentences(options.annotations, options.window)
    # Encoders were trained on sentences side by side; a reader wants to see where one ends.
    read, sentences = [" ".join(steps) for steps in told], ["; ".join(steps) for steps in told]
    chunks = [read[first : first + TEXTS_AT_ONCE] for first in range(0, len(read), TEXTS_AT_ONCE)]
    vectors = np.concatenate([encoder.embed_text(chunk).vectors for chunk in chunks])
    inner = encoder.info if isinstance(encoder, Model) else ModelInfo(type(encoder).__name__)
    details = {
        **inner.details,
        "looks": inner.name,
        "sentences": len(sentences),
        "sentences_sha256": text_sha256(*sentences),
        "window": options.window,
    }
    return NearestSentence(encoder, sentences, vectors, replace(inner, name="nearest-sentence", details=details))


def training_sentences(annotations: Path, window: float) -> list[tuple[str, ...]]:
    """What training videos say of a clip, each once, sorted: a step, or with `window` all steps within so many seconds.

    Raises DataError where the file has no training video.
    """
    videos = [video for video in read_annotations(annotations) if video.subset == TRAINING]
    if not videos:
        raise DataError(f"{annotations} holds no video of the subset '{TRAINING}'")
    return sorted({steps for video in videos for steps in tellings(video, window)})


def tellings(video: Video, window: float) -> list[tuple[str, ...]]:
    """A video's sentences; with a window, those of each stretch of that length, begun at every half of it."""
    if not window:
        return [(step.sentence,) for step in video.segments]
    starts = np.arange(0.0, video.duration, window / 2)
    told = (
        tuple(step.sentence for step in video.segments if start <= (step.start + step.end) / 2 < start + window)
        for start in starts
    )
    return [steps for steps in told if steps]
