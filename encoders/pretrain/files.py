"""Videos in files as a source, decoded ahead by the project's own decoder."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from encoders.decode_ahead import AheadPolicy, DecodedClip, decode_ahead
from encoders.pretrain.entries import Entry, Member
from encoders.pretrain.order import Request
from encoders.pretrain.samples import Sample, View
from encoders.pretrain.settings import FileSettings
from encoders.pretrain.step import BadSample
from encoders.sampling import FramePolicy
from encoders.video_file import probe
from tasks.errors import LongvidError
from tasks.task import Clip, JsonValue


class FileSource:
    """Entries looked at as frames, clips of `frames / fps` seconds or as a whole.

    A clip's window and an image's moment are drawn within the entry, in the middle where `centred`.
    A video shorter than its clip, or one seen as a whole, has its frames spread evenly over it; with
    `beyond="cut"` only its first `frames / fps` seconds are seen (the paper's 256 frames at 1 FPS).
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        settings: FileSettings,
        view: View,
        *,
        frames: int,
        fps: float,
        size: int,
        centred: bool = False,
    ) -> None:
        self._entries, self._settings, self._view = entries, settings, view
        self._length, self._centred = frames / fps, centred
        self._policy = FramePolicy(count=1 if view == "image" else frames, size=size, fit=settings.fit)
        self.facts: dict[str, JsonValue] = {"path": settings.path, "view": view, "samples": len(entries)}

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, requests: Iterable[Request]) -> Iterator[Sample | BadSample]:
        ahead = AheadPolicy(workers=self._settings.decoders, ahead=2 * self._settings.decoders)
        asked: deque[Entry | BadSample] = deque()
        with TemporaryDirectory(prefix="longvid-") as scratch:
            clips = self._clips(requests, Path(scratch), asked)
            with closing(decode_ahead(clips, self._policy, ahead)) as decoded:
                for clip in decoded:
                    yield self._sample(asked.popleft(), clip, Path(scratch))

    def texts(self) -> Iterator[str]:
        for entry in self._entries:
            for view in (*entry.captions, *entry.statements):
                yield view.text
                yield from view.false

    def _clips(self, requests: Iterable[Request], scratch: Path, asked: deque[Entry | BadSample]) -> Iterator[Clip]:
        """A clip for each request; `asked` hears what it is of, or why there is none."""
        for number, request in enumerate(requests):
            entry = self._entries[request.index]
            try:
                clip = self._clip(entry, Random(request.draw), scratch / str(number))
                asked.append(entry)
            except LongvidError as error:
                # A clip without a file keeps the sample's place in the queue.
                clip = Clip(entry.key, 0.0, 1.0)
                asked.append(BadSample(entry.key, str(error)))
            yield clip

    def _clip(self, entry: Entry, rng: Random, unpacked: Path) -> Clip:
        path = _on_disk(entry.video, unpacked)
        end = entry.end if entry.end is not None else probe(path).duration
        start, end = self._stretch(entry.start, end, rng)
        return Clip(entry.key, start, end, path)

    def _stretch(self, start: float, end: float, rng: Random) -> tuple[float, float]:
        """What is looked at of an entry, in seconds."""
        if self._view == "video":
            cut = self._settings.beyond == "cut"
            return start, min(end, start + self._length) if cut else end
        length = min(self._length, end - start) if self._view == "clip" else 0.0
        share = 0.5 if self._centred else rng.random()
        if self._view == "image":
            # One frame at the middle of a stretch: a short one around the moment drawn.
            moment = start + share * (end - start)
            half = min(0.05, (end - start) / 4)
            return max(start, moment - half), min(end, moment + half)
        begin = start + share * (end - start - length)
        return begin, begin + length

    def _sample(self, entry: Entry | BadSample, clip: DecodedClip, scratch: Path) -> Sample | BadSample:
        path = clip.clip.path
        if path is not None and path.parent == scratch:
            path.unlink()
        if isinstance(entry, BadSample):
            return entry
        if clip.frames is None:
            return BadSample(entry.key, str(clip.error))
        return Sample(entry.key, clip.frames.pixels, entry.captions, entry.statements)


def _on_disk(video: Path | Member, target: Path) -> Path:
    """The video itself, or a member of a tar unpacked as `target`: the decoder reads files."""
    if isinstance(video, Path):
        return video
    path = target.with_suffix(video.suffix)
    path.write_bytes(video.read())
    return path
