"""Captions of many clips by Ray's workers, each with its own captioner, kept in the same cache as any others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from baselines.caption_source import segment_captions
from baselines.segment_captions import CaptionSettings, SegmentCaptions, info_of
from encoders.ray_pool import Pool, Work, ask, joined, spread
from tasks.errors import LongvidError, ModelError
from tasks.model import Captioner, ModelInfo, Preparer, TextReply, TextRequest
from tasks.task import Clip

BuildCaptioner = Callable[[], Captioner]
CLIPS_AT_ONCE = 1
"""A clip is many captions, each on disk as it is made: what a lost worker costs is the ones in flight."""


@dataclass(frozen=True, slots=True)
class CaptionedClip:
    """What a worker made of a clip: its captions as they are stored, or the error."""

    clip: Clip
    rows: tuple[dict[str, Any], ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DistantCaptioner:
    """The workers' captioner as it is known here."""

    info: ModelInfo

    def caption(self, requests: Sequence[TextRequest]) -> Sequence[TextReply]:
        raise ModelError(
            f"{requests[0].item_id}: captioner '{self.info.name}' is on the cluster, its captions not here"
        )


@contextmanager
def captions_by(
    build: BuildCaptioner, settings: CaptionSettings, pool: Pool | None
) -> Iterator[tuple[SegmentCaptions, Preparer]]:
    """The captions, and who makes those that are not there yet: this process, or the workers of a pool."""
    if pool is None:
        captions = segment_captions(build(), settings)
        yield captions, captions
        return
    with joined(pool):
        captions = segment_captions(DistantCaptioner(ask(pool, partial(_info, build))), settings)
        yield captions, RayCaptions(pool, build, captions)


@dataclass(frozen=True, slots=True)
class RayCaptions:
    """A Preparer that has the workers caption what the cache lacks, and keeps what they wrote."""

    pool: Pool
    build: BuildCaptioner
    captions: SegmentCaptions

    def prepare(self, clips: Sequence[Clip], on_clip: Callable[[Clip, str | None], None]) -> None:
        lacking: list[Clip] = []
        for clip in dict.fromkeys(clips):
            try:
                done = self.captions.is_done(clip)
            except LongvidError as error:
                on_clip(clip, str(error))
                continue
            if done:
                on_clip(clip, None)
            else:
                lacking.append(clip)
        if not lacking:
            return
        build = partial(captioning_work, self.build, self.captions.settings, self.captions.folder, self.captions.sha256)
        # Workers on other machines stand in other folders.
        known = {replace(clip, path=clip.path and clip.path.absolute()): clip for clip in lacking}
        for made in spread(self.pool, build, list(known), CLIPS_AT_ONCE):
            if made.error is None:
                self.captions.keep(made.clip, made.rows)
            on_clip(known[made.clip], made.error)


def captioning_work(
    build: BuildCaptioner, settings: CaptionSettings, folder: Path, expected: str
) -> Work[Clip, CaptionedClip]:
    """What a worker does with some clips. Raises ModelError when called where another captioner was built."""
    captions = SegmentCaptions(build(), settings, folder)

    def work(clips: Sequence[Clip]) -> Iterator[CaptionedClip]:
        if captions.sha256 != expected:
            raise ModelError(
                f"the workers' captioners differ: {info_of(captions.model)} is not what another worker has; give the "
                "model's dtype and the same files on every machine"
            )
        for clip in clips:
            try:
                made = CaptionedClip(clip, tuple(captions.rows(clip)))
            except LongvidError as error:
                made = CaptionedClip(clip, error=str(error))
            yield made

    return work


def _info(build: BuildCaptioner) -> ModelInfo:
    return info_of(build())
