"""CoCa as a captioner of real clips."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from encoders.coca.captioner import JOINT, CocaCaptioner, build_coca
from encoders.models import CocaOptions
from encoders.video_errors import EmptyVideoError
from tasks.errors import ModelError
from tasks.model import Captioner, TextRequest
from tasks.task import Clip
from tests.encoders.coca.small import write_coca


@pytest.fixture(scope="module")
def coca_name(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_coca(tmp_path_factory.mktemp("weights") / "coca", seed=5)


def build(name: str, **options: object) -> CocaCaptioner:
    return build_coca(CocaOptions(name=name, dtype="float32", device="cpu", max_length=12, **options))


def request(path: Path, start: float, end: float) -> TextRequest:
    return TextRequest(f"{path.stem}@{start}", Clip(path.stem, start, end, path), "What happens?", 64)


def test_the_middle_frame_of_each_clip_is_captioned(coca_name: str, shared_data: Path) -> None:
    model = build(coca_name)
    assert isinstance(model, Captioner)
    video = shared_data / "videos" / "natural" / "scrambled_eggs_70s.mp4"
    replies = model.caption([request(video, 0, 16), request(video, 16, 32)])
    assert [reply.trace.frames.seconds for reply in replies if reply.trace.frames] == [(8.0,), (24.0,)]
    assert all(reply.text and reply.trace.usage.completion > 0 for reply in replies)
    assert set(replies[0].trace.seconds) == {"decode", "wait", "caption"}


def test_a_caption_is_the_same_alone_and_in_company(coca_name: str, shared_data: Path) -> None:
    model = build(coca_name, batch=2)
    folder = shared_data / "videos" / "natural"
    requests = [request(folder / "scrambled_eggs_70s.mp4", s, s + 8) for s in (32, 0, 16)]
    requests.append(request(folder / "ego_kitchen_41s.mp4", 0, 8))
    together = [reply.text for reply in model.caption(requests)]
    assert together == [model.caption([one])[0].text for one in requests]


def test_captions_of_several_frames_are_joined_without_repeats(coca_name: str, shared_data: Path) -> None:
    video = shared_data / "videos" / "natural" / "scrambled_eggs_70s.mp4"
    (reply,) = build(coca_name, frames=4).caption([request(video, 0, 16)])
    assert reply.trace.frames is not None
    assert reply.trace.frames.count == 4
    texts = reply.text.split(JOINT)
    assert all(one != other for one, other in pairwise(texts))


def test_a_bad_video_is_named(coca_name: str, shared_data: Path) -> None:
    empty = next(path for path in sorted((shared_data / "videos" / "broken").iterdir()) if path.stat().st_size == 0)
    with pytest.raises(EmptyVideoError, match=empty.name):
        build(coca_name).caption([request(empty, 0, 8)])


def test_weights_must_be_named() -> None:
    with pytest.raises(ModelError, match="needs pretrained"):
        build("coca_ViT-B-32")
