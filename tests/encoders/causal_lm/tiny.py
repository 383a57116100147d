"""Language models small enough to test exactly: random weights, one token per byte."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

END = "<|end|>"
VOCABULARY = 257
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": VOCABULARY - 1,
    "initializer_range": 0.3,  # at the customary 0.02 it repeats one token whatever it sees
}


def llama() -> PreTrainedModel:
    torch.manual_seed(3)
    return LlamaForCausalLM(LlamaConfig(**SIZES)).eval()


def gpt2() -> PreTrainedModel:
    torch.manual_seed(5)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=32,
            n_layer=3,
            n_head=4,
            n_positions=256,
            bos_token_id=None,
            eos_token_id=VOCABULARY - 1,
            initializer_range=0.3,
        )
    ).eval()


def qwen2() -> PreTrainedModel:
    torch.manual_seed(6)
    return Qwen2ForCausalLM(Qwen2Config(**SIZES)).eval()


def qwen3() -> PreTrainedModel:
    torch.manual_seed(7)
    return Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8)).eval()


LMS = {"llama": llama, "gpt2": gpt2, "qwen2": qwen2, "qwen3": qwen3}


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and an end token; no start token and no chat template.

    Decoding is one to one, which bytes to text is not: a blank comes back as Ġ.
    """
    vocab = {byte: index for index, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END)
