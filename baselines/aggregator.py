"""The LLM aggregator: captions of segments of the video, read by a language model (paper, long-video baselines)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count

from baselines.blind import info_with_prompt
from baselines.captions import CaptionFile, load_captions
from baselines.llm.load import load_for
from baselines.llm.protocol import Chat, LanguageModel
from baselines.model_options import AggregatorOptions
from baselines.prompted import Composed, PromptedModel
from baselines.segments import Segment, group_captions, load_boundaries, render, thin, uniform_boundaries
from tasks.errors import ModelError
from tasks.prompt import Prompt, load_prompt
from tasks.task import Clip


class CaptionComposer:
    """Sets a clip's captions before the task's prompt, thinned to fit the context.

    Captions come first and the question last, so that questions about one video share a prefix.
    """

    def __init__(
        self,
        llm: LanguageModel,
        captions: CaptionFile,
        prompt: Prompt,
        segment_seconds: float,
        boundaries: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    ) -> None:
        self._llm = llm
        self._captions = captions
        self._prompt = prompt
        self._segment_seconds = segment_seconds
        self._boundaries = boundaries

    def __call__(self, clip: Clip, prompt: str, reply_start: str, room: int) -> Composed:
        """Thinning rule: keep every k-th caption over the whole video, with the smallest k that fits."""
        segments = self.segments(clip)
        total = sum(len(segment.texts) for segment in segments)
        for keep_every in count(1):
            kept = thin(segments, keep_every)
            chat = Chat(
                user=self._prompt.fill("user", captions=render(kept), prompt=prompt),
                system=self._prompt.fill("system"),
                reply_start=reply_start,
            )
            if self._llm.count_tokens(chat) + room <= self._llm.context:
                notes = {
                    "segments": len(segments),
                    "captions": total,
                    "captions_kept": sum(len(segment.texts) for segment in kept),
                    "kept_every": keep_every,
                }
                return Composed(chat, notes)
            if keep_every >= total:
                break
        msg = (
            f"'{clip.video_id}': the question alone, without captions, overflows the context of "
            f"{self._llm.context} tokens"
        )
        raise ModelError(msg)

    def segments(self, clip: Clip) -> list[Segment]:
        """The clip's captions by segment: uniform, or by the given boundaries."""
        captions = self._captions.of(clip)
        if self._boundaries is None:
            return group_captions(captions, uniform_boundaries(clip, self._segment_seconds))
        if clip.video_id not in self._boundaries:
            msg = f"no boundaries for '{clip.video_id}'"
            raise ModelError(msg)
        return group_captions(captions, self._boundaries[clip.video_id])


def build_aggregator(options: AggregatorOptions) -> PromptedModel:
    """Read captions and boundaries, load the language model. Raises DataError or ModelError."""
    return aggregator_on(load_for(options), options)


def aggregator_on(llm: LanguageModel, options: AggregatorOptions) -> PromptedModel:
    """The aggregator on a language model that is loaded already."""
    captions = load_captions(options.captions)
    boundaries = load_boundaries(options.boundaries) if options.boundaries else None
    prompt = load_prompt("baselines", options.prompt)
    composer = CaptionComposer(llm, captions, prompt, options.segment_seconds, boundaries)
    info = info_with_prompt("aggregator", llm, prompt, captioner=captions.captioner, captions_sha256=captions.sha256)
    return PromptedModel(llm, composer, info, options.route, options.max_tokens, guided=options.guided)
