"""Full-video retrieval by words alone: a video's transcript against the texts about it.

A video's vector comes from its transcript, a text's from its words, and their dot product is the score of TF-IDF
(scikit-learn) or BM25 (bm25s). Both learn their vocabulary and weights from the transcripts only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.captions import CaptionFile, load_captions
from baselines.models import Bm25Options, TfidfOptions
from tasks.errors import DataError, ModelError
from tasks.model import Embeddings, ModelInfo
from tasks.task import Clip, JsonValue, Trace
from tasks.tokenizers import ptb_tokens

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WordRetriever:
    """Vectors over a vocabulary: `documents` [V, D] by video id, and a function of texts to [N, D]."""

    name: str
    captions: CaptionFile
    documents: dict[str, Rows]
    queries: Callable[[Sequence[str]], Rows]
    details: dict[str, JsonValue]

    @property
    def info(self) -> ModelInfo:
        details: dict[str, JsonValue] = {
            **self.details,
            "captioner": self.captions.captioner,
            "captions_sha256": self.captions.sha256,
        }
        return ModelInfo(name=self.name, parameters=0, details=details)

    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        """Return vectors of whole videos. Raises DataError for a video without captions instead of guessing."""
        heard = [len(self.captions.of(clip)) for clip in clips]
        rows = np.stack([self.documents[self.captions.id_of(clip)] for clip in clips])
        return Embeddings(rows, tuple(Trace(notes={"phrases": count}) for count in heard))

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        rows = self.queries(texts)
        return Embeddings(rows, tuple(Trace(notes={"known_words": int(np.count_nonzero(row))}) for row in rows))


def spoken_texts(captions: CaptionFile) -> dict[str, str]:
    """Return the transcript of each video that has speech, in the file's order."""
    return {
        video: " ".join(entry if isinstance(entry, str) else entry.text for entry in entries)
        for video, entries in captions.by_video.items()
        if entries
    }


def spoken_words(captions: CaptionFile) -> dict[str, list[str]]:
    """Return the words of each video that has speech. Raises DataError if no video has any."""
    words = {video: list(ptb_tokens(text)) for video, text in spoken_texts(captions).items()}
    if not any(words.values()):
        raise DataError(f"captions file {captions.path} holds no words to find a video by")
    return words


def build_tfidf(options: TfidfOptions) -> WordRetriever:
    """Build the cosine of TF-IDF vectors (sub-linear term frequency).

    Raises DataError, or ModelError without scikit-learn.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise ModelError("model 'tfidf' needs scikit-learn: pip install scikit-learn") from error
    captions = load_captions(options.captions)
    words = spoken_words(captions)
    vectorizer = TfidfVectorizer(analyzer=list, sublinear_tf=True, dtype=np.float32)
    table = vectorizer.fit_transform(words.values())

    def queries(wanted: Sequence[str]) -> Rows:
        return np.asarray(vectorizer.transform(map(ptb_tokens, wanted)).toarray(), dtype=np.float32)

    documents = {video: np.asarray(table[i].toarray()[0], dtype=np.float32) for i, video in enumerate(words)}
    return WordRetriever("tfidf", captions, documents, queries, {"vocabulary": table.shape[1]})


def build_bm25(options: Bm25Options) -> WordRetriever:
    """Build Lucene's BM25. Raises DataError, or ModelError without bm25s.

    A text's vector has unit length, which changes no ranking of videos but keeps videos from preferring long texts.
    """
    try:
        import bm25s
    except ImportError as error:
        raise ModelError("model 'bm25' needs bm25s: pip install bm25s") from error
    captions = load_captions(options.captions)
    spoken = spoken_words(captions)
    index = bm25s.BM25(k1=options.k1, b=options.b, method="lucene")
    index.index(list(spoken.values()), show_progress=False)
    words: dict[str, int] = index.vocab_dict
    table = np.zeros((len(spoken), max(words.values()) + 1), dtype=np.float32)
    weights, rows, starts = (index.scores[key] for key in ("data", "indices", "indptr"))
    columns = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    table[rows, columns] = weights

    def queries(wanted: Sequence[str]) -> Rows:
        counts = np.zeros((len(wanted), table.shape[1]), dtype=np.float32)
        for row, text in zip(counts, wanted, strict=True):
            for token in ptb_tokens(text):
                if token in words:
                    row[words[token]] += 1
        lengths = np.linalg.norm(counts, axis=1, keepdims=True)
        unit: Rows = np.divide(counts, lengths, out=counts, where=lengths > 0)
        return unit

    documents = dict(zip(spoken, table, strict=True))
    details: dict[str, JsonValue] = {"vocabulary": len(words), "k1": options.k1, "b": options.b}
    return WordRetriever("bm25", captions, documents, queries, details)
