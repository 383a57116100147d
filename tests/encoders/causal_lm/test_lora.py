"""LoRA adapters on a language model: they change nothing at first, and load strictly or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import torch
from torch import Tensor

from encoders.causal_lm.load import CausalLM
from encoders.causal_lm.lora import LoraShape, add_lora, load_lora, lora_parameters, save_lora
from encoders.weights import read_tensors, save_tensors
from tasks.errors import ModelError
from tests.encoders.causal_lm.tiny import byte_tokenizer, gpt2, llama

SHAPE = LoraShape(rank=2, alpha=4)
IDS = torch.tensor([[5, 6, 7, 8]])


def tiny(digest: str = "d" * 64) -> CausalLM:
    return CausalLM(llama(), byte_tokenizer(), "tiny", digest)


def logits(lm: CausalLM) -> Tensor:
    with torch.no_grad():
        return lm.model(IDS).logits


@pytest.fixture
def trained(tmp_path: Path) -> tuple[CausalLM, Path]:
    """A language model with an adapter that does something, and its file."""
    lm = tiny()
    add_lora(lm.model, SHAPE)
    with torch.no_grad():
        for parameter in lora_parameters(lm.model).values():
            parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(parameter.numel()))
    save_lora(lm, SHAPE, tmp_path / "adapter.safetensors")
    return lm, tmp_path / "adapter.safetensors"


def test_a_fresh_adapter_changes_nothing_and_trains_alone() -> None:
    lm, plain = tiny(), tiny()
    add_lora(lm.model, SHAPE)
    torch.testing.assert_close(logits(lm), logits(plain), atol=0, rtol=0)
    assert {id(p) for p in lm.model.parameters() if p.requires_grad} == {
        id(p) for p in lora_parameters(lm.model).values()
    }


def test_an_adapter_trains_in_float32_on_a_bfloat16_model() -> None:
    lm = tiny()
    lm.model.bfloat16()
    add_lora(lm.model, SHAPE)
    assert {p.dtype for p in lora_parameters(lm.model).values()} == {torch.float32}


def test_the_same_seed_gives_the_same_adapter() -> None:
    first, second = tiny(), tiny()
    for lm in (first, second):
        add_lora(lm.model, SHAPE, seed=3)
    for a, b in zip(lora_parameters(first.model).values(), lora_parameters(second.model).values(), strict=True):
        assert torch.equal(a, b)


def test_what_was_saved_is_what_loads(trained: tuple[CausalLM, Path]) -> None:
    lm, path = trained
    again = tiny()
    assert not torch.allclose(logits(again), logits(lm))
    load_lora(again, path)
    torch.testing.assert_close(logits(again), logits(lm), atol=0, rtol=0)
    assert not any(p.requires_grad for p in again.model.parameters())


def test_the_file_holds_the_adapter_alone(trained: tuple[CausalLM, Path]) -> None:
    lm, path = trained
    assert set(read_tensors(path)) == set(lora_parameters(lm.model))
    assert path.stat().st_size < 4 * sum(p.numel() for p in lora_parameters(lm.model).values()) + 10_000


def test_another_language_model_is_refused(trained: tuple[CausalLM, Path]) -> None:
    with pytest.raises(ModelError, match="was trained on the language model tiny with SHA-256 dddd"):
        load_lora(tiny("e" * 64), trained[1])


@pytest.mark.parametrize(
    ("damage", "words"), [("missing", "1 missing"), ("extra", "1 not of this model"), ("shape", "1 of another shape")]
)
def test_other_tensors_are_refused(trained: tuple[CausalLM, Path], damage: str, words: str) -> None:
    path = trained[1]
    tensors = read_tensors(path)
    name = next(iter(tensors))
    if damage == "missing":
        del tensors[name]
    elif damage == "extra":
        tensors["more"] = torch.zeros(1)
    else:
        tensors[name] = tensors[name][:1]
    save_tensors(tensors, path)
    with pytest.raises(ModelError, match=words):
        load_lora(tiny(), path)


def test_a_missing_description_is_named(trained: tuple[CausalLM, Path]) -> None:
    trained[1].with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r"there is no .*adapter\.json"):
        load_lora(tiny(), trained[1])


def test_an_unknown_key_of_the_description_is_named(trained: tuple[CausalLM, Path]) -> None:
    beside = trained[1].with_suffix(".json")
    beside.write_text(json.dumps({**json.loads(beside.read_text()), "more": 1}))
    with pytest.raises(ModelError, match="unknown key 'more'"):
        load_lora(tiny(), trained[1])


def test_a_model_without_the_layers_is_refused() -> None:
    with pytest.raises(ModelError, match="no layers q_proj"):
        add_lora(gpt2(), SHAPE)
