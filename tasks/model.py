"""What a model can do, as small Protocols that tasks check before any work starts.

A model has one or more of them; tasks never know how it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tasks.errors import ModelError
from tasks.task import Clip, JsonValue, Trace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a record keeps of a model.

    Attributes:
        name: the model's name.
        parameters: its number of parameters, if known.
        weights_sha256: the digest of its weights.
        device: where it runs.
        dtype: the type of its weights.
        prompts: the digests of its prompt files, by name.
        details: further facts by name.
    """

    name: str
    parameters: int | None = None
    weights_sha256: str | None = None
    device: str = "cpu"
    dtype: str | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchHint:
    """How many items a model wants at once: `batch` in one call, and `lanes` concurrent calls (from threads)."""

    batch: int = 1
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A prompt about a clip, to be answered in free text.

    Attributes:
        item_id: the item that is asked about.
        clip: what to look at; `longvid.frames(request.clip)` gives its pixels.
        prompt: the whole prompt, including the options if they are listed.
        max_tokens: the longest reply.
        question: the bare question within the prompt, if there is one.
        choices: the allowed replies, for models that can be constrained to them; others ignore it.
        interleaved: subtitles belong among the frames, if a model reads both.
        draw: the number of the reply among several to one prompt, from 0; a model that samples adds it to its seed.
    """

    item_id: str
    clip: Clip
    prompt: str
    max_tokens: int
    question: str = ""
    choices: tuple[str, ...] = ()
    interleaved: bool = False
    draw: int = 0


@dataclass(frozen=True, slots=True)
class OptionRequest:
    """A prompt about a clip, and continuations of the reply to be compared by likelihood.

    Attributes:
        item_id: the item that is asked about.
        clip: what to look at.
        prompt: the whole prompt.
        reply_start: how the reply begins.
        options: strings that continue the reply, one for each option.
        question: the bare question within the prompt.
        interleaved: subtitles belong among the frames, if a model reads both.
    """

    item_id: str
    clip: Clip
    prompt: str
    reply_start: str
    options: tuple[str, ...]
    question: str = ""
    interleaved: bool = False


@dataclass(frozen=True, slots=True)
class TextReply:
    """A model's text.

    Attributes:
        text: the reply.
        finished: False if the token limit cut the reply.
        trace: frames, tokens and seconds that it took, for the record.
    """

    text: str
    finished: bool
    trace: Trace = field(default_factory=Trace)


@dataclass(frozen=True, slots=True)
class OptionScores:
    """How likely each option is.

    Attributes:
        scores: the mean log-likelihood per token (nats) of each option, in order; the highest is chosen.
        trace: frames, tokens and seconds that it took, for the record.
    """

    scores: tuple[float, ...]
    trace: Trace = field(default_factory=Trace)


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors of videos or texts.

    Attributes:
        vectors: float32 [N, D], of unit length, in the order asked for.
        traces: frames, tokens and seconds of each, for the record.
    """

    vectors: NDArray[np.float32]
    traces: tuple[Trace, ...]


@runtime_checkable
class Model(Protocol):
    """A model with a description."""

    @property
    def info(self) -> ModelInfo: ...


@runtime_checkable
class VideoTextEncoder(Protocol):
    """Embeds videos and texts into one space."""

    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        """Return one vector for each clip, in order."""
        ...

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """Return one vector for each text, in order, of the same length as the videos'."""
        ...


@runtime_checkable
class QueryVideoEncoder(Protocol):
    """Embeds each video given a query about it, and texts into the same space."""

    def embed_video_for(self, clips: Sequence[Clip], queries: Sequence[str]) -> Embeddings:
        """Return one vector for each clip, given the query at the same index."""
        ...

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """Return one vector for each text, in order, of the same length as the videos'."""
        ...


@runtime_checkable
class Preparer(Protocol):
    """Prepares and stores what a run needs of its clips before the first item is asked."""

    def prepare(self, clips: Sequence[Clip], on_clip: Callable[[Clip, str | None], None]) -> None:
        """Call `on_clip` for each clip, with its error if there was one; asking the item raises that error again."""
        ...


@runtime_checkable
class NeedsPreparing(Protocol):
    """A model whose clips may need preparing first."""

    @property
    def preparer(self) -> Preparer | None: ...


@runtime_checkable
class LooksAhead(Protocol):
    """A model that reads clips ahead, while it is busy with earlier ones."""

    def looking_ahead(self, clips: Sequence[Clip]) -> AbstractContextManager[None]:
        """Inside this context, `clips` are requested in this order, and possibly others."""
        ...


@runtime_checkable
class MissingCapabilities(Protocol):
    """Explains, by capability, why a model lacks it."""

    @property
    def missing_capabilities(self) -> Mapping[str, str]: ...


@runtime_checkable
class Captioner(Protocol):
    """Writes a text about a clip."""

    def caption(self, requests: Sequence[TextRequest]) -> Sequence[TextReply]:
        """Return one text for each request, in order; plain strings are accepted as replies."""
        ...


@runtime_checkable
class ChoiceScorer(Protocol):
    """Scores given continuations of a reply by likelihood."""

    def score_options(self, requests: Sequence[OptionRequest]) -> Sequence[OptionScores]:
        """Return the likelihoods of each request's options, in order; plain lists of numbers are accepted."""
        ...


@runtime_checkable
class TextGenerator(Protocol):
    """Answers a prompt about a clip in free text."""

    def generate(self, requests: Sequence[TextRequest]) -> Sequence[TextReply]:
        """Return one reply for each request, in order; plain strings are accepted as replies."""
        ...


@runtime_checkable
class Chooser(Protocol):
    """Names an option directly, without likelihoods or words: chance, constants, imports."""

    def choose(self, requests: Sequence[OptionRequest]) -> Sequence[int]:
        """Return the index of the chosen option for each request, from 0."""
        ...


def batch_hint_of(model: object) -> BatchHint:
    """Return a model's `batch_hint`; one item at a time if it has none."""
    wanted = getattr(model, "batch_hint", None)
    return wanted if isinstance(wanted, BatchHint) else BatchHint()


def looking_ahead(model: object, clips: Sequence[Clip]) -> AbstractContextManager[None]:
    """Return the model's own `looking_ahead` context; an empty one if it has none."""
    return model.looking_ahead(clips) if isinstance(model, LooksAhead) else nullcontext()


def require(model: object, capability: type, task_name: str, why: str) -> None:
    """Raise ModelError unless `model` offers `capability` (a runtime-checkable Protocol)."""
    if isinstance(model, capability):
        return
    methods = " and ".join(sorted(name for name in vars(capability) if not name.startswith("_") and name != "info"))
    name = model.info.name if isinstance(model, Model) else type(model).__name__
    reason = model.missing_capabilities.get(capability.__name__, "") if isinstance(model, MissingCapabilities) else ""
    msg = f"{task_name} needs {capability.__name__} ({methods}) {why}; model '{name}' does not offer it"
    raise ModelError(f"{msg}: {reason}" if reason else msg)
