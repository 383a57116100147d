"""A small language model of our own: Llama's shape over a tokenizer of ours, in the folder that transformers reads."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from encoders.causal_lm.load import quiet
from encoders.causal_lm.weights import weight_files, weights_sha256
from encoders.config import LanguageShape
from encoders.tokens import TextTokenizer


def for_transformers(tokenizer: TextTokenizer) -> PreTrainedTokenizerBase:
    """A tokenizer of ours as transformers' own class, its start, end and padding tokens named."""
    start, end, pad = (tokenizer.tokenizer.id_to_token(i) for i in (tokenizer.start, tokenizer.end, tokenizer.pad))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # untyped library
        tokenizer_object=tokenizer.tokenizer,
        bos_token=start,
        eos_token=end,
        pad_token=pad,
        clean_up_tokenization_spaces=False,
    )


def build_language_model(shape: LanguageShape, tokenizer: TextTokenizer, *, seed: int = 0) -> LlamaForCausalLM:
    """A randomly initialised model, the same for the same seed; global random state is left alone."""
    config = LlamaConfig(
        vocab_size=tokenizer.size,
        hidden_size=shape.width,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.heads,
        intermediate_size=shape.mlp,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.start,
        eos_token_id=tokenizer.end,
        pad_token_id=tokenizer.pad,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def save_language_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> str:
    """Write a folder of weights in bfloat16, config and tokenizer, whole or not at all; the weights' digest."""
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    copy = LlamaForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    try:
        with quiet():
            copy.bfloat16().save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return weights_sha256(weight_files(folder))
