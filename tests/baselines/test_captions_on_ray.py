"""What the cluster's captions share with those of one process: cache, keys and rules. Ray's own part is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from baselines import segment_captions
from baselines.segment_captions import CaptionSettings, DistantCaptioner, RayCaptions, SegmentCaptions, captioning_work
from baselines.segments import parse_cutting
from encoders.ray_pool import Pool
from encoders.video_errors import EmptyVideoError
from tasks.errors import ModelError
from tasks.model import Preparer
from tasks.prompt import load_prompt
from tasks.task import Clip
from tests.baselines.test_segment_captions import Scribe

SETTINGS = CaptionSettings(parse_cutting("uniform:16"), load_prompt("baselines", "segment.v1"), 64)


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    found = []
    for name in "ab":
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(name.encode())
        found.append(Clip(name, 0.0, 16.0 * 20, path))
    return found


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The workers' part done here, with a cache of its own, as on another machine."""

    def spread(pool: Pool, build: Any, items: Sequence[Any], at_once: int) -> Iterator[Any]:
        del pool
        captioner, settings, _, sha256 = build.args
        work = captioning_work(captioner, settings, tmp_path / "theirs", sha256)
        for first in range(0, len(items), at_once):
            yield from work(items[first : first + at_once])

    monkeypatch.setattr(segment_captions, "spread", spread)


def elsewhere(scribe: Scribe, folder: Path) -> RayCaptions:
    ours = SegmentCaptions(DistantCaptioner(scribe.info), SETTINGS, folder / "ours")
    made = RayCaptions(Pool(), lambda: scribe, ours)
    assert isinstance(made, Preparer)
    return made


def test_captions_made_elsewhere_are_kept_here_and_asked_for_once(
    at_hand: None, tmp_path: Path, clips: list[Clip]
) -> None:
    scribe = Scribe()
    made = elsewhere(scribe, tmp_path)
    heard: list[tuple[str, str | None]] = []
    for _ in range(2):
        made.prepare(clips, lambda clip, error: heard.append((clip.video_id, error)))
    assert heard == [("a", None), ("b", None)] * 2
    assert len(scribe.seen) == 40
    here = SegmentCaptions(Scribe(), SETTINGS, tmp_path / "here")
    assert [made.captions.of(clip) for clip in clips] == [here.of(clip) for clip in clips]


def test_captions_kept_in_part_are_replaced_by_the_whole(tmp_path: Path, clips: list[Clip]) -> None:
    def fail(request: Any) -> Exception | None:
        return EmptyVideoError("here it ends") if request.clip.start == 16 * 9 else None

    partial = SegmentCaptions(Scribe(fail), SETTINGS, tmp_path / "partial")
    with pytest.raises(EmptyVideoError):
        partial.of(clips[0])
    whole = SegmentCaptions(Scribe(), SETTINGS, tmp_path / "whole")
    partial.keep(clips[0], whole.rows(clips[0]))
    assert partial.is_done(clips[0])
    assert partial.of(clips[0]) == whole.of(clips[0])


def test_a_bad_video_and_a_missing_one_are_told_and_the_rest_captioned(
    at_hand: None, tmp_path: Path, clips: list[Clip]
) -> None:
    gone = replace(clips[0], video_id="gone", path=tmp_path / "gone.mp4")
    scribe = Scribe(lambda request: EmptyVideoError("a is empty") if request.clip.video_id == "a" else None)
    heard: dict[str, str | None] = {}
    elsewhere(scribe, tmp_path).prepare([gone, *clips], lambda clip, error: heard.setdefault(clip.video_id, error))
    assert "no such video file" in str(heard["gone"])
    assert heard["a"] == "a is empty"
    assert heard["b"] is None


def test_a_worker_with_another_captioner_is_refused(tmp_path: Path, clips: list[Clip]) -> None:
    work = captioning_work(lambda: Scribe(name="other"), SETTINGS, tmp_path, "0" * 64)
    with pytest.raises(ModelError, match=r"captioners differ: .*other"):
        list(work(clips))


def test_the_distant_captioner_writes_nothing_here(tmp_path: Path, clips: list[Clip]) -> None:
    captions = SegmentCaptions(DistantCaptioner(Scribe().info), SETTINGS, tmp_path)
    with pytest.raises(ModelError, match="is on the cluster"):
        captions.of(clips[0])
