"""A causal language model by its spec; reading folders, GGUF files and hub names is tested with the baselines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from encoders.causal_lm.load import eos_ids, read_named
from encoders.causal_lm.scoring import Float32Head, split_tokens, use_float32_head
from tasks.digests import file_sha256
from tasks.errors import ModelError
from tests.encoders.causal_lm.tiny import END, llama
from tests.encoders.v2t.files import LM_FOLDER, write_lm


def test_a_spec_gives_model_tokenizer_name_and_digest(tmp_path: Path) -> None:
    lm = read_named(write_lm(tmp_path), dtype="float32", device="cpu")
    assert (lm.name, lm.digest) == (LM_FOLDER, file_sha256(tmp_path / LM_FOLDER / "model.safetensors"))
    assert not lm.model.training
    assert all(torch.equal(a, b) for a, b in zip(lm.model.parameters(), llama().parameters(), strict=True))
    assert eos_ids(lm.model, lm.tokenizer) == {lm.tokenizer.convert_tokens_to_ids(END)}


@pytest.mark.parametrize("spec", ["vllm:x", "smollm2:x", "transformers:", "transformers"])
def test_a_spec_of_no_model_that_can_look_is_refused_with_those_that_can(spec: str) -> None:
    with pytest.raises(
        ModelError,
        match=f"'{spec}' is not a language model .*: use smollm2 or transformers:NAME_OR_PATH",
    ):
        read_named(spec)


def test_a_float32_head_gives_float32_logits_of_a_bfloat16_model() -> None:
    model = llama().bfloat16()
    ids = torch.arange(5)[None]
    assert model(ids).logits.dtype == torch.bfloat16
    use_float32_head(model)
    assert isinstance(model.get_output_embeddings(), Float32Head)
    assert model(ids).logits.dtype == torch.float32


def test_a_continuation_that_merges_with_its_prompt_is_refused_by_item() -> None:
    def merging(text: str) -> list[int]:
        return [99] if text == "ab" else [ord(letter) for letter in text]

    assert split_tokens(merging, "a", ["c"], "q").continuations == ((ord("c"),),)
    with pytest.raises(ModelError, match=r"q: continuation 0 \('b'\) merges with the end of the prompt"):
        split_tokens(merging, "a", ["b"], "q")
    with pytest.raises(ModelError, match="q has no continuation"):
        split_tokens(merging, "a", [], "q")
