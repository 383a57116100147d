"""Retrieval by text: a video's captions, or summaries of them, embedded by an encoder's text tower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from baselines.captions import CaptionSource
from baselines.material import readable
from baselines.models import CaptionVectorOptions
from baselines.parts import BuildModel, build_part
from baselines.segment_captions import SegmentCaptions, caption_source
from baselines.segments import own_segments
from tasks.errors import DataError
from tasks.model import Embeddings, Model, ModelInfo, Preparer, VideoTextEncoder
from tasks.registry import build_model
from tasks.task import Clip


class CaptionVectors:
    """Implements VideoTextEncoder; both sides are texts, and the encoder's video tower is never used.

    The encoder pools a long text from chunks, and the record says from how many (our choice).
    """

    def __init__(self, captions: CaptionSource, encoder: VideoTextEncoder, info: ModelInfo) -> None:
        self.info = info
        self.preparer: Preparer | None = captions if isinstance(captions, SegmentCaptions) else None
        self._captions = captions
        self._encoder = encoder

    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        texts = [self._said(clip) for clip in clips]
        embedded = self._encoder.embed_text(texts)
        traces = tuple(
            replace(trace, notes={**trace.notes, "captions_text": readable(text)})
            for trace, text in zip(embedded.traces, texts, strict=True)
        )
        return Embeddings(embedded.vectors, traces)

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        return self._encoder.embed_text(texts)

    def _said(self, clip: Clip) -> str:
        segments = own_segments(self._captions.of(clip), clip)
        text = ". ".join(part for segment in segments for part in segment.texts)
        if not text:
            msg = f"'{clip.video_id}': there is no caption between {clip.start:g} and {clip.end:g} s"
            raise DataError(msg)
        return text


def build_caption_vectors(options: CaptionVectorOptions, build: BuildModel = build_model) -> CaptionVectors:
    """Find the captions and build the encoder. Raises DataError or ModelError."""
    captions = caption_source(options, build)
    encoder = build_part(build, options.encoder, VideoTextEncoder, "the text encoder")  # type: ignore[type-abstract]  # checked
    inner = encoder.info if isinstance(encoder, Model) else ModelInfo(type(encoder).__name__)
    details = {
        **inner.details,
        "text_encoder": inner.name,
        "captioner": captions.captioner,
        "captions_sha256": captions.sha256,
    }
    return CaptionVectors(captions, encoder, replace(inner, name="caption-vectors", details=details))
