"""Captions of a video's segments by any captioner, cached under keys that include all that decides them.

One file per clip: its first line holds the segments, each further line a caption, on disk before the captioner's next
call. A kill at any moment costs only the captions in flight.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from annotated_types import Len
from jsonlines import Writer
from typing_extensions import TypedDict

from baselines.captions import SAID, Caption, CaptionSource, Timed, caption_of, load_captions
from baselines.llm.outside import SURROGATES, clean
from baselines.models import CaptionOptions
from baselines.parts import BuildModel, build_part
from baselines.segments import Cutting, Span, parse_cutting
from encoders.ray_pool import Pool, Work, ask, joined, spread
from encoders.video_errors import MissingVideoError
from tasks.digests import file_sha256, text_sha256
from tasks.errors import DataError, LongvidError, ModelError
from tasks.files import decoded, parse_json, typed
from tasks.model import Captioner, Model, ModelInfo, Preparer, TextReply, TextRequest, batch_hint_of, looking_ahead
from tasks.prompt import Prompt, load_prompt
from tasks.resources import cache_folder
from tasks.subtitles import lines_of
from tasks.task import Clip, busy_seconds

FORMAT = "segment-captions 1"
SEGMENTS_AT_ONCE = 8


class Head(TypedDict):
    """The fields read from a cache's first line."""

    segments: list[Annotated[list[float], Len(2, 2)]]


@dataclass(frozen=True, slots=True)
class CaptionSettings:
    """What decides captions besides the captioner: the cutting, the prompt, the longest caption."""

    cutting: Cutting
    prompt: Prompt
    max_tokens: int


@dataclass(slots=True)
class SegmentCaptions:
    """A CaptionSource that writes missing captions; `folder` is the cache."""

    model: Captioner
    settings: CaptionSettings
    folder: Path
    _videos: dict[Path, str] = field(default_factory=dict)

    @property
    def captioner(self) -> str:
        """The model's name."""
        return info_of(self.model).name

    @property
    def sha256(self) -> str:
        """Digest of captioner, cutting and prompt: the device is left out, so machines can share captions (ours)."""
        facts = asdict(info_of(self.model))
        facts.pop("device")
        settings = self.settings
        words = [settings.cutting.name, settings.prompt.sha256, str(settings.max_tokens)]
        return text_sha256(FORMAT, json.dumps(facts, sort_keys=True, default=str), *words)

    def of(self, clip: Clip) -> tuple[Caption, ...]:
        """Return the clip's captions, written now if they are not in the cache. Raises the captioner's errors."""
        where = f"caption cache {self._path(clip)}"
        return tuple(caption_of(typed(Timed, row, where), where) for row in self.rows(clip))

    def prepare(self, clips: Sequence[Clip], on_clip: Callable[[Clip, str | None], None]) -> None:
        """Caption every distinct clip; one that can't be captioned is reported and skipped."""
        # Around all clips, so that decoding ahead serves every one of them.
        with looking_ahead(self.model, ()):
            for clip in dict.fromkeys(clips):
                try:
                    self.rows(clip)
                except LongvidError as error:
                    on_clip(clip, str(error))
                else:
                    on_clip(clip, None)

    def is_done(self, clip: Clip) -> bool:
        """Whether the cache holds all of the clip's captions."""
        path = self._path(clip)
        if not path.is_file():
            return False
        with path.open("rb") as file:
            spans, rows = read_cache(path, file)
        return spans is not None and len(rows) == len(spans)

    def rows(self, clip: Clip) -> list[dict[str, Any]]:
        """Return the clip's captions as stored, in order of time."""
        path = self._path(clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _held(path) as file:
            spans, rows = read_cache(path, file)
            if spans is None:
                spans = self.settings.cutting.cut(clip)
                append(file, {"format": FORMAT, "video": clip.video_id, "segments": spans})
            missing = [segment_of(clip, span) for span in spans[len(rows) :]]
            at_once = max(SEGMENTS_AT_ONCE, batch_hint_of(self.model).batch)
            with looking_ahead(self.model, missing):
                for first in range(0, len(missing), at_once):
                    written = self._write(missing[first : first + at_once])
                    append(file, *written)
                    rows += written
        return rows

    def keep(self, clip: Clip, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store all captions of a clip from another process, unless the cache has them."""
        path = self._path(clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _held(path) as file:
            spans, here = read_cache(path, file)
            if spans is None or len(here) < len(spans):
                file.truncate(0)
                segments = [(row["start"], row["end"]) for row in rows]
                append(file, {"format": FORMAT, "video": clip.video_id, "segments": segments}, *rows)

    def _write(self, segments: Sequence[Clip]) -> list[dict[str, Any]]:
        words, limit = self.settings.prompt.fill("user"), self.settings.max_tokens
        requests = [
            TextRequest(f"{part.video_id}@{part.start:g}-{part.end:g}", part, words, limit) for part in segments
        ]
        replies = self.model.caption(requests)
        return [row_of((part.start, part.end), reply) for part, reply in zip(segments, replies, strict=True)]

    def _path(self, clip: Clip) -> Path:
        if SURROGATES.search(clip.video_id):
            raise DataError(f"the name of {clip.path or clip.video_id} is not UTF-8 text: rename the file")
        # The id is part of the key: boundaries, and the captions that an aggregator reads, are given by id.
        key = text_sha256(self.sha256, self._seen(clip), clip.video_id, repr(clip.start), repr(clip.end))
        return self.folder / f"{key}.jsonl"

    def _seen(self, clip: Clip) -> str:
        """Return the video's digest. A captioner that reads texts alone needs no video; others report a missing one.

        Raises MissingVideoError for a named file that is missing.
        """
        if clip.path is None:
            return "no video"
        if not clip.path.is_file():
            raise MissingVideoError(f"{clip.path}: no such video file")
        if clip.path not in self._videos:
            self._videos[clip.path] = file_sha256(clip.path)
        return self._videos[clip.path]


def segment_of(clip: Clip, span: Span) -> Clip:
    """Return the segment of the clip's video as a clip."""
    return Clip(clip.video_id, *span, clip.path)


def info_of(model: object) -> ModelInfo:
    """Return a captioner's description. Raises DataError if it has none: its captions could not be told apart."""
    if not isinstance(model, Model):
        raise DataError(f"captioner {type(model).__name__} has no description (info)")
    return model.info


def row_of(span: Span, reply: TextReply) -> dict[str, Any]:
    """Return a caption as stored: its times, its text, and its cost."""
    usage = reply.trace.usage
    row: dict[str, Any] = {
        "start": span[0],
        "end": span[1],
        "text": clean(" ".join(reply.text.split())),
        "finished": reply.finished,
        "seconds": round(busy_seconds(reply.trace), 4),
        "tokens": {"prompt": usage.prompt, "completion": usage.completion},
    }
    return row if reply.trace.frames is None else {**row, "frames": reply.trace.frames.count}


def read_cache(path: Path, file: BinaryIO) -> tuple[list[Span] | None, list[dict[str, Any]]]:
    """Read the segments (None if not yet decided) and the captions so far; a torn last line is dropped."""
    file.seek(0)
    lines = file.read().split(b"\n")[:-1]
    where = "a line"
    try:
        parsed = [parse_json(decoded(line, where), where) for line in lines]
        if not parsed:
            return None, []
        spans = [(start, end) for start, end in typed(Head, parsed[0], where)["segments"]]
        for row in parsed[1:]:
            caption_of(typed(Timed, row, where), where)
    except DataError as error:
        raise DataError(f"caption cache {path} is damaged ({error}); delete it") from error
    return spans, parsed[1:]


def append(file: BinaryIO, *rows: Mapping[str, Any]) -> None:
    """Append rows after the last whole line; they are on disk when this returns."""
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)
    Writer(file).write_all(rows)
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _held(path: Path) -> Iterator[BinaryIO]:
    """Open and lock the cache file, creating it if needed; a second process waits until this one is done."""
    with path.open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


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
    """Put a captioner behind the user's cache of captions."""
    return SegmentCaptions(captioner, settings, cache_folder() / "captions")


BuildCaptioner = Callable[[], Captioner]
CLIPS_AT_ONCE = 1
"""Clips per call: a clip has many captions, each on disk as it is made, so a lost worker costs only those in flight."""


@dataclass(frozen=True, slots=True)
class CaptionedClip:
    """A worker's result for a clip: its captions as stored, or the error."""

    clip: Clip
    rows: tuple[dict[str, Any], ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DistantCaptioner:
    """Stands for the workers' captioner in this process."""

    info: ModelInfo

    def caption(self, requests: Sequence[TextRequest]) -> Sequence[TextReply]:
        raise ModelError(
            f"{requests[0].item_id}: captioner '{self.info.name}' is on the cluster, and its captions are not here"
        )


@contextmanager
def captions_by(
    build: BuildCaptioner, settings: CaptionSettings, pool: Pool | None
) -> Iterator[tuple[SegmentCaptions, Preparer]]:
    """Return the caption cache, and the preparer of missing captions: this process, or the workers of a pool."""
    if pool is None:
        captions = segment_captions(build(), settings)
        yield captions, captions
        return
    with joined(pool):
        captions = segment_captions(DistantCaptioner(ask(pool, partial(_info, build))), settings)
        yield captions, RayCaptions(pool, build, captions)


@dataclass(frozen=True, slots=True)
class RayCaptions:
    """A Preparer that lets the workers caption what the cache lacks, and stores the results."""

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
        # Workers on other machines have other working directories.
        known = {replace(clip, path=clip.path and clip.path.absolute()): clip for clip in lacking}
        for made in spread(self.pool, build, list(known), CLIPS_AT_ONCE):
            if made.error is None:
                self.captions.keep(made.clip, made.rows)
            on_clip(known[made.clip], made.error)


def captioning_work(
    build: BuildCaptioner, settings: CaptionSettings, folder: Path, expected: str
) -> Work[Clip, CaptionedClip]:
    """Return a worker's function for some clips. It raises ModelError if the worker built a different captioner."""
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


@dataclass(frozen=True, slots=True)
class WithSubtitles:
    """A CaptionSource of a video's subtitles, together with `captions` if there are any."""

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
