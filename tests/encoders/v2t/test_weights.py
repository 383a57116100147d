"""A checkpoint holds what was trained, names what it sits on, and takes nothing else for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from encoders.build import build_preset
from encoders.models import PresetOptions, VideoToTextOptions
from encoders.v2t.task_model import VideoToTextModel, build_video_to_text
from encoders.v2t.weights import load_connector, read_description
from encoders.weights import save_encoder
from tasks.digests import file_sha256
from tasks.errors import ModelError
from tests.encoders.v2t.files import ENCODER, LM_FOLDER, write_all


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("v2t")
    write_all(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def build(folder: Path, **options: object) -> VideoToTextModel:
    given = {"weights": folder / "v2t.safetensors", "device": "cpu", "dtype": "float32", **options}
    return build_video_to_text(VideoToTextOptions(**given))  # type: ignore[arg-type]


def over(folder: Path, name: str = "longvivit-tiny", **options: object) -> object:
    given = {"weights": str(folder / ENCODER), "v2t": str(folder / "v2t.safetensors"), "device": "cpu", **options}
    return build_preset(name, PresetOptions(**given))  # type: ignore[arg-type]


def edit(path: Path, **changes: object) -> None:
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **changes}))


def test_the_file_holds_resampler_and_cross_attention_and_nothing_else(folder: Path) -> None:
    file = folder / "v2t.safetensors"
    names = set(load_file(file))
    assert names == set(load_connector(file, read_description(file)).state_dict())
    assert {name.split(".")[0] for name in names} == {"resampler", "layers"}


def test_the_description_names_both_models_with_the_digests_of_their_weights(folder: Path) -> None:
    description = read_description(folder / "v2t.safetensors")
    assert (description.encoder.name, description.encoder.sha256) == (ENCODER, file_sha256(folder / ENCODER))
    assert description.lm.name == f"transformers:{LM_FOLDER}"
    assert description.lm.sha256 == file_sha256(folder / LM_FOLDER / "model.safetensors")


def test_the_checkpoint_alone_finds_its_parts_beside_it(folder: Path) -> None:
    info = build(folder).info
    assert info.name == "longvivit-tiny+v2t"
    assert info.weights_sha256 == file_sha256(folder / "v2t.safetensors")
    assert info.details["encoder_sha256"] == file_sha256(folder / ENCODER)
    assert (info.details["frames_fps"], info.details["frames_cap"]) == (1.0, 256)


def test_its_parts_may_lie_in_a_given_folder_and_the_encoder_under_another_name(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for suffix in (".safetensors", ".json", ".tokenizer.json"):
        (folder / "long").with_suffix(suffix).rename((elsewhere / "renamed").with_suffix(suffix))
    (folder / LM_FOLDER).rename(elsewhere / LM_FOLDER)
    assert build(folder, parts=elsewhere).info.name == "longvivit-tiny+v2t"


def test_an_absent_encoder_is_named_with_the_folders_looked_in(folder: Path) -> None:
    (folder / ENCODER).unlink()
    with pytest.raises(ModelError, match=rf"trained on the encoder {ENCODER} .* not in {folder}.*-M parts=FOLDER"):
        build(folder)


def test_an_encoder_of_other_weights_is_refused_alone_and_over_a_preset(folder: Path) -> None:
    from encoders.config import preset
    from encoders.dual import build_encoder
    from encoders.tokens import byte_tokenizer

    save_encoder(build_encoder(preset("longvivit-tiny"), seed=9), byte_tokenizer(), folder / ENCODER)
    with pytest.raises(ModelError, match=rf"trained on the encoder {ENCODER}.*is another"):
        build(folder)
    with pytest.raises(ModelError, match=r"trained on the encoder .*longvivit-tiny is another"):
        over(folder)


def test_a_preset_takes_the_checkpoint_on_top(folder: Path) -> None:
    model = over(folder, beams=2)
    assert isinstance(model, VideoToTextModel)
    assert (model.info.name, model.info.details["beams"]) == ("longvivit-tiny+v2t", 2)


def test_an_absent_or_another_language_model_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    weights = folder / LM_FOLDER / "model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, weights, {"format": "pt"})
    with pytest.raises(ModelError, match=rf"language model transformers:{LM_FOLDER} with SHA-256 .* is another"):
        build(folder)
    (folder / LM_FOLDER).rename(folder / "moved")
    with pytest.raises(ModelError, match=rf"language model transformers:{LM_FOLDER}: .*-M lm="):
        build(folder)
    save_file(tensors, folder / "moved" / "model.safetensors", {"format": "pt"})
    assert build(folder, lm=f"transformers:{folder / 'moved'}").info.details["llm"] == "moved"


def test_an_encoder_that_is_no_file_is_to_be_named_as_a_model(folder: Path) -> None:
    edit(folder / "v2t.json", encoder={"name": "openclip:ViT-B-16", "sha256": "0" * 64})
    with pytest.raises(ModelError, match="encoder openclip:ViT-B-16, which does not ship with longvid"):
        build(folder)


@pytest.mark.parametrize("damage", ["missing", "foreign", "shape"])
def test_weights_that_do_not_fit_are_refused(folder: Path, damage: str) -> None:
    file = folder / "v2t.safetensors"
    tensors = load_file(file)
    if damage == "missing":
        del tensors["layers.1.gate"]
    elif damage == "foreign":
        tensors["lm.head"] = torch.zeros(1)
    else:
        tensors["layers.1.gate"] = torch.zeros(2)
    save_file(tensors, file)
    with pytest.raises(ModelError, match=r"v2t\.safetensors does not fit the model: 1 (missing|not of|of another)"):
        build(folder)


def test_an_absent_or_damaged_description_is_named(folder: Path) -> None:
    (folder / "v2t.json").write_text("{")
    with pytest.raises(ModelError, match=r"v2t\.json is not JSON"):
        build(folder)
    (folder / "v2t.json").write_text("{}")
    with pytest.raises(ModelError, match=r"v2t\.json: key 'config' is missing"):
        build(folder)
    (folder / "v2t.json").unlink()
    with pytest.raises(ModelError, match=r"no description beside it: expected v2t\.json"):
        build(folder)
    with pytest.raises(ModelError, match=r"no weights at .*other\.safetensors"):
        build(folder, weights=folder / "other.safetensors")
    with pytest.raises(ModelError, match=r"are \.safetensors files"):
        build(folder, weights=folder / "v2t.json")


def test_an_option_of_video_to_text_without_a_checkpoint_is_refused() -> None:
    with pytest.raises(ModelError, match="option 'beams' belongs to video-to-text: give v2t=FILE"):
        build_preset("shortvivit-tiny", PresetOptions(weights="random", beams=3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"route": "embedding-similarity"}, "does not answer by 'embedding-similarity'"),
        ({"beams": -1}, "decoding needs"),
        ({"min_tokens": 5, "max_tokens": 4}, "decoding needs"),
        ({"mask": 1.0}, "mask 1.0 is not a share"),
    ],
)
def test_options_that_can_not_be_followed_are_refused(folder: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(folder, **options)
