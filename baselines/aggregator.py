"""The LLM aggregator: captions of segments of the video, read by a language model (paper, long-video baselines).

Captions come first and the question last, so that questions about one video share a prefix. With `two_step`, as in
LLoVi (arXiv 2312.17235), the model first writes a summary for the bare question, and then answers from the summary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from time import perf_counter
from typing import Literal

from baselines.captions import SAID, Caption, CaptionSource, clean_caption
from baselines.llm.load import load_for
from baselines.llm.protocol import Chat, LanguageModel
from baselines.material import TOKENS_PER_WORD, Fitter, Fitting, MapReduce, Material, Thin, readable, written
from baselines.models import AggregatorOptions
from baselines.parts import BuildModel
from baselines.prompted import Ask, Composed, Composer, PromptedModel, info_with_prompts, load_examples
from baselines.segment_captions import SegmentCaptions, WithSubtitles, caption_source
from baselines.segments import Segment, group_captions, load_boundaries, own_segments, uniform_boundaries
from tasks.data_roots import data_file
from tasks.digests import file_sha256
from tasks.errors import DataError, ModelError
from tasks.prompt import Prompt, load_prompt
from tasks.registry import build_model
from tasks.task import Clip, JsonValue, TokenUsage

Grouping = Literal["auto", "uniform", "captions"]


@dataclass(frozen=True, slots=True)
class SegmentRule:
    """How captions are grouped into the lines that the model reads.

    By given `boundaries`, or into `uniform` pieces of `seconds` (paper: 16), or as `captions`: one line per caption.
    `auto` keeps captions that last half of `seconds` or longer on average, and groups shorter ones (our choice).
    """

    seconds: float = 16.0
    grouping: Grouping = "auto"
    boundaries: Mapping[str, Sequence[tuple[float, float]]] | None = None


@dataclass(frozen=True, slots=True)
class Gathered:
    """A clip's segments, how they were formed, and what captioning them cost, whenever that was.

    `said` holds the subtitles among the captions, as the model reads them.
    """

    segments: list[Segment]
    by: str
    seconds: float
    usage: TokenUsage
    said: tuple[str, ...] = ()

    def spoken_notes(self, text: str) -> dict[str, JsonValue]:
        """Return the share of the words spoken in the clip that are in `text`."""
        if not self.said:
            return {}
        counts = [(len(line.removeprefix(SAID).split()), line in text) for line in self.said]
        total = sum(words for words, _ in counts)
        return {"subtitle_words": total, "subtitle_share": sum(words for words, read in counts if read) / total}

    @property
    def notes(self) -> dict[str, JsonValue]:
        """Return what a record keeps of the segments."""
        tokens: dict[str, JsonValue] = {}
        if self.usage != TokenUsage():
            tokens = {"captioner_tokens": {"prompt": self.usage.prompt, "completion": self.usage.completion}}
        texts = sum(len(segment.texts) for segment in self.segments)
        return {"segments": len(self.segments), "segments_by": self.by, "captions": texts, **tokens}


def gather(captions: CaptionSource, clip: Clip, rule: SegmentRule) -> Gathered:
    """Group the clip's captions by segment. Raises DataError if there are none, so that no answer is a blind guess."""
    found = captions.of(clip)
    by, segments = _segments(found, clip, rule)
    if not any(segment.texts for segment in segments):
        msg = f"'{clip.video_id}': there is no caption between {clip.start:g} and {clip.end:g} s"
        raise DataError(msg)
    inside = [c for c in found if c.start < clip.end and c.end > clip.start]
    usage = TokenUsage(sum(c.usage.prompt for c in inside), 0, sum(c.usage.completion for c in inside))
    said = tuple(clean_caption(c.text) for c in inside if c.spoken)
    return Gathered(segments, by, sum(c.seconds for c in inside), usage, said)


def _segments(found: Sequence[Caption], clip: Clip, rule: SegmentRule) -> tuple[str, list[Segment]]:
    if rule.boundaries is not None:
        if clip.video_id not in rule.boundaries:
            msg = f"no boundaries for '{clip.video_id}'"
            raise ModelError(msg)
        return "boundaries", group_captions(found, rule.boundaries[clip.video_id])
    long = sum(caption.end - caption.start for caption in found) >= len(found) * rule.seconds / 2
    if rule.grouping == "captions" or (rule.grouping == "auto" and long):
        return "captions", own_segments(found, clip)
    # A video of unknown length is cut up to the end of its captions.
    whole = clip if isfinite(clip.end) else replace(clip, end=max(clip.start + 1, *(c.end + 1e-6 for c in found)))
    return f"uniform {rule.seconds:g} s", group_captions(found, uniform_boundaries(whole, rule.seconds))


@dataclass(frozen=True, slots=True)
class CaptionComposer:
    """Puts a clip's captions, fitted into the context, before the task's prompt; `opening` comes before both."""

    captions: CaptionSource
    prompt: Prompt
    rule: SegmentRule
    fit: Fitter
    opening: str = ""

    def __call__(self, asks: Sequence[Ask]) -> list[Composed]:
        gathered = [gather(self.captions, ask.clip, self.rule) for ask in asks]
        materials = self.fit(
            [
                Fitting(ask.clip.video_id, found.segments, self._chat(ask), ask.room)
                for ask, found in zip(asks, gathered, strict=True)
            ]
        )
        return [
            composed(self._chat(ask)(material.text), found, material)
            for ask, found, material in zip(asks, gathered, materials, strict=True)
        ]

    def _chat(self, ask: Ask) -> Callable[[str], Chat]:
        def chat(text: str) -> Chat:
            return worded(self.prompt, text, ask, self.opening)

        return chat


@dataclass(frozen=True, slots=True)
class TwoStepComposer:
    """Lets the model write a summary for each question, which replaces the captions before the task's prompt."""

    llm: LanguageModel
    captions: CaptionSource
    summary: Prompt
    answer: Prompt
    rule: SegmentRule
    fit: Fitter
    words: int
    opening: str = ""

    def __call__(self, asks: Sequence[Ask]) -> list[Composed]:
        gathered = [gather(self.captions, ask.clip, self.rule) for ask in asks]
        limit = self.words * TOKENS_PER_WORD
        materials = self.fit(
            [
                Fitting(ask.clip.video_id, found.segments, self._first_chat(ask), limit)
                for ask, found in zip(asks, gathered, strict=True)
            ]
        )
        chats = [self._first_chat(ask)(material.text) for ask, material in zip(asks, materials, strict=True)]
        started = perf_counter()
        replies = self.llm.generate(chats, limit)
        spent = (perf_counter() - started) / len(chats)
        results = []
        for ask, found, material, reply in zip(asks, gathered, materials, replies, strict=True):
            text = written(reply, f"'{ask.clip.video_id}': the summary for the question")
            seconds = {"summarise": material.seconds.get("summarise", 0.0) + spent}
            notes = {**material.notes, "summary": readable(text), "summary_finished": reply.finished}
            whole = Material(material.text, notes, material.usage + reply.usage, seconds)
            results.append(composed(worded(self.answer, text, ask, self.opening), found, whole))
        return results

    def _first_chat(self, ask: Ask) -> Callable[[str], Chat]:
        question = ask.question or ask.prompt

        def chat(text: str) -> Chat:
            user = self.summary.fill("user", captions=text, question=question, words=str(self.words))
            return Chat(user, self.summary.fill("system"))

        return chat


def worded(prompt: Prompt, material: str, ask: Ask, opening: str) -> Chat:
    """Return the chat: examples, then the material, then the task's prompt."""
    user, other = (opening + prompt.fill("user", captions=material, prompt=text) for text in (ask.prompt, ""))
    # All that comes before the question is shared with other questions about this video.
    shared = next((place for place, (a, b) in enumerate(zip(user, other, strict=False)) if a != b), len(other))
    return Chat(user, prompt.fill("system"), ask.reply_start, shared=shared)


def composed(chat: Chat, found: Gathered, material: Material) -> Composed:
    """Return the chat with what a record keeps of how it was made, including the captions read."""
    said = found.spoken_notes(material.text)
    notes = {**found.notes, **material.notes, **said, "captions_text": readable(material.text)}
    captioning = {"caption": found.seconds} if found.seconds else {}
    return Composed(chat, notes, material.usage, {**material.seconds, **captioning})


NO_VECTORS = {
    "VideoTextEncoder": "it writes texts; caption-vectors, tfidf and bm25 compare captions or summaries with texts"
}
PART, SUMMARY = "aggregator-part.v1", "aggregator-summary.v1"


def build_aggregator(options: AggregatorOptions, build: BuildModel = build_model) -> PromptedModel:
    """Find the captions and load the language model. Raises DataError or ModelError."""
    alone = options.captions is None and options.captioner is None
    captions = None if alone else caption_source(options, build)
    return aggregator_on(load_for(options), captions, options)


def aggregator_on(llm: LanguageModel, source: CaptionSource | None, options: AggregatorOptions) -> PromptedModel:
    """Build the aggregator on a loaded language model; without captions it reads subtitles alone."""
    captions = WithSubtitles(source) if source is None or options.reads_subtitles else source
    prompts = load_prompts(options)
    answer, text = prompts["answer"], prompts["text"]
    openings = {"answer": "", "text": ""}
    if options.examples is not None:
        examples = load_examples(options.examples)
        openings = {key: examples.opening(prompts["examples"], prompts[key]) for key in openings}
    fit = Thin(llm) if options.overflow == "thin" else MapReduce(llm, prompts["part"], options.summary_words)
    rule = segment_rule(options)
    writes = CaptionComposer(captions, text, rule, fit, openings["text"])
    answers: Composer = CaptionComposer(captions, answer, rule, fit, openings["answer"])
    if options.two_step:
        words = options.summary_words
        answers = TwoStepComposer(llm, captions, prompts["summary"], answer, rule, fit, words, openings["answer"])
    info = info_with_prompts("aggregator", llm, list(prompts.values()), **facts(options, captions, source))
    preparer = source if isinstance(source, SegmentCaptions) else None
    return PromptedModel(
        llm,
        answers,
        info,
        options.route,
        options.max_tokens,
        compose_text=writes,
        missing_capabilities=NO_VECTORS,
        preparer=preparer,
        guided=options.guided,
        reads_subtitles=options.reads_subtitles,
    )


def load_prompts(options: AggregatorOptions) -> dict[str, Prompt]:
    """Load every prompt file that the options use, by its role."""
    names = {
        "answer": options.prompt or ("aggregator-answer.v1" if options.two_step else "aggregator.v1"),
        "text": options.prompt or "aggregator-text.v1",
    }
    if options.two_step:
        names["summary"] = SUMMARY
    if options.overflow == "map-reduce":
        names["part"] = PART
    if options.examples is not None:
        names["examples"] = "examples.v1"
    return {part: load_prompt("baselines", name) for part, name in names.items()}


def segment_rule(options: AggregatorOptions) -> SegmentRule:
    """Return the grouping rule; a captioner's segments are kept as they were cut unless an option says otherwise."""
    boundaries = load_boundaries(options.boundaries) if options.boundaries else None
    own = options.segments == "auto" and options.captioner is not None
    return SegmentRule(options.segment_seconds, "captions" if own else options.segments, boundaries)


def facts(options: AggregatorOptions, captions: CaptionSource, source: CaptionSource | None) -> dict[str, JsonValue]:
    """Return what a record keeps of the captions' source and use; `source` excludes subtitles."""
    found: dict[str, JsonValue] = {
        "captioner": captions.captioner,
        "captions_sha256": captions.sha256,
        "overflow": options.overflow,
        "two_step": options.two_step,
    }
    if isinstance(source, SegmentCaptions):
        found["cut"] = source.settings.cutting.name
    if options.examples is not None:
        found["examples_sha256"] = file_sha256(data_file(options.examples))
    return found
