"""Vectors that know nothing: the floor of retrieval."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from baselines.models import RandomVectorOptions
from tasks.model import Embeddings, ModelInfo
from tasks.task import Clip, Trace


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
    """The random encoder."""
    return RandomVectors(options.dimensions, options.seed)
