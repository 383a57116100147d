"""Adapt any class to the Task API: plain strings, numbers and arrays are accepted, and checked at once.

A class needs one capability of `tasks.model`: `generate`, `choose`, `score_options`, `caption`, or `embed_video` with
`embed_text`. Replies may have the Task API's types or plain ones; the first of another type is reported with its item.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ModelError, ReplyTypeError
from tasks.files import unicode_only
from tasks.model import (
    BatchHint,
    Embeddings,
    ModelInfo,
    OptionRequest,
    OptionScores,
    TextReply,
    TextRequest,
)
from tasks.registry import CAPABILITIES, capabilities_of
from tasks.task import Clip, JsonValue, Trace

T = TypeVar("T")
PASSED_ON = ("route", "preparer", "lacks", "looking_ahead", "reads_subtitles", "is_sampled")
"""Optional attributes of a model besides its capabilities (tasks.model)."""


class Adapted:
    """A wrapper around `inner` with the same capabilities."""

    def __init__(self, inner: object, info: ModelInfo) -> None:
        self.inner: Any = inner
        self.info = info
        for name in PASSED_ON:
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))
        hint = getattr(inner, "batch", None)
        self.batch_hint = BatchHint(hint) if isinstance(hint, int) and hint > 0 else getattr(inner, "batch_hint", None)


class _Generates(Adapted):
    def generate(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        return _texts("generate", self.inner.generate(requests), requests)


class _Captions(Adapted):
    def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        return _texts("caption", self.inner.caption(requests), requests)


class _Scores(Adapted):
    def score_options(self, requests: Sequence[OptionRequest]) -> list[OptionScores]:
        found = _each("score_options", self.inner.score_options(requests), [r.item_id for r in requests])
        return [_scores(request, scores) for request, scores in zip(requests, found, strict=True)]


class _Chooses(Adapted):
    def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
        found = _each("choose", self.inner.choose(requests), [r.item_id for r in requests])
        return [_choice(request, index) for request, index in zip(requests, found, strict=True)]


class _ReadsTexts(Adapted):
    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        return _vectors("embed_text", self.inner.embed_text(texts), [text[:40] for text in texts])


class _EmbedsVideos(_ReadsTexts):
    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        return _vectors("embed_video", self.inner.embed_video(clips), [clip.video_id for clip in clips])


class _EmbedsForQueries(_ReadsTexts):
    def embed_video_for(self, clips: Sequence[Clip], queries: Sequence[str]) -> Embeddings:
        return _vectors("embed_video_for", self.inner.embed_video_for(clips, queries), [c.video_id for c in clips])


WRAPPERS: MappingProxyType[str, type[Adapted]] = MappingProxyType(
    {
        "VideoTextEncoder": _EmbedsVideos,
        "QueryVideoEncoder": _EmbedsForQueries,
        "ChoiceScorer": _Scores,
        "TextGenerator": _Generates,
        "Chooser": _Chooses,
        "Captioner": _Captions,
    }
)


def adapted(model: object, name: str = "") -> object:
    """Wrap a model so that its replies have the Task API's types; `name` is its name in records.

    Raises ModelError for an object without any capability.
    """
    if isinstance(model, Adapted):
        return model
    offered = capabilities_of(model)
    if not offered:
        wanted = ", ".join(" + ".join(methods) for methods in CAPABILITIES.values())
        msg = f"{type(model).__name__} has none of the methods of a model: {wanted}"
        raise ModelError(msg)
    kind = type("Adapted", tuple(WRAPPERS[capability] for capability in offered), {})
    adapter: object = kind(model, info_of(model, name))
    return adapter


def info_of(model: object, name: str = "") -> ModelInfo:
    """Return a model's own description, or its class's name and the digest of its source."""
    own = getattr(model, "info", None)
    if isinstance(own, ModelInfo):
        return own
    details: dict[str, JsonValue] = {"class": type(model).__qualname__, "source_sha256": source_digest(type(model))}
    return ModelInfo(name=name or type(model).__name__, details=details)


def source_digest(kind: type) -> str | None:
    """Digest a class's source, so that a run isn't resumed by other code; None if there is no source."""
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        return None
    return hashlib.sha256(source.encode()).hexdigest()


def _each(method: str, found: object, names: Sequence[str]) -> Sequence[Any]:
    """Check that there are as many replies as requests. Raises ModelError."""
    if isinstance(found, str | bytes) or not isinstance(found, Iterable):
        msg = f"{method} returned a {type(found).__name__}: return a list with a reply for each request"
        raise ReplyTypeError(msg)
    replies: list[Any] = list(found)
    if len(replies) != len(names):
        msg = f"{method} returned {len(replies)} replies to {len(names)} requests (the first is {names[0]})"
        raise ReplyTypeError(msg)
    return replies


def _texts(method: str, found: object, requests: Sequence[TextRequest]) -> list[TextReply]:
    replies = []
    for request, reply in zip(requests, _each(method, found, [r.item_id for r in requests]), strict=True):
        if not isinstance(reply, str | TextReply):
            msg = f"{method} returned a {type(reply).__name__} for item {request.item_id}: return a text or a TextReply"
            raise ReplyTypeError(msg)
        text: object = reply if isinstance(reply, str) else reply.text
        if not isinstance(text, str):
            msg = f"{method} returned a {type(text).__name__} as the text for item {request.item_id}"
            raise ReplyTypeError(msg)
        plain = unicode_only(text)
        replies.append(TextReply(plain, finished=True) if isinstance(reply, str) else replace(reply, text=plain))
    return replies


def _scores(request: OptionRequest, scores: object) -> OptionScores:
    values = _numbers(scores.scores if isinstance(scores, OptionScores) else scores)
    if values is None or values.shape != (len(request.options),):
        msg = (
            f"score_options returned {scores!r:.80} for item {request.item_id}: "
            f"give {len(request.options)} numbers, one for each option, or OptionScores"
        )
        raise ReplyTypeError(msg)
    if isinstance(scores, OptionScores):
        return scores
    return OptionScores(tuple(float(value) for value in values))


def _choice(request: OptionRequest, index: object) -> int:
    choice = int(index) if isinstance(index, int | np.integer) and not isinstance(index, bool) else -1
    if not 0 <= choice < len(request.options):
        msg = (
            f"choose returned {index!r:.80} for item {request.item_id}: "
            f"give the option's index, 0 to {len(request.options) - 1}"
        )
        raise ReplyTypeError(msg)
    return choice


def _vectors(method: str, found: object, names: Sequence[str]) -> Embeddings:
    """Normalise vectors to unit length. Raises ModelError for another shape, and for NaN, infinity or all zeros."""
    if isinstance(found, Embeddings):
        return found
    rows = [_numbers(row) for row in _each(method, found, names)]
    lengths = {None if row is None else row.shape for row in rows}
    if len(lengths) > 1 or None in lengths or len(next(iter(lengths)) or ()) != 1:
        msg = f"{method} must return an array [N, D] of numbers, one row each for {len(names)} requests"
        raise ReplyTypeError(msg)
    table = np.stack([row for row in rows if row is not None])
    norms = np.linalg.norm(table, axis=1, keepdims=True)
    for name, norm in zip(names, norms[:, 0], strict=True):
        if not np.isfinite(norm) or norm == 0:
            what = "zero" if norm == 0 else "not finite"
            msg = f"{method}: the vector of '{name}' is {what}"
            raise ModelError(msg)
    unit = (table / norms).astype(np.float32)
    return Embeddings(unit, tuple(Trace() for _ in names))


def _numbers(found: object) -> NDArray[np.float64] | None:
    """Convert arrays, tensors and lists to an array of numbers.

    None if that is impossible: truth values, texts and complex numbers are not taken for numbers.
    """
    detach: Callable[[], Any] | None = getattr(found, "detach", None)
    if detach is not None:  # a torch tensor; this package does not import torch
        found = detach().cpu().double().numpy()
    try:
        plain = np.asarray(found)
        if plain.dtype.kind not in "iufO" or (plain.dtype.kind == "O" and not all(map(_is_number, plain.flat))):
            return None
        return plain.astype(np.float64)
    except (TypeError, ValueError):
        return None


def _is_number(value: object) -> bool:
    """Whether a value in a list is a number of Python's, NumPy's or torch's."""
    return hasattr(value, "__float__") and not isinstance(value, str | bool | np.bool_ | np.complexfloating)
