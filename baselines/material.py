"""The text that replaces a video in a prompt, fitted into the language model's context by a stated rule.

`thin`: keep every k-th caption over the whole video, with the smallest k that fits. `map-reduce`: split the segments
into the fewest consecutive parts that each fit a summary prompt, replace the captions by the parts' summaries with
their times, and repeat until they fit. Both are our choice; neither ever cuts a text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from time import perf_counter
from typing import Protocol

from baselines.llm.protocol import Chat, LanguageModel, Reply
from baselines.segments import Segment, clock, render, thin
from tasks.errors import ModelError
from tasks.prompt import Prompt
from tasks.task import JsonValue, TokenUsage

NOTE_CHARACTERS = 6_000
TOKENS_PER_WORD = 2
"""Our choice: generous tokens per English word."""


@dataclass(frozen=True, slots=True)
class Material:
    """The text, how it was made, and what language models spent on it."""

    text: str
    notes: Mapping[str, JsonValue] = field(default_factory=dict)
    usage: TokenUsage = field(default_factory=TokenUsage)
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fitting:
    """A video's segments, the chat that their text goes into, and the tokens to leave free after it."""

    video_id: str
    segments: Sequence[Segment]
    chat: Callable[[str], Chat]
    room: int

    def fits(self, llm: LanguageModel, text: str) -> bool:
        """Whether the chat with `text` leaves enough room."""
        return llm.count_tokens(self.chat(text)) + self.room <= llm.context


class Fitter(Protocol):
    """A rule that makes captions fit the context."""

    def __call__(self, fittings: Sequence[Fitting]) -> list[Material]: ...


@dataclass(frozen=True, slots=True)
class Thin:
    """Keeps every k-th caption, with the smallest k that fits."""

    llm: LanguageModel

    def __call__(self, fittings: Sequence[Fitting]) -> list[Material]:
        return [self._thinned(fitting) for fitting in fittings]

    def _thinned(self, fitting: Fitting) -> Material:
        total = sum(len(segment.texts) for segment in fitting.segments)
        for keep_every in count(1):
            kept = thin(fitting.segments, keep_every)
            text = render(kept)
            if fitting.fits(self.llm, text):
                held = sum(len(segment.texts) for segment in kept)
                return Material(text, {"captions_kept": held, "kept_every": keep_every})
            if keep_every >= total:
                break
        context = f"the context of {self.llm.context} tokens"
        if not fitting.fits(self.llm, ""):
            msg = f"'{fitting.video_id}': the question alone, without captions, overflows {context}"
            raise ModelError(msg)
        first = next(segment for segment in fitting.segments if segment.texts)
        raise ModelError(f"'{fitting.video_id}': {told_alone(first)} overflows {context}; shorten it")


@dataclass(frozen=True, slots=True)
class MapReduce:
    """Replaces captions that don't fit by summaries of consecutive parts, as often as needed."""

    llm: LanguageModel
    prompt: Prompt
    words: int

    def __call__(self, fittings: Sequence[Fitting]) -> list[Material]:
        materials = [Material("", {"part_summaries": 0}) for _ in fittings]
        segments = [list(fitting.segments) for fitting in fittings]
        while over := [i for i, fitting in enumerate(fittings) if not fitting.fits(self.llm, render(segments[i]))]:
            parts = [(i, part) for i in over for part in self._parts(fittings[i].video_id, segments[i])]
            for i in over:
                if sum(owner == i for owner, _ in parts) >= sum(bool(segment.texts) for segment in segments[i]):
                    raise ModelError(f"'{fittings[i].video_id}': {self._complaint('summaries of its parts')}")
                segments[i] = []
            started = perf_counter()
            replies = self.llm.generate([self._chat(part) for _, part in parts], self.words * TOKENS_PER_WORD)
            spent = (perf_counter() - started) / len(parts)
            for (i, part), reply in zip(parts, replies, strict=True):
                text = written(reply, f"'{fittings[i].video_id}': the summary of a part")
                segments[i].append(Segment(part[0].start, part[-1].end, (text,)))
                materials[i] = added(materials[i], reply, spent)
        return [replace(material, text=render(segments[i])) for i, material in enumerate(materials)]

    def _parts(self, video_id: str, segments: Sequence[Segment]) -> list[list[Segment]]:
        """Split segments into consecutive parts, each as full as possible."""
        parts: list[list[Segment]] = [[]]
        for segment in segments:
            if not segment.texts:
                continue
            if parts[-1] and not self._holds([*parts[-1], segment]):
                parts.append([])
            parts[-1].append(segment)
            if len(parts[-1]) == 1 and not self._holds(parts[-1]):
                raise ModelError(f"'{video_id}': {self._complaint(told_alone(segment))}")
        return parts

    def _holds(self, part: Sequence[Segment]) -> bool:
        return self.llm.count_tokens(self._chat(part)) + self.words * TOKENS_PER_WORD <= self.llm.context

    def _chat(self, part: Sequence[Segment]) -> Chat:
        user = self.prompt.fill("user", captions=render(part), words=str(self.words))
        return Chat(user, self.prompt.fill("system"))

    def _complaint(self, what: str) -> str:
        return (
            f"{what} overflow the context of {self.llm.context} tokens; take a longer context, fewer summary_words "
            f"or overflow=thin"
        )


def told_alone(segment: Segment) -> str:
    """Describe a segment that does not fit even alone: its times, and the length of its longest text."""
    longest = max(map(len, segment.texts))
    return f"the caption of {longest:,} characters at {clock(segment.start)}-{clock(segment.end)}, even alone,"


def added(material: Material, reply: Reply, seconds: float) -> Material:
    """Append one more part's summary to the material, counting summaries cut by the token limit."""
    counts = {"part_summaries": 1, "part_summaries_cut": int(not reply.finished)}
    for name in counts:
        before = material.notes.get(name)
        counts[name] += before if isinstance(before, int) else 0
    spent = material.seconds.get("summarise", 0.0) + seconds
    return replace(
        material,
        notes={**material.notes, **counts},
        usage=material.usage + reply.usage,
        seconds={**material.seconds, "summarise": spent},
    )


def written(reply: Reply, what: str) -> str:
    """Return the reply's text on one line.

    Raises ModelError if it is empty, so that a fault does not become material.
    """
    text = " ".join(reply.text.split())
    if not text:
        raise ModelError(f"{what} is empty: the language model wrote nothing")
    return text


def readable(text: str) -> str:
    """Shorten a text for a record: whole, or its beginning and end with a note of what is left out."""
    if len(text) <= NOTE_CHARACTERS:
        return text
    half = NOTE_CHARACTERS // 2
    return f"{text[:half]} [… {len(text) - 2 * half} characters …] {text[-half:]}"
