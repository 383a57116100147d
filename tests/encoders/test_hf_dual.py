"""Dual encoders of transformers, a tiny one of each type: vectors are those that transformers gives by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing

from encoders.frames import read_frames
from encoders.hf_dual import HfDual
from encoders.sampling import FramePolicy
from lab.bench.vision_language import byte_tokenizer
from tasks.errors import LongvidError, ModelError
from tasks.model import VideoTextEncoder
from tasks.registry import build_model
from tasks.task import Clip

TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
SEES = {**TOWER, "image_size": 32, "patch_size": 16}
CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
CONTEXT = 24
LONG = "a person cracks two eggs into a pan and stirs them slowly until they are done"


def tokenizer(*vocabulary: str) -> Any:
    made = byte_tokenizer({}, vocabulary=vocabulary)
    made.pad_token = made.eos_token
    end = made.convert_tokens_to_ids("<|im_end|>")
    made.backend_tokenizer.post_processor = TemplateProcessing("$0 <|im_end|>", special_tokens=[("<|im_end|>", end)])
    made.model_max_length = CONTEXT
    return made


def reads(words: Any, **more: Any) -> dict[str, Any]:
    return {**TOWER, "vocab_size": len(words) + 4, "max_position_embeddings": CONTEXT, **more}


def clip_model() -> tuple[Any, Any]:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    words = tokenizer()
    text = reads(words, eos_token_id=words.eos_token_id, bos_token_id=0)
    config = CLIPConfig(text_config=text, vision_config=SEES, projection_dim=16)
    return CLIPModel(config), CLIPProcessor(CLIPImageProcessor(**CROP), words)


def siglip2_model() -> tuple[Any, Any]:
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model, Siglip2Processor

    words = tokenizer("<unk>", "\u2581")
    sees = {**TOWER, "patch_size": 16, "num_patches": 16}
    config = Siglip2Config(text_config=reads(words, projection_size=32), vision_config=sees)
    return Siglip2Model(config), Siglip2Processor(Siglip2ImageProcessor(patch_size=16, max_num_patches=16), words)


def altclip_model() -> tuple[Any, Any]:
    from transformers import AltCLIPConfig, AltCLIPModel, AltCLIPProcessor, CLIPImageProcessor

    words = tokenizer()
    text = reads(words, project_dim=32, pad_token_id=1, max_position_embeddings=CONTEXT + 2)
    config = AltCLIPConfig(text_config=text, vision_config=SEES, projection_dim=16)
    return AltCLIPModel(config), AltCLIPProcessor(CLIPImageProcessor(**CROP), words)


def xclip_model() -> tuple[Any, Any]:
    from transformers import VideoMAEImageProcessor, XCLIPConfig, XCLIPModel, XCLIPProcessor

    words = tokenizer()
    mit = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    sees = {**SEES, "num_frames": 4, **{f"mit_{name}": value for name, value in mit.items()}}
    text = reads(words, eos_token_id=words.eos_token_id)
    config = XCLIPConfig(text_config=text, vision_config=sees, projection_dim=32)
    return XCLIPModel(config), XCLIPProcessor(VideoMAEImageProcessor(**CROP), words)


MODELS: Mapping[str, Callable[[], tuple[Any, Any]]] = {
    "clip": clip_model,
    "siglip2": siglip2_model,
    "altclip": altclip_model,
    "xclip": xclip_model,
}


@pytest.fixture(scope="module", params=MODELS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dual") / str(request.param)
    torch.manual_seed(0)
    model, processor = MODELS[str(request.param)]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.5)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def by_hand(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoProcessor

    return AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def clips(shared_data: Path) -> list[Clip]:
    videos = shared_data / "videos" / "natural"
    return [
        Clip("bikes", 0.0, 9.0, videos / "bikes_10s.mp4"),
        Clip("eggs", 0.0, 8.0, videos / "scrambled_eggs_70s.mp4"),
    ]


def build(folder: Path, **options: str) -> HfDual:
    model = build_model("hf-dual", {"name": str(folder), "device": "cpu", **options})
    assert isinstance(model, HfDual)
    assert isinstance(model, VideoTextEncoder)
    return model


def own(folder: Path) -> dict[str, str]:
    return {} if folder.name == "xclip" else {"frames": "4"}


def unit(found: Any) -> Any:
    vectors = found if isinstance(found, torch.Tensor) else found.pooler_output
    return torch.nn.functional.normalize(vectors, dim=-1)


@torch.inference_mode()
def test_a_clip_is_the_mean_of_its_frames_or_its_video_as_transformers_has_it(
    folder: Path, by_hand: tuple[Any, Any], clips: list[Clip]
) -> None:
    model, processor = by_hand
    embedded = build(folder, **own(folder)).embed_video(clips)
    policy = FramePolicy(count=4, size=None, fit="keep", pixels=448 * 448)
    for clip, vector, trace in zip(clips, embedded.vectors, embedded.traces, strict=True):
        given = processor.image_processor(list(read_frames(clip, policy).pixels), return_tensors="pt")
        video = folder.name == "xclip"
        rows = unit(model.get_video_features(**given) if video else model.get_image_features(**given))
        assert np.allclose(vector, unit(rows.mean(0)), atol=1e-4)
        assert trace.frames is not None
        assert trace.frames.count == 4
    assert not np.allclose(*embedded.vectors, atol=1e-3)


@torch.inference_mode()
def test_a_text_is_read_with_the_padding_that_its_tower_was_trained_with(
    folder: Path, by_hand: tuple[Any, Any]
) -> None:
    model, processor = by_hand
    full = {"padding": "max_length", "max_length": CONTEXT} if folder.name == "siglip2" else {}
    given = processor.tokenizer(["two eggs"], return_tensors="pt", **full)
    (vector,) = build(folder).embed_text(["two eggs"]).vectors
    assert np.allclose(vector, unit(model.get_text_features(**given))[0], atol=1e-4)


def test_a_long_text_is_pooled_from_pieces_and_says_so(folder: Path) -> None:
    model = build(folder)
    embedded = model.embed_text([LONG, "two eggs"])
    assert [trace.notes for trace in embedded.traces] == [{"text_chunks": 4}, {}]
    assert not np.allclose(embedded.vectors[0], model.embed_text([LONG[:20]]).vectors[0], atol=1e-3)
    assert np.allclose(np.linalg.norm(embedded.vectors, axis=1), 1, atol=1e-5)


def test_the_record_says_how_clips_are_read(folder: Path) -> None:
    details = build(folder).info.details
    assert details["read_as"] == ("video" if folder.name == "xclip" else "frames")
    assert details["frames_count"] == (4 if folder.name == "xclip" else 16)


@pytest.mark.parametrize("folder", ["xclip"], indirect=True)
def test_a_video_of_another_length_than_the_model_reads_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="reads videos of 4 frames: leave frames= out"):
        build(folder, frames="8")


@pytest.mark.parametrize("folder", ["clip"], indirect=True)
def test_what_is_no_dual_encoder_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="can't be read as video: read_as=frames"):
        build(folder, read_as="video")
    with pytest.raises(LongvidError, match="model folder"):
        build(tmp_path)
    with pytest.raises(ModelError, match="no such folder, and not available"):
        build(tmp_path / "nowhere")
