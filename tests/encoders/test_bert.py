"""Our BERT beside transformers': the same names, and the same bits wherever a run or a training could differ."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from encoders.bert import Bert
from encoders.config import TextConfig
from encoders.shipped import shipped
from encoders.tokens import FEW, byte_tokenizer

CONFIG = TextConfig(width=64, depth=2, heads=4, mlp=128, vocabulary=200, context=32, eps=1e-12)


def theirs() -> torch.nn.Module:
    """The model that transformers builds for the same shape."""
    from transformers import BertConfig, BertModel

    shape = BertConfig(
        vocab_size=CONFIG.vocabulary, hidden_size=CONFIG.width, num_hidden_layers=CONFIG.depth,
        num_attention_heads=CONFIG.heads, intermediate_size=CONFIG.mlp, max_position_embeddings=CONFIG.context,
        hidden_act="gelu", layer_norm_eps=CONFIG.eps, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return BertModel(shape, add_pooling_layer=False)


def drawn(build: type[Bert] | None = None) -> tuple[torch.nn.Module, Tensor]:
    """A model from seed 3, and what the generator draws next."""
    torch.manual_seed(3)
    return theirs() if build is None else build(CONFIG), torch.rand(1)


def test_weights_have_the_same_names_and_a_seed_draws_the_same_ones() -> None:
    (other, after_other), (own, after_own) = drawn(), drawn(Bert)
    assert list(own.state_dict()) == list(other.state_dict())
    assert all(torch.equal(*pair) for pair in zip(own.state_dict().values(), other.state_dict().values(), strict=True))
    assert torch.equal(after_own, after_other)


@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
@pytest.mark.parametrize("plain", [False, True], ids=["sdpa", "plain"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_outputs_and_gradients_are_the_same_bits(dtype: torch.dtype, *, plain: bool, padded: bool) -> None:
    (other, _), (own, _) = drawn(), drawn(Bert)
    assert isinstance(own, Bert)
    if plain:
        own.use_plain_attention()
    other.set_attn_implementation("eager" if plain else "sdpa")  # type: ignore[operator]
    ids, mask = torch.randint(1, CONFIG.vocabulary, (5, 17)), torch.ones(5, 17, dtype=torch.bool)
    if padded:
        mask[1, 9:] = mask[3, 4:] = False
    weights = torch.randn(5, 17, CONFIG.width)
    ours = own.to(dtype)(ids, mask)
    known = other.to(dtype)(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    assert torch.equal(ours, known)
    for out in (ours, known):
        (out * weights.to(dtype)).sum().backward()
    gradients = [(a.grad, b.grad) for a, b in zip(own.parameters(), other.parameters(), strict=True)]
    assert all(a is not None and b is not None and torch.equal(a, b) for a, b in gradients)


def test_loading_an_encoder_imports_neither_transformers_nor_torch_s_compiler() -> None:
    late = ("transformers", "torch._dynamo", "sympy")
    code = (
        "import sys; from encoders.weights import load_encoder; load_encoder(sys.argv[1]); "
        f"print([name for name in {late!r} if name in sys.modules])"
    )
    weights = str(shipped("shortvivit-tiny"))
    done = subprocess.run([sys.executable, "-c", code, weights], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_few_texts_and_many_have_the_same_tokens() -> None:
    tokenizer = byte_tokenizer()
    texts = [f"chop the onion {n}" for n in range(FEW)]
    together = tokenizer.batch(texts, 32).ids
    assert torch.equal(together[: FEW - 1], tokenizer.batch(texts[:-1], 32, length=together.shape[1]).ids)
