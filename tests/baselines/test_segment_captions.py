"""Captions by any captioner: each written once, whatever interrupts; the key says all that decides them."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from baselines.segment_captions import SEGMENTS_AT_ONCE, CaptionSettings, SegmentCaptions
from baselines.segments import parse_cutting
from encoders.video_errors import EmptyVideoError, MissingVideoError
from tasks.errors import DataError
from tasks.model import BatchHint, ModelInfo, Preparer, TextReply, TextRequest
from tasks.prompt import load_prompt
from tasks.task import Clip, FramesSeen, TokenUsage, Trace

PROMPT = load_prompt("baselines", "segment.v1")


Fail = Callable[[TextRequest], BaseException | None]


class Scribe:
    """Says which seconds it was shown, and remembers them; fails where it is told to."""

    def __init__(
        self, fail: Callable[[TextRequest], BaseException | None] = lambda _: None, name: str = "scribe"
    ) -> None:
        self.info = ModelInfo(name, weights_sha256="0" * 64)
        self.seen: list[tuple[float, float]] = []
        self.fail = fail

    def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        replies = []
        for request in requests:
            error = self.fail(request)
            if error is not None:
                raise error
            clip = request.clip
            self.seen.append((clip.start, clip.end))
            trace = Trace(usage=TokenUsage(10, 0, 3), seconds={"caption": 0.5}, frames=FramesSeen(1, (clip.start,)))
            replies.append(TextReply(f"from {clip.start:g}\nto {clip.end:g}", True, trace))
        return replies


def source(scribe: Scribe, folder: Path, cut: str = "uniform:16", tokens: int = 64) -> SegmentCaptions:
    return SegmentCaptions(scribe, CaptionSettings(parse_cutting(cut), PROMPT, tokens), folder / "cache")


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"some video")
    return Clip("v", 0.0, 16.0 * 20, path)


def test_every_segment_gets_a_caption_with_its_times_and_what_it_took(tmp_path: Path, clip: Clip) -> None:
    captions = source(Scribe(), tmp_path)
    assert isinstance(captions, Preparer)
    found = captions.of(clip)
    assert [(c.start, c.end, c.text) for c in found[:2]] == [(0, 16, "from 0 to 16"), (16, 32, "from 16 to 32")]
    assert len(found) == 20
    assert (found[0].seconds, found[0].usage) == (0.5, TokenUsage(10, 0, 3))


class Foresighted(Scribe):
    """Notes which stretches it is told of beforehand."""

    @contextmanager
    def looking_ahead(self, clips: Sequence[Clip]) -> Iterator[None]:
        self.told = [(clip.start, clip.end) for clip in clips]
        yield


def test_a_captioner_is_told_beforehand_of_the_segments_that_lack_captions(tmp_path: Path, clip: Clip) -> None:
    first = Foresighted(lambda request: KeyboardInterrupt() if request.clip.start >= 16 * SEGMENTS_AT_ONCE else None)
    with pytest.raises(KeyboardInterrupt):
        source(first, tmp_path).of(clip)
    second = Foresighted()
    source(second, tmp_path).of(clip)
    assert len(first.told) == 20
    assert second.told == first.told[SEGMENTS_AT_ONCE:] == second.seen


def test_decoding_that_went_on_meanwhile_is_not_counted_as_the_captions_time(tmp_path: Path, clip: Clip) -> None:
    class Overlapping(Scribe):
        def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
            seconds = {"decode": 9.0, "wait": 0.25, "encode": 1.0}
            return [replace(r, trace=replace(r.trace, seconds=seconds)) for r in super().caption(requests)]

    assert source(Overlapping(), tmp_path).of(clip)[0].seconds == 1.25


def test_what_reads_texts_alone_needs_no_video(tmp_path: Path) -> None:
    unseen = Clip("v", 0.0, 300.0)
    assert [c.text for c in source(Scribe(), tmp_path, "whole").of(unseen)] == ["from 0 to 300"]
    again = Scribe()
    source(again, tmp_path, "whole").of(unseen)
    assert again.seen == []


@pytest.mark.parametrize(("batch_hint", "calls"), [(1, [8, 8, 4]), (12, [12, 8])])
def test_a_captioner_gets_as_many_segments_at_once_as_it_wants(
    tmp_path: Path, clip: Clip, batch_hint: int, calls: list[int]
) -> None:
    class Hungry(Scribe):
        batch_hint: BatchHint
        calls: list[int]

        def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
            self.calls.append(len(requests))
            return super().caption(requests)

    scribe = Hungry()
    scribe.batch_hint, scribe.calls = BatchHint(batch=batch_hint), []
    source(scribe, tmp_path).of(clip)
    assert scribe.calls == calls


def test_nothing_is_captioned_twice(tmp_path: Path, clip: Clip) -> None:
    first = source(Scribe(), tmp_path).of(clip)
    again = Scribe()
    assert source(again, tmp_path).of(clip) == first
    assert again.seen == []


def test_a_copy_of_the_video_elsewhere_has_the_same_captions(tmp_path: Path, clip: Clip) -> None:
    source(Scribe(), tmp_path).of(clip)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(b"some video")
    again = Scribe()
    source(again, tmp_path).of(replace(clip, path=copy))
    assert again.seen == []


def test_whatever_decides_a_caption_makes_new_ones(tmp_path: Path, clip: Clip) -> None:
    source(Scribe(), tmp_path).of(clip)
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(b"other video")
    for make, what in (
        (lambda scribe: source(scribe, tmp_path, cut="uniform:8"), clip),
        (lambda scribe: source(scribe, tmp_path, tokens=32), clip),
        (lambda scribe: source(scribe, tmp_path), replace(clip, path=changed)),
        (lambda scribe: source(scribe, tmp_path), replace(clip, end=100.0)),
    ):
        scribe = Scribe()
        make(scribe).of(what)
        assert scribe.seen
    other = Scribe(name="other")
    source(other, tmp_path).of(clip)
    assert other.seen


def test_an_interrupted_clip_goes_on_where_it_stopped(tmp_path: Path, clip: Clip) -> None:
    stopped = Scribe(lambda request: KeyboardInterrupt() if request.clip.start >= 16.0 * 12 else None)
    with pytest.raises(KeyboardInterrupt):
        source(stopped, tmp_path).of(clip)
    again = Scribe()
    captions = source(again, tmp_path)
    assert not captions.is_done(clip)
    assert len(captions.of(clip)) == 20
    assert again.seen[0] == (16.0 * SEGMENTS_AT_ONCE, 16.0 * (SEGMENTS_AT_ONCE + 1))
    assert len(again.seen) == 20 - SEGMENTS_AT_ONCE
    assert captions.is_done(clip)


def test_a_torn_last_line_costs_only_itself(tmp_path: Path, clip: Clip) -> None:
    whole = source(Scribe(), tmp_path).of(clip)
    (path,) = (tmp_path / "cache").iterdir()
    data = path.read_bytes()
    path.write_bytes(data[: data.rstrip().rfind(b"\n") + 10])
    again = Scribe()
    assert source(again, tmp_path).of(clip) == whole
    assert again.seen == [(16.0 * 19, 16.0 * 20)]


@pytest.mark.parametrize("line", [b"nonsense\n", b"{}\n", b'{"start": 1}\n'])
def test_a_damaged_cache_is_named_and_not_mended(tmp_path: Path, clip: Clip, line: bytes) -> None:
    source(Scribe(), tmp_path).of(clip)
    (path,) = (tmp_path / "cache").iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], line, *lines[2:]]))
    with pytest.raises(DataError, match=f"{path.name} is damaged.*delete it"):
        source(Scribe(), tmp_path).of(clip)


def test_one_bad_video_is_told_and_passed_over(tmp_path: Path, clip: Clip) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"bad")
    clips = [clip, Clip("bad", 0, 16, bad), Clip("gone", 0, 16, tmp_path / "gone.mp4"), clip]
    scribe = Scribe(lambda r: EmptyVideoError(f"{r.clip.path}: empty") if r.clip.video_id == "bad" else None)
    heard: dict[str, str | None] = {}
    source(scribe, tmp_path).prepare(clips, lambda c, error: heard.setdefault(c.video_id, error))
    assert heard["v"] is None
    assert "bad.mp4" in str(heard["bad"])
    assert "gone.mp4" in str(heard["gone"])
    with pytest.raises(MissingVideoError, match=r"gone\.mp4"):
        source(scribe, tmp_path).of(clips[2])


def test_a_programming_error_is_not_swallowed(tmp_path: Path, clip: Clip) -> None:
    with pytest.raises(ZeroDivisionError):
        source(Scribe(lambda _: ZeroDivisionError()), tmp_path).prepare([clip], lambda *_: None)


def caption_in_a_process(folder: str, path: str, queue: multiprocessing.Queue[int]) -> None:
    scribe = Scribe()
    source(scribe, Path(folder)).of(Clip("v", 0.0, 16.0 * 20, Path(path)))
    queue.put(len(scribe.seen))


def test_two_processes_share_the_work_without_mixing_lines(tmp_path: Path, clip: Clip) -> None:
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[int] = context.Queue()
    jobs = [context.Process(target=caption_in_a_process, args=(str(tmp_path), str(clip.path), queue)) for _ in range(2)]
    for job in jobs:
        job.start()
    seen = [queue.get(timeout=60) for _ in jobs]
    for job in jobs:
        job.join(60)
    assert sorted(seen) == [0, 20]
    (path,) = (tmp_path / "cache").iterdir()
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 21
