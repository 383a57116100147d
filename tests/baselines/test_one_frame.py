"""One centre frame for every family: any model that takes frames=N."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines.parts import parse_spec
from tasks.errors import ModelError
from tasks.model import Captioner, Model, TextRequest, VideoTextEncoder
from tasks.registry import build_model
from tasks.task import Clip
from tests.encoders.coca.small import write_coca


@pytest.mark.parametrize("family", ["imagevit-tiny", "shortvivit-tiny"])
def test_an_encoder_sees_the_middle_frame_alone(family: str, shared_data: Path) -> None:
    model = build_model("one-frame", {"of": f"{family}:weights=random,dtype=float32"})
    assert isinstance(model, VideoTextEncoder)
    assert isinstance(model, Model)
    clip = Clip("eggs", 10.0, 30.0, shared_data / "videos" / "natural" / "scrambled_eggs_70s.mp4")
    trace = model.embed_video([clip]).traces[0]
    assert trace.frames is not None
    assert trace.frames.seconds == (20.0,)
    assert model.info.name == f"one-frame:{family}"
    assert model.info.details["frames_count"] == 1


def test_a_captioner_writes_about_the_middle_frame_alone(tmp_path: Path, shared_data: Path) -> None:
    name = write_coca(tmp_path / "coca")
    model = build_model("one-frame", {"of": f"coca:name={name},dtype=float32,max_length=8"})
    assert isinstance(model, Captioner)
    clip = Clip("eggs", 10.0, 30.0, shared_data / "videos" / "natural" / "scrambled_eggs_70s.mp4")
    (reply,) = model.caption([TextRequest("q", clip, "", 8)])
    assert reply.trace.frames is not None
    assert reply.trace.frames.seconds == (20.0,)


def test_another_frame_policy_is_refused() -> None:
    with pytest.raises(ModelError, match=r"leave frames out"):
        build_model("one-frame", {"of": "imagevit-tiny:weights=random,frames=8"})


def test_a_model_without_frames_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'chance' has no option 'frames'"):
        build_model("one-frame", {"of": "chance"})


@pytest.mark.parametrize("spec", ["x:y", "x:=1", "x:a=1,a=2", "x:a=1,,b=2"])
def test_a_specification_that_is_none_is_refused(spec: str) -> None:
    with pytest.raises(ModelError, match="NAME:key=value"):
        parse_spec(spec)


def test_values_may_hold_colons_and_equal_signs() -> None:
    assert parse_spec("coca:name=local-dir:/a/b=c,frames=2") == ("coca", {"name": "local-dir:/a/b=c", "frames": "2"})
    assert parse_spec("coca") == ("coca", {})
