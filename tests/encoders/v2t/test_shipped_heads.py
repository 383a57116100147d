"""The video-to-text that ships with the repository: its parts are the shipped ones, and it looks at the video."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from encoders.build import build_preset
from encoders.models import PresetOptions
from encoders.pretrain.captions import CaptionCollate, CaptionTexts, caption_sums
from encoders.pretrain.data import Sample, View
from encoders.pretrain.kitchen import KitchenSource
from encoders.pretrain.settings import KitchenSettings
from encoders.pretrain.step import Request
from encoders.shipped import SHIPPED
from encoders.v2t.task_model import VideoToTextModel
from encoders.v2t.weights import read_description
from tasks.digests import file_sha256
from tasks.errors import ModelError

HEADS: dict[str, tuple[View, int, str]] = {"shortvivit-tiny": ("clip", 16, "; "), "longvivit-tiny": ("video", 128, " ")}
"""What each was trained to tell: the view, its frames, and what stands between sentences."""
CLIPS = 12
EVERY = pytest.mark.parametrize("name", sorted(HEADS))


def shipped(name: str) -> VideoToTextModel:
    options = PresetOptions(weights="kitchen", v2t="kitchen", device="cpu", dtype="float32", frames=HEADS[name][1])
    model = build_preset(name, options)
    assert isinstance(model, VideoToTextModel)
    return model


def held_out(name: str) -> list[Sample]:
    view, frames, between = HEADS[name]
    settings = KitchenSettings(CLIPS, "val", false_captions=0, statements=False, between=between)
    source = KitchenSource(settings, view, frames=frames, fps=1.0, size=64, centred=True)
    return list(source.load(Request(index, index) for index in range(CLIPS)))


@torch.inference_mode()
def loss(model: VideoToTextModel, samples: list[Sample]) -> float:
    """Nats a token of the samples' own captions."""
    v2t = model._model
    assert v2t.vision is not None
    texts = CaptionTexts(model._tokenizer, v2t.connector.config.prompt)
    batch = CaptionCollate(v2t.vision.config, texts)(samples, range(len(samples)))
    losses, _, tokens = caption_sums(v2t(batch.video, batch.rows, batch.keep), batch.rows)
    return float(losses / tokens)


@EVERY
def test_a_head_names_the_shipped_encoder_and_language_model(name: str) -> None:
    description = read_description(SHIPPED / f"{name}-v2t.safetensors")
    assert description.encoder.sha256 == file_sha256(SHIPPED / f"{name}.safetensors")
    folder = description.lm.name.partition(":")[2]
    assert description.lm.sha256 == file_sha256(SHIPPED / folder / "model.safetensors")


@EVERY
def test_held_out_clips_are_told_better_when_seen_than_when_blank_or_exchanged(name: str) -> None:
    model, samples = shipped(name), held_out(name)
    blank = [replace(sample, pixels=np.zeros_like(sample.pixels)) for sample in samples]
    others = [replace(one, pixels=two.pixels) for one, two in zip(samples, samples[4:] + samples[:4], strict=True)]
    seen = loss(model, samples)
    assert seen < 0.9 * loss(model, blank)
    assert seen < 0.9 * loss(model, others)


def test_a_head_over_another_encoder_than_its_own_is_refused() -> None:
    options = PresetOptions(weights="kitchen:effshortvivit-tiny", v2t="kitchen", device="cpu")
    with pytest.raises(ModelError, match=r"was trained on the encoder shortvivit-tiny\.safetensors"):
        build_preset("shortvivit-tiny", options)
