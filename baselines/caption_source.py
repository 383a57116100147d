"""Where captions come from, as a model's options say: a file, or a captioner behind the cache."""

from __future__ import annotations

from baselines.captions import CaptionSource, load_captions
from baselines.cutting import parse_cutting
from baselines.models import CaptionOptions
from baselines.parts import BuildModel, build_part
from baselines.segment_captions import CaptionSettings, SegmentCaptions
from encoders.causal_lm.load import cache_folder
from tasks.errors import ModelError
from tasks.model import Captioner
from tasks.prompt import load_prompt


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
