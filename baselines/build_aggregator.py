"""From options to an aggregator: its captions, its prompts, its rules."""

from __future__ import annotations

from baselines.aggregator import CaptionComposer, SegmentRule, TwoStepComposer
from baselines.blind import info_with_prompts
from baselines.caption_source import WithSubtitles, caption_source
from baselines.captions import CaptionSource
from baselines.examples import load_examples
from baselines.llm.load import load_for
from baselines.llm.protocol import LanguageModel
from baselines.material import MapReduce, Thin
from baselines.models import AggregatorOptions
from baselines.parts import BuildModel
from baselines.prompted import Composer, PromptedModel
from baselines.segment_captions import SegmentCaptions
from baselines.segments import load_boundaries
from tasks.digests import file_sha256
from tasks.prompt import Prompt, load_prompt
from tasks.registry import build_model
from tasks.task import JsonValue

NO_VECTORS = {
    "VideoTextEncoder": "it writes texts; caption-vectors, tfidf and bm25 compare captions or summaries with texts"
}
PART, SUMMARY = "aggregator-part.v1", "aggregator-summary.v1"


def build_aggregator(options: AggregatorOptions, build: BuildModel = build_model) -> PromptedModel:
    """Find the captions, load the language model. Raises DataError or ModelError."""
    alone = options.captions is None and options.captioner is None
    captions = None if alone else caption_source(options, build)
    return aggregator_on(load_for(options), captions, options)


def aggregator_on(llm: LanguageModel, source: CaptionSource | None, options: AggregatorOptions) -> PromptedModel:
    """The aggregator on a language model that is loaded already; without captions it reads subtitles alone."""
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
        lacks=NO_VECTORS,
        preparer=preparer,
        guided=options.guided,
        reads_subtitles=options.reads_subtitles,
    )


def load_prompts(options: AggregatorOptions) -> dict[str, Prompt]:
    """Every prompt file that the options put to use, by its part."""
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
    """A captioner's segments stand as they were cut, unless told otherwise."""
    boundaries = load_boundaries(options.boundaries) if options.boundaries else None
    own = options.segments == "auto" and options.captioner is not None
    return SegmentRule(options.segment_seconds, "captions" if own else options.segments, boundaries)


def facts(options: AggregatorOptions, captions: CaptionSource, source: CaptionSource | None) -> dict[str, JsonValue]:
    """What a record keeps of where the captions come from and how they are read; `source` is without subtitles."""
    found: dict[str, JsonValue] = {
        "captioner": captions.captioner,
        "captions_sha256": captions.sha256,
        "overflow": options.overflow,
        "two_step": options.two_step,
    }
    if isinstance(source, SegmentCaptions):
        found["cut"] = source.settings.cutting.name
    if options.examples is not None:
        found["examples_sha256"] = file_sha256(options.examples)
    return found
