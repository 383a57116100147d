"""A language model asked with composed prompts, and the blind model, which sees only the question's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Protocol

from typing_extensions import TypedDict

from baselines.llm.load import load_for
from baselines.llm.protocol import Chat, LanguageModel, Reply
from baselines.models import BlindOptions
from tasks.data_roots import data_file
from tasks.digests import file_sha256, text_sha256
from tasks.files import read_rows
from tasks.model import ModelInfo, OptionRequest, OptionScores, Preparer, TextReply, TextRequest, batch_hint_of
from tasks.prompt import Prompt, load_prompt
from tasks.routes import Route
from tasks.task import Clip, FramesSeen, JsonValue, TokenUsage, Trace


@dataclass(frozen=True, slots=True)
class Ask:
    """A task's prompt about a clip, and the tokens to leave free after it.

    `question` is the bare question within the prompt, empty if there is none. `interleaved`: the benchmark wants
    subtitles among the frames, not in a list.
    """

    clip: Clip
    prompt: str
    reply_start: str
    room: int
    question: str = ""
    interleaved: bool = False


@dataclass(frozen=True, slots=True)
class Composed:
    """What the language model will read, and notes on how it was made.

    `usage` and `seconds` (by stage; `summarise` is part of `compose`) are the cost of the material, whenever made.
    """

    chat: Chat
    notes: Mapping[str, JsonValue] = field(default_factory=dict)
    usage: TokenUsage = field(default_factory=TokenUsage)
    seconds: Mapping[str, float] = field(default_factory=dict)
    frames: FramesSeen | None = None


class Composer(Protocol):
    """Turns prompts about clips into chats, one each, in order."""

    def __call__(self, asks: Sequence[Ask]) -> list[Composed]: ...


class PromptedModel:
    """Implements ChoiceScorer, TextGenerator and Captioner by composing chats for a language model.

    `compose` handles questions; `compose_text`, if given, requests for captions and summaries. `preparer` prepares the
    clips for them.
    """

    def __init__(
        self,
        llm: LanguageModel,
        compose: Composer,
        info: ModelInfo,
        route: Route,
        max_tokens: int | None = None,
        *,
        compose_text: Composer | None = None,
        missing_capabilities: Mapping[str, str] | None = None,
        preparer: Preparer | None = None,
        guided: bool = False,
        reads_subtitles: bool = False,
        is_sampled: bool = False,
    ) -> None:
        self.info = info
        self.is_sampled = is_sampled
        self.reads_subtitles = reads_subtitles
        self.route = route
        self.missing_capabilities = missing_capabilities or {}
        self.preparer = preparer
        self.batch_hint = batch_hint_of(llm)
        self._llm = llm
        self._compose = compose
        self._compose_text = compose_text or compose
        self._max_tokens = max_tokens
        self._guided = guided

    def score_options(self, requests: Sequence[OptionRequest]) -> list[OptionScores]:
        started = perf_counter()
        composed = self.compose_options(requests)
        ready = perf_counter()
        results = self._llm.score([c.chat for c in composed], [request.options for request in requests])
        seconds = shares(started, ready, composed)
        return [
            OptionScores(result.means, trace_of(c, result.usage, seconds, result.notes))
            for c, result in zip(composed, results, strict=True)
        ]

    def compose_options(self, requests: Sequence[OptionRequest]) -> list[Composed]:
        """Return the chats whose continuations `score_options` scores."""
        asks = []
        for request in requests:
            room = max(self._llm.count_tokens(Chat(user=option)) for option in request.options)
            asks.append(
                Ask(request.clip, request.prompt, request.reply_start, room, request.question, request.interleaved)
            )
        return self._compose(asks)

    def generate(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        return self._write(requests, self._compose)

    def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """Write captions: free text like any other, with another prompt."""
        return self._write(requests, self._compose_text)

    def _write(self, requests: Sequence[TextRequest], compose: Composer) -> list[TextReply]:
        started = perf_counter()
        limit = self._max_tokens or max(request.max_tokens for request in requests)
        composed = compose([Ask(r.clip, r.prompt, "", limit, r.question, r.interleaved) for r in requests])
        ready = perf_counter()
        chats = [
            replace(c.chat, choices=request.choices if self._guided else (), draw=request.draw)
            for c, request in zip(composed, requests, strict=True)
        ]
        replies = self._llm.generate(chats, limit)
        seconds = shares(started, ready, composed)
        return [
            TextReply(reply.text, reply.finished, trace_of(c, reply.usage, seconds, noted(reply)))
            for c, reply in zip(composed, replies, strict=True)
        ]


def shares(started: float, ready: float, composed: Sequence[Composed]) -> dict[str, float]:
    """Return seconds per item for composing prompts (without waiting for frames) and for the language model."""
    count = len(composed)
    waited = sum(one.seconds.get("wait", 0.0) for one in composed)
    return {"compose": max(0.0, ready - started - waited) / count, "llm": (perf_counter() - ready) / count}


def noted(reply: Reply) -> Mapping[str, JsonValue]:
    """Return what a record keeps of a reply besides its text; a thought is kept separately from the answer."""
    return {**reply.notes, "thought": reply.thought} if reply.thought else reply.notes


def trace_of(
    composed: Composed, usage: TokenUsage, seconds: Mapping[str, float], notes: Mapping[str, JsonValue]
) -> Trace:
    """Return the trace of one exchange; `notes` are the language model's."""
    chat = composed.chat
    among = tuple(text for _, text in chat.shown.between) if chat.shown else ()
    return Trace(
        prompt_sha256=text_sha256(chat.system, *among, chat.user, chat.reply_start),
        usage=composed.usage + usage,
        seconds={**seconds, **composed.seconds},
        frames=composed.frames,
        notes={**composed.notes, **notes},
    )


@dataclass(frozen=True, slots=True)
class Example:
    """A few-shot example: the text in place of a video, the prompt about it, and the expected reply."""

    material: str
    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class Examples:
    """A file's examples with its digest."""

    rows: tuple[Example, ...]
    sha256: str

    def opening(self, frame: Prompt, body: Prompt) -> str:
        """Render all examples as text, each with `body` as for the task itself."""
        shown = [
            frame.fill(
                "example",
                number=str(number),
                body=body.fill("user", captions=row.material, prompt=row.prompt),
                reply=row.reply,
            )
            for number, row in enumerate(self.rows, start=1)
        ]
        return "\n\n".join([frame.fill("opening"), *shown, frame.fill("closing"), ""])


class Row(TypedDict):
    """A line of the file."""

    captions: str
    prompt: str
    reply: str


def load_examples(path: Path) -> Examples:
    """Read JSON lines `{"captions", "prompt", "reply"}`. Raises DataError naming file, line and field."""
    path = data_file(path)
    rows = read_rows(path, Row, "examples file")
    return Examples(tuple(Example(row["captions"], row["prompt"], row["reply"]) for _, row in rows), file_sha256(path))


NO_VECTORS = {
    "VideoTextEncoder": "a model that sees no video has no vector of it; the floors of retrieval are random-vectors, "
    "and tfidf or bm25 where there are transcripts"
}


def compose_blind(template: Prompt) -> Composer:
    """Return a composer that ignores the clip."""

    def compose(asks: Sequence[Ask]) -> list[Composed]:
        return [
            Composed(Chat(template.fill("user", prompt=ask.prompt), template.fill("system"), ask.reply_start))
            for ask in asks
        ]

    return compose


def build_blind(options: BlindOptions) -> PromptedModel:
    """Load the language model and wrap it. Raises ModelError for an unknown model or prompt."""
    question, text = (load_prompt("baselines", options.prompt or name) for name in ("blind.v1", "blind-text.v1"))
    llm = load_for(options)
    return PromptedModel(
        llm,
        compose_blind(question),
        info_with_prompts("blind", llm, (question, text)),
        options.route,
        options.max_tokens,
        compose_text=compose_blind(text),
        missing_capabilities=NO_VECTORS,
        guided=options.guided,
    )


def info_with_prompts(name: str, llm: LanguageModel, prompts: Sequence[Prompt], **details: JsonValue) -> ModelInfo:
    """Return what a record keeps of a prompted model: the language model's facts under the baseline's name."""
    inner = llm.info
    return ModelInfo(
        name=name,
        parameters=inner.parameters,
        weights_sha256=inner.weights_sha256,
        device=inner.device,
        dtype=inner.dtype,
        prompts={prompt.name: prompt.sha256 for prompt in prompts},
        details={"llm": inner.name, "context": llm.context, **inner.details, **details},
    )
