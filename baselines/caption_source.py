"""Where captions come from, as a model's options say: a file, a captioner behind the cache, or what is said."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from baselines.caption import SAID, Caption
from baselines.captions import CaptionSource, load_captions
from baselines.cutting import parse_cutting
from baselines.models import CaptionOptions
from baselines.parts import BuildModel, build_part
from baselines.segment_captions import CaptionSettings, SegmentCaptions
from encoders.causal_lm.weights import cache_folder
from tasks.errors import ModelError
from tasks.model import Captioner
from tasks.prompt import load_prompt
from tasks.subtitles import lines_of
from tasks.task import Clip


def caption_source(options: CaptionOptions, build: BuildModel) -> CaptionSource:
    """Read the captions file, or build the captioner. Raises DataError or ModelError."""
    if options.captions is not None:
        return load_captions(options.captions)
    if options.captioner is None:
        raise ModelError("give captions=FILE, or captioner=MODEL")
    cutting = parse_cutting(options.cut)
    captioner = build_part(build, options.captioner, Captioner, "a captioner")  # type: ignore[type-abstract]  # checked
    return segment_captions(
        captioner, CaptionSettings(cutting, load_prompt("baselines", options.caption_prompt), options.caption_tokens)
    )


def segment_captions(captioner: Captioner, settings: CaptionSettings) -> SegmentCaptions:
    """A captioner behind the user's cache of captions."""
    return SegmentCaptions(captioner, settings, cache_folder() / "captions")


@dataclass(frozen=True, slots=True)
class WithSubtitles:
    """A CaptionSource of what is said in a video, beside `captions` where there are some."""

    captions: CaptionSource | None

    @property
    def captioner(self) -> str:
        return "subtitles" if self.captions is None else f"{self.captions.captioner} + subtitles"

    @property
    def sha256(self) -> str:
        return "" if self.captions is None else self.captions.sha256

    def of(self, clip: Clip) -> tuple[Caption, ...]:
        said = []
        for line in lines_of(clip):
            end = min(line.end, clip.end)
            said.append(Caption(line.start, end if isfinite(end) else line.start, f'{SAID}"{line.text}"', spoken=True))
        seen = () if self.captions is None else self.captions.of(clip)
        return tuple(sorted((*seen, *said), key=lambda caption: (caption.start, caption.end)))
