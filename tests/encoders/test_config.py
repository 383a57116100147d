import json

import pytest
import torch

from encoders.config import PRESETS, AdaptConfig, EncoderConfig, VisionConfig, preset
from encoders.dual import DualEncoder
from encoders.vit import VisionTower
from tasks.errors import ModelError

PUBLISHED = {"b": 86e6, "l": 307e6}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_a_round_trip_through_json(name):
    assert EncoderConfig.from_json(preset(name).to_json()) == preset(name)


def test_every_family_comes_in_every_size():
    families = {"imagevit", "shortvivit", "longvivit", "factorized"}
    assert set(PRESETS) == {f"{family}-{size}" for family in families for size in ("tiny", "b", "l")}


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ModelError, match=r"'longvivit-xl'.*longvivit-l"):
        preset("longvivit-xl")


@pytest.mark.parametrize("where", [(), ("vision",), ("text",), ("adapt",)])
def test_an_unknown_key_is_refused_by_name_at_any_depth(where):
    data = json.loads(preset("shortvivit-tiny").to_json())
    part = data
    for key in where:
        part = part[key]
    part["widht"] = 3
    with pytest.raises(ModelError, match=r"x\.json.*'widht'"):
        EncoderConfig.from_json(json.dumps(data), "x.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [("width", "wide"), ("width", True), ("depth", 2.5), ("attention", "sparse"), ("pixel_mean", [0.5])],
)
def test_a_value_of_the_wrong_type_is_refused_by_key(key, value):
    data = json.loads(preset("shortvivit-tiny").to_json())
    data["vision"][key] = value
    with pytest.raises(ModelError, match=key):
        EncoderConfig.from_dict(data)


def test_a_missing_key_and_broken_json_are_refused():
    with pytest.raises(ModelError, match="'vision' is missing"):
        EncoderConfig.from_dict({"name": "x", "text": json.loads(preset("imagevit-b").to_json())["text"]})
    with pytest.raises(ModelError, match="not JSON"):
        EncoderConfig.from_json("{")


@pytest.mark.parametrize(
    "changes",
    [
        {"heads": 5},
        {"size": 30},
        {"frames": 7},
        {"attention": "frame"},
        {"patches": "image"},
        {"patches": "tubes", "class_token": True},
        {"pool": "class"},
        {"fusion": "attention"},
        {"pool": "attention", "pool_heads": 7},
    ],
)
def test_shapes_that_mean_nothing_are_refused(changes):
    with pytest.raises(ModelError, match="encoder config"):
        VisionConfig(**{"width": 48, "depth": 1, "heads": 4, "mlp": 96, "size": 32, "patch": 8, **changes})


@pytest.mark.parametrize("source", ["encoder config", "some/where.json"])
def test_a_refusal_names_what_was_read_once(source):
    shape = json.loads(preset("imagevit-tiny").to_json())
    shape["vision"]["depth"] = -1
    with pytest.raises(ModelError) as refusal:
        EncoderConfig.from_dict(shape, source)
    told = str(refusal.value)
    assert told.startswith(f"{source}: vision: ")
    assert told.count(source) == 1
    assert told.endswith("depth is -1, which is not from 1 to 512")


@pytest.mark.parametrize("size", ["b", "l"])
@pytest.mark.parametrize("family", ["imagevit", "shortvivit", "longvivit"])
def test_parameters_a_video_passes_through_are_the_published_count_within_a_percent(family, size):
    with torch.device("meta"):
        encoder = DualEncoder(preset(f"{family}-{size}"))
    unused = "vision.none" if family == "imagevit" else "vision.image."
    path = [p.numel() for n, p in encoder.named_parameters() if n.startswith("vision") and unused not in n]
    assert sum(path) == pytest.approx(PUBLISHED[size], rel=0.01)


@pytest.mark.parametrize("size", ["tiny", "b", "l"])
def test_joint_attention_adds_only_the_video_front_to_the_image_encoder(size):
    with torch.device("meta"):
        image = {n: p.shape for n, p in VisionTower(preset(f"imagevit-{size}").vision).named_parameters()}
        video = {n: p.shape for n, p in VisionTower(preset(f"longvivit-{size}").vision).named_parameters()}
    added = set(video) - set(image)
    assert added == {"video.0.proj.weight", "video.0.proj.bias", "positions.time"}
    assert all(video[name] == shape for name, shape in image.items())


def test_text_towers_have_the_shapes_of_bert_medium_and_base():
    with torch.device("meta"):
        counts = {
            size: sum(p.numel() for p in DualEncoder(preset(f"imagevit-{size}")).text.parameters())
            for size in ("b", "l")
        }
    assert counts["b"] == pytest.approx(41.1e6, rel=0.01)
    assert counts["l"] == pytest.approx(108.9e6, rel=0.01)


def test_the_default_adaptation_trains_everything():
    assert AdaptConfig().method == "full"
