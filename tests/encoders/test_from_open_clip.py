import json

import pytest
import torch
from safetensors.torch import save_file

from encoders.config import AdaptConfig
from encoders.dual import adapt_encoder
from encoders.from_open_clip import Inflation, convert_model, convert_tokenizer, from_open_clip
from encoders.vit import sample_keep
from encoders.weights import load_encoder, save_encoder
from tasks.errors import ModelError
from tests.encoders.small import generator, still, stir, videos

open_clip = pytest.importorskip("open_clip")

VISION = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 3, "head_width": 16, "mlp_ratio": 3.0}
TEXT = {"context_length": 20, "vocab_size": 49408, "width": 48, "heads": 4, "layers": 2}
KINDS = {
    "class-token": {},
    "average": {"pool_type": "avg", "final_ln_after_pool": True},
    "average-after-norm": {"pool_type": "avg", "no_ln_pre": True},
    "layer-scale": {"ls_init_value": 0.3},
    "attention-pool": {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 7},
}


def clip(kind="class-token", quick=False):
    torch.manual_seed(0)
    model = open_clip.model.CLIP(40, {**VISION, **KINDS[kind]}, dict(TEXT), quick_gelu=quick).eval()
    stir(model)
    return model


def as_images(pixels, model):
    """Frames [N, H, W, 3] the way open_clip's own preprocessing hands them over."""
    mean, std = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)
    scaled = (pixels / 255 - mean) / std
    return scaled.permute(0, 3, 1, 2)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@torch.no_grad()
def test_a_frame_embeds_as_open_clip_encodes_the_image(kind):
    model = clip(kind)
    encoder = convert_model(model, "small")
    frames = videos(1, 6)[0]
    expected = model.encode_image(as_images(frames, model), normalize=True)
    torch.testing.assert_close(encoder.embed_video(frames[:, None]), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_quick_gelu_weights_embed_as_in_open_clip():
    model = clip(quick=True)
    encoder = convert_model(model, "small")
    frames = videos(1, 3)[0]
    expected = model.encode_image(as_images(frames, model), normalize=True)
    torch.testing.assert_close(encoder.embed_video(frames[:, None]), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_vit_b_32_at_full_size_embeds_every_frame_as_open_clip_does():
    torch.manual_seed(1)
    model = open_clip.create_model("ViT-B-32").eval()
    encoder = convert_model(model, "ViT-B-32")
    frames = videos(1, 2, 224)[0]
    expected = model.encode_image(as_images(frames, model), normalize=True)
    torch.testing.assert_close(encoder.embed_video(frames[:, None]), expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["joint", "factorized", "frame"])
@pytest.mark.parametrize("tubelet", [2, 4])
def test_a_still_video_through_the_inflated_tower_embeds_like_its_image(kind, attention, tubelet):
    model = clip(kind)
    encoder = convert_model(model, "small", Inflation(attention, 8, tubelet))
    expected = model.encode_image(as_images(still()[0, :1], model), normalize=True)
    torch.testing.assert_close(encoder.embed_video(still()), expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["joint", "factorized"])
def test_an_image_through_the_inflated_tower_s_image_path_is_open_clip_s(attention):
    model = clip()
    encoder = convert_model(model, "small", Inflation(attention, 8))
    expected = model.encode_image(as_images(still()[0, :1], model), normalize=True)
    torch.testing.assert_close(encoder.embed_video(still(frames=1)), expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["joint", "factorized"])
def test_a_moving_video_does_not_embed_like_its_first_frame(attention):
    encoder = convert_model(clip(), "small", Inflation(attention, 8))
    moving = videos(1)
    assert bool((encoder.embed_video(moving) - encoder.embed_video(moving[:, :1])).norm() > 1e-3)


@torch.no_grad()
def test_the_inflated_tower_takes_a_mask():
    encoder = convert_model(clip(), "small", Inflation("joint", 8))
    keep = sample_keep(encoder.config.vision, (2, 8, 32, 32), 0.75, generator())
    assert encoder.vision(videos(), keep).tokens.shape == (2, 16, 64)


@torch.no_grad()
def test_texts_embed_as_open_clip_encodes_them():
    model = clip()
    encoder = convert_model(model, "small")
    tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=20)
    texts = ["Chop the onion!", "a man's 2 pans, 350°", ""]
    expected = model.encode_text(tokenizer(texts), normalize=True)
    batch = convert_tokenizer(tokenizer, "small").batch(texts, 20)
    torch.testing.assert_close(encoder.embed_text(batch), expected, rtol=0, atol=1e-5)


def test_the_temperature_is_carried_over():
    encoder = convert_model(clip(), "small")
    torch.testing.assert_close(encoder.log_scale.exp(), clip().logit_scale.detach().exp()[None])


def test_the_converted_tokenizer_agrees_with_open_clip_s_on_real_captions(shared_data):
    tokenizer = open_clip.tokenizer.SimpleTokenizer()
    converted = convert_tokenizer(tokenizer, "clip")
    questions = json.loads((shared_data / "egoschema" / "questions.json").read_text(encoding="utf-8"))
    texts = [str(value) for item in questions[:300] for value in item.values()]
    assert len(texts) > 1000
    for text, encoding in zip(texts, converted.tokenizer.encode_batch(texts), strict=True):
        assert encoding.ids == tokenizer.encode(text), text


@torch.no_grad()
def test_a_local_folder_loads_and_survives_saving_without_open_clip(tmp_path):
    model = clip()
    config = {"model_cfg": {"embed_dim": 40, "vision_cfg": VISION, "text_cfg": TEXT}, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    encoder, tokenizer = from_open_clip(f"local-dir:{tmp_path}", inflation=Inflation("joint", 8))
    torch.testing.assert_close(
        encoder.embed_video(still()),
        model.encode_image(as_images(still()[0, :1], model), normalize=True),
        rtol=0,
        atol=1e-5,
    )
    save_encoder(encoder, tokenizer, tmp_path / "mine.safetensors")
    again = load_encoder(tmp_path / "mine.safetensors")
    assert torch.equal(again.encoder.embed_video(videos()), encoder.embed_video(videos()))


def test_a_folder_of_pickled_weights_is_refused(tmp_path):
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"no \.safetensors"):
        from_open_clip(f"local-dir:{tmp_path}")


def test_a_folder_whose_weights_are_of_another_shape_is_refused(tmp_path):
    config = {"model_cfg": {"embed_dim": 44, "vision_cfg": VISION, "text_cfg": TEXT}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    save_file(clip().state_dict(), tmp_path / "open_clip_model.safetensors")
    with pytest.raises(ModelError, match="open_clip cannot load"):
        from_open_clip(f"local-dir:{tmp_path}")


def test_a_name_without_weights_an_unknown_tag_and_a_pickle_are_refused(tmp_path):
    with pytest.raises(ModelError, match="needs pretrained"):
        from_open_clip("ViT-B-32")
    with pytest.raises(ModelError, match="laion2b_s34b_b79k"):
        from_open_clip("ViT-B-32", "laion3b")
    pickled = tmp_path / "w.pt"
    pickled.write_bytes(b"x")
    with pytest.raises(ModelError, match="pickle"):
        from_open_clip("ViT-B-32", str(pickled))


def test_other_vision_towers_are_refused_by_type():
    model = clip()
    model.visual = torch.nn.Linear(2, 2)
    with pytest.raises(ModelError, match="Linear"):
        convert_model(model, "small")


def test_other_text_towers_are_refused():
    model = clip()
    model.text_pool_type = "last"
    with pytest.raises(ModelError, match="text tower"):
        convert_model(model, "small")


@torch.no_grad()
@pytest.mark.parametrize("method", ["adapters", "lora", "last"])
def test_adapting_an_inflated_tower_keeps_its_still_videos_exact(method):
    model = clip()
    expected = model.encode_image(as_images(still()[0, :1], model), normalize=True)
    video = adapt_encoder(convert_model(model, "small", Inflation("joint", 8)), AdaptConfig(method, last=1))
    torch.testing.assert_close(video.embed_video(still()), expected, rtol=0, atol=1e-5)
