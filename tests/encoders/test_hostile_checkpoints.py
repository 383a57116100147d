"""Checkpoints that anybody may have made: whatever their files hold, one clear error, soon, and without memory."""

from __future__ import annotations

import json
import math
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file, save_file

from encoders.causal_lm.load import check_folder, read_folder, weight_files
from encoders.causal_lm.lora import read_description as read_lora
from encoders.config import VisionConfig
from encoders.pretrain.checkpoint import Progress, load_checkpoint
from encoders.shipped import SHIPPED
from encoders.v2t.weights import load_connector, read_description
from encoders.weights import load_encoder
from tasks.errors import ModelError

ENCODER, CONNECTOR, LORA, LM = "imagevit-tiny", "longvivit-tiny-v2t", "aggregator-oracle", "kitchen-lm"
SECONDS = 2.0
MEGABYTES = 300
HOSTILE: dict[str, Any] = {
    "null": None, "true": True, "zero": 0, "minus": -1, "one more": 129, "prime": 1009, "million": 10**6,
    "trillion": 10**12, "beyond": 10**30, "nan": math.nan, "infinity": math.inf, "tiny": 5e-324, "half": 0.5,
    "empty": "", "word": "zz", "surrogate": "\ud800", "path": "../../etc/passwd", "list": [], "numbers": [0, 0, 0],
    "table": {}, "nested": {"a": [[{}]]},
}  # fmt: skip
FEW = ("zero", "trillion", "nan", "word", "surrogate", "nested")


def copied(name: str, folder: Path) -> Path:
    for file in SHIPPED.glob(f"{name}.*"):
        shutil.copy(file, folder)
    return folder / f"{name}.safetensors"


def load_v2t(path: Path) -> None:
    load_connector(path, read_description(path))


def load_lm(folder: Path) -> None:
    read_folder(folder, name="lm", dtype="float32", device="cpu")


LOADERS: dict[str, Callable[[Path], object]] = {ENCODER: load_encoder, CONNECTOR: load_v2t, LORA: read_lora}


def fields(content: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value of a JSON text, tables and lists included."""
    if path:
        yield path
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in parts:
        yield from fields(value, (*path, key))


def mutated(content: Any, path: tuple[str | int, ...], value: object) -> Any:
    copy = json.loads(json.dumps(content))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


def assert_bounded(load: Callable[[Path], object], path: Path, what: str) -> str | None:
    """Load, or be refused in one line: the line. Anything else, much time or memory, fails."""
    before, started = resource.getrusage(resource.RUSAGE_SELF), perf_counter()
    line = None
    try:
        load(path)
    except ModelError as error:
        line = str(error)
        assert len(line) < 900, what
        assert str(path.parent) in line, f"{what}: {line}"
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert min(used, perf_counter() - started) < SECONDS, what
    assert (after.ru_maxrss - before.ru_maxrss) / 1024 < MEGABYTES, what
    return line


@pytest.fixture(scope="module", autouse=True)
def _loaded_before() -> None:
    """Imports and first calls take their time once, and it is not what is measured."""
    load_encoder(SHIPPED / f"{ENCODER}.safetensors")
    load_v2t(SHIPPED / f"{CONNECTOR}.safetensors")
    load_lm(SHIPPED / LM)


def cases(file: str) -> list[tuple[str | int, ...]]:
    return list(fields(json.loads((SHIPPED / file).read_text(encoding="utf-8"))))


def fuzz(file: Path, ways: list[tuple[str | int, ...]], values: Any, load: Callable[[], str | None]) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    for way in ways:
        for name in values:
            file.write_text(json.dumps(mutated(content, way, HOSTILE[name])), encoding="utf-8")
            load()
    file.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("name", LOADERS)
def test_any_field_of_a_config_may_hold_anything(name: str, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    ways = cases(f"{name}.json")
    fuzz(path.with_suffix(".json"), ways[::3], FEW, lambda: assert_bounded(LOADERS[name], path, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", LOADERS)
def test_every_field_of_a_config_may_hold_anything(name: str, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    fuzz(path.with_suffix(".json"), cases(f"{name}.json"), HOSTILE, lambda: assert_bounded(LOADERS[name], path, name))


def tokenizer_ways(file: str) -> list[tuple[str | int, ...]]:
    """Every field of a tokenizer but its thousands of words, of which there are a few."""
    ways = cases(file)
    words = [way for way in ways if way[:2] in (("model", "vocab"), ("model", "merges")) and len(way) > 2]
    return [way for way in ways if way not in set(words)] + words[:2] + words[-2:]


@pytest.mark.parametrize("values", [FEW[:1], pytest.param(tuple(HOSTILE), marks=pytest.mark.slow)])
def test_any_field_of_a_tokenizer_may_hold_anything(values: tuple[str, ...], tmp_path: Path) -> None:
    path = copied(ENCODER, tmp_path)
    ways = tokenizer_ways(f"{ENCODER}.tokenizer.json")
    fuzz(path.with_suffix(".tokenizer.json"), ways, values, lambda: assert_bounded(load_encoder, path, "tokenizer"))


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("values", [FEW[:1], pytest.param(tuple(HOSTILE), marks=pytest.mark.slow)])
def test_any_field_of_a_transformers_folder_may_hold_anything(
    file: str, values: tuple[str, ...], tmp_path: Path
) -> None:
    folder = tmp_path / LM
    shutil.copytree(SHIPPED / LM, folder)
    ways = cases(f"{LM}/{file}")
    fuzz(folder / file, ways, values, lambda: assert_bounded(load_lm, folder, file))


@pytest.mark.slow
def test_any_field_of_a_folders_tokenizer_may_hold_anything(tmp_path: Path) -> None:
    folder = tmp_path / LM
    shutil.copytree(SHIPPED / LM, folder)
    ways = tokenizer_ways(f"{LM}/tokenizer.json")
    fuzz(folder / "tokenizer.json", ways, HOSTILE, lambda: assert_bounded(load_lm, folder, "tokenizer.json"))


TEXTS = {
    "nested": b'{"vision":' + b"[" * 100_000,
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "empty": b"",
    "cut": b'{"name": "im',
    "a list": b"[]",
    "a number": b"1" * 5000,
    "twice": b'{"name": "a", "name": "b"}',
}


@pytest.mark.parametrize("what", TEXTS)
@pytest.mark.parametrize("ending", [".json", ".tokenizer.json"])
def test_text_that_is_no_config_is_named(what: str, ending: str, tmp_path: Path) -> None:
    path = copied(ENCODER, tmp_path)
    path.with_suffix(ending).write_bytes(TEXTS[what])
    line = assert_bounded(load_encoder, path, what)
    assert line is not None
    assert path.with_suffix(ending).name in line


@pytest.mark.parametrize("what", [what for what in TEXTS if what != "twice"])
@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_a_folders_text_that_is_no_config_is_named(what: str, file: str, tmp_path: Path) -> None:
    folder = tmp_path / LM
    shutil.copytree(SHIPPED / LM, folder)
    (folder / file).write_bytes(TEXTS[what])
    assert assert_bounded(load_lm, folder, what) is not None


def test_a_config_after_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = copied(ENCODER, tmp_path)
    beside = path.with_suffix(".json")
    beside.write_bytes(b"\xef\xbb\xbf" + beside.read_bytes())
    assert load_encoder(path).encoder.config.name == ENCODER


@pytest.mark.parametrize("name", [ENCODER, CONNECTOR])
@pytest.mark.parametrize("cut", [0, 4, 8, 100, 2000, -1])
def test_cut_weights_are_named(name: str, cut: int, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    line = assert_bounded(LOADERS[name], path, "cut")
    assert line is not None
    assert path.name in line


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**63, 2**64 - 1])
def test_a_header_of_any_claimed_length_is_named(length: int, tmp_path: Path) -> None:
    path = copied(ENCODER, tmp_path)
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    assert assert_bounded(load_encoder, path, "header") is not None


@pytest.mark.parametrize("at", range(8, 400, 23))
def test_a_header_with_other_bytes_is_named_or_read(at: int, tmp_path: Path) -> None:
    path = copied(ENCODER, tmp_path)
    whole = bytearray(path.read_bytes())
    whole[at] ^= 0x1F
    path.write_bytes(bytes(whole))
    assert_bounded(load_encoder, path, "header")


def change(tensors: dict[str, torch.Tensor], how: str) -> str:
    name = next(key for key in sorted(tensors) if tensors[key].ndim == 2)
    if how == "missing":
        del tensors[name]
    elif how == "extra":
        name = "zz.weight"
        tensors[name] = torch.zeros(2)
    elif how == "shape":
        tensors[name] = tensors[name][:-1].contiguous()
    elif how == "integers":
        tensors[name] = tensors[name].to(torch.int64)
    else:
        tensors[name][0, 0] = math.nan if how == "nan" else -math.inf
    return name


HOWS = ("missing", "extra", "shape", "integers", "nan", "infinity")


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", [ENCODER, CONNECTOR])
def test_weights_that_do_not_fit_are_named_by_tensor(name: str, how: str, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    tensors = load_file(path)
    changed = change(tensors, how)
    save_file(tensors, path)
    line = assert_bounded(LOADERS[name], path, how)
    assert line is not None
    assert path.name in line
    assert changed in line


@pytest.mark.parametrize("how", [how for how in HOWS if how != "integers"])
def test_a_folders_weights_that_do_not_fit_are_named_by_tensor(how: str, tmp_path: Path) -> None:
    folder = tmp_path / LM
    shutil.copytree(SHIPPED / LM, folder)
    tensors = load_file(folder / "model.safetensors")
    changed = change(tensors, how)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    line = assert_bounded(load_lm, folder, how)
    assert line is not None
    assert changed in line or "config.json asks for" in line


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_hidden_layers", 2), ("num_hidden_layers", 5), ("num_hidden_layers", 10**6), ("vocab_size", 10**12),
        ("num_attention_heads", 0), ("hidden_size", -128), ("head_dim", 10**9), ("rms_norm_eps", math.nan),
        ("num_key_value_heads", 2), ("max_position_embeddings", 0), ("attention_bias", True),
        ("quantization_config", {"quant_method": "zz"}),
    ],
)  # fmt: skip
def test_a_folder_whose_config_does_not_fit_its_weights_is_refused(field: str, value: object, tmp_path: Path) -> None:
    folder = tmp_path / LM
    shutil.copytree(SHIPPED / LM, folder)
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if field == "quantization_config":
        content["vocab_size"] = 10**9
    (folder / "config.json").write_text(json.dumps({**content, field: value}), encoding="utf-8")
    assert assert_bounded(load_lm, folder, field) is not None


def test_a_tokenizers_id_past_the_vocabulary_is_refused(tmp_path: Path) -> None:
    path = copied(ENCODER, tmp_path)
    file = path.with_suffix(".tokenizer.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    word = max(content["model"]["vocab"], key=content["model"]["vocab"].get)
    content["model"]["vocab"][word] = 5_000_000
    file.write_text(json.dumps(content), encoding="utf-8")
    line = assert_bounded(load_encoder, path, "id")
    assert line is not None
    assert "past the text tower's" in line

    folder = tmp_path / LM
    shutil.copytree(SHIPPED / LM, folder)
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"][max(content["model"]["vocab"], key=content["model"]["vocab"].get)] = 5_000_000
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    line = assert_bounded(load_lm, folder, "id")
    assert line is not None
    assert "with the id 5000000" in line


def test_a_tokenizer_that_cuts_or_pads_by_itself_does_neither_here(tmp_path: Path) -> None:
    path = copied(ENCODER, tmp_path)
    file = path.with_suffix(".tokenizer.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    content["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 200}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "[PAD]",
    }  # fmt: skip
    plain = load_encoder(path).tokenizer.batch(["C cuts an onion on the wooden board"], 64).ids
    file.write_text(json.dumps(content), encoding="utf-8")
    assert load_encoder(path).tokenizer.batch(["C cuts an onion on the wooden board"], 64).ids.equal(plain)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 64, b"PK\x03\x04" * 30, b"\0" * 4096])
def test_a_gguf_file_that_is_none_is_named(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGVID_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    from encoders.causal_lm.load import read_gguf

    line = assert_bounded(lambda file: read_gguf(file, name="x", device="cpu"), path, "gguf")
    assert line is not None
    assert path.name in line


@pytest.mark.parametrize("state", ["{}", '{"step": -1}', '{"step": "x"}', '{"steps": 1}', "[]", "[" * 100_000, "x"])
def test_a_training_checkpoints_state_is_read_like_any_config(state: str, tmp_path: Path) -> None:
    last = tmp_path / "checkpoints" / "00000001"
    last.mkdir(parents=True)
    (last / "state.json").write_text(state, encoding="utf-8")
    with pytest.raises(ModelError, match=str(last)):
        load_checkpoint(tmp_path, torch.nn.Linear(2, 2), torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]))


def test_counts_of_a_training_checkpoint_are_bounded() -> None:
    assert Progress(step=3).step == 3
    with pytest.raises(ModelError, match="step is -3"):
        Progress(step=-3)


@pytest.mark.parametrize("field", ["width", "depth", "heads", "mlp", "size", "patch", "tubelet", "frames"])
@pytest.mark.parametrize("value", [0, -1, 10**12, math.nan])
def test_a_tower_of_impossible_size_cannot_be_described(field: str, value: Any) -> None:
    sizes: dict[str, Any] = {"width": 64, "depth": 2, "heads": 2, "mlp": 128, field: value}
    with pytest.raises(ModelError, match=f"{field} is "):
        VisionConfig(**sizes)


def test_shipped_checkpoints_pass_every_check() -> None:
    for file in sorted(SHIPPED.glob("*vit-tiny.safetensors")):
        loaded = load_encoder(file)
        stored = load_file(file)
        assert all(tensor.equal(stored[name]) for name, tensor in loaded.encoder.state_dict().items())
    check_folder(SHIPPED / LM, weight_files(SHIPPED / LM))
