import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from encoders.config import AdaptConfig
from encoders.dual import adapt_encoder
from encoders.tokens import byte_tokenizer, train_tokenizer
from encoders.weights import load_encoder, read_tensors, save_encoder, save_tensors
from tasks.errors import ModelError
from tests.encoders.small import encoder, stir, videos


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "small.safetensors"
    save_encoder(encoder(), byte_tokenizer(), path)
    return path


@pytest.mark.parametrize("method", ["full", "adapters", "lora"])
def test_an_encoder_survives_saving_with_whatever_was_added_to_it(tmp_path, method):
    model = adapt_encoder(encoder(), AdaptConfig(method))
    stir(model)
    path = tmp_path / "deep" / "small.safetensors"
    digest = save_encoder(model, byte_tokenizer(), path)
    loaded = load_encoder(path)
    assert loaded.digest == digest
    assert loaded.encoder.config == model.config
    assert torch.equal(loaded.encoder.embed_video(videos()), model.embed_video(videos()))


def test_saving_the_same_weights_twice_gives_the_same_digest(tmp_path):
    digests = {save_encoder(encoder(), byte_tokenizer(), tmp_path / f"{n}.safetensors") for n in "ab"}
    assert len(digests) == 1


def test_a_missing_file_is_named(tmp_path, saved):
    with pytest.raises(ModelError, match=r"no weights at .*none\.safetensors"):
        load_encoder(tmp_path / "none.safetensors")
    saved.with_suffix(".tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer at .*small\.tokenizer\.json"):
        load_encoder(saved)
    saved.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r"expected small\.json"):
        load_encoder(saved)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_cut_file_is_refused_at_any_length(saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match=r"small\.safetensors is cut short"):
        load_encoder(saved)


def test_a_pickle_is_refused_and_never_run(tmp_path, saved):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    (tmp_path / "w.pt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelError, match=r"\.safetensors"):
        load_encoder(tmp_path / "w.pt")
    saved.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_encoder(saved)


def test_what_is_missing_foreign_or_misshapen_is_named(saved):
    tensors = load_file(saved)
    del tensors["log_scale"]
    tensors["head.weight"] = torch.zeros(3)
    tensors["vision_proj.weight"] = torch.zeros(24, 47)
    save_file(tensors, saved)
    with pytest.raises(ModelError) as refused:
        load_encoder(saved)
    message = str(refused.value)
    assert "\n" not in message
    assert "1 missing: log_scale" in message
    assert "1 not of this model: head.weight" in message
    assert "vision_proj.weight (24, 47) instead of (24, 48)" in message


def test_weights_of_another_model_list_a_few_names_and_count_the_rest(saved):
    save_file({f"layer{i}": torch.zeros(1) for i in range(10)}, saved)
    with pytest.raises(ModelError, match=r"10 not of this model: layer0, layer1, layer2 and 7 more"):
        load_encoder(saved)


def test_a_config_of_another_width_is_refused(saved):
    config = saved.with_suffix(".json")
    data = json.loads(config.read_text())
    data["vision"]["mlp"] = 64
    config.write_text(json.dumps(data))
    with pytest.raises(ModelError, match="of another shape"):
        load_encoder(saved)


def test_a_tokenizer_larger_than_the_text_tower_is_refused(tmp_path):
    many = train_tokenizer([f"word{n}" for n in range(400)], 400)
    with pytest.raises(ModelError, match="too many"):
        save_encoder(encoder(), many, tmp_path / "x.safetensors")


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "w.safetensors"
    save_tensors({"a": torch.ones(2)}, path)
    with pytest.raises(AttributeError):
        save_tensors({"a": "not a tensor"}, path)
    assert torch.equal(read_tensors(path)["a"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_saving_elsewhere_than_safetensors_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"\.safetensors"):
        save_encoder(encoder(), byte_tokenizer(), tmp_path / "w.bin")
