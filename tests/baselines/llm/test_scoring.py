from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from baselines.llm.local import TransformersLanguageModel, encode, render
from baselines.llm.protocol import Chat
from encoders.causal_lm.scoring import Float32Head
from tasks.errors import ModelError
from tests.baselines.llm.conftest import CHATS, OPTIONS, byte_tokenizer, tiny_llm

VOCAB = 264


def llama(**changes: object) -> PreTrainedModel:
    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=VOCAB, num_key_value_heads=2, max_position_embeddings=256, **sizes | changes)
    return LlamaForCausalLM(config)


def mistral_with_window() -> PreTrainedModel:
    torch.manual_seed(4)
    config = MistralConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        sliding_window=16,
    )
    return MistralForCausalLM(config)


def gpt2() -> PreTrainedModel:
    torch.manual_seed(5)
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=256))


def eager_llama() -> PreTrainedModel:
    model = llama()
    model.set_attn_implementation("eager")
    return model


@pytest.fixture(scope="module")
def tiny() -> TransformersLanguageModel:
    return tiny_llm(llama())


@pytest.mark.parametrize("build", [llama, eager_llama, mistral_with_window, gpt2])
def test_scoring_from_the_cache_equals_scoring_from_scratch(build) -> None:
    llm = tiny_llm(build())
    for cached, scratch in zip(llm.score(CHATS, OPTIONS), llm.score_from_scratch(CHATS, OPTIONS), strict=True):
        assert cached.tokens == scratch.tokens
        assert cached.logprobs == pytest.approx(scratch.logprobs, abs=2e-4)


def test_logprobs_equal_a_hand_computation_with_a_plain_forward() -> None:
    model = llama()
    llm, tokenizer = tiny_llm(model), byte_tokenizer()
    scores = llm.score(CHATS, OPTIONS)
    for chat, options, score in zip(CHATS, OPTIONS, scores, strict=True):
        text = render(tokenizer, chat)
        start = len(encode(tokenizer, text))
        for option, logprob, count in zip(options, score.logprobs, score.tokens, strict=True):
            ids = encode(tokenizer, text + option)
            with torch.no_grad():
                table = torch.log_softmax(model(torch.tensor([ids])).logits[0], dim=-1)
            by_hand = sum(float(table[at - 1, ids[at]]) for at in range(start, len(ids)))
            assert count == len(ids) - start
            assert logprob == pytest.approx(by_hand, abs=2e-4)


def test_a_batch_of_chats_scores_exactly_as_each_alone(tiny) -> None:
    alone = [tiny.score([chat], [options])[0] for chat, options in zip(CHATS, OPTIONS, strict=True)]
    assert tiny.score(CHATS, OPTIONS) == alone
    assert tiny.score(CHATS[::-1], OPTIONS[::-1]) == alone[::-1]


def test_one_token_continuations_need_one_forward_pass_and_longer_ones_two() -> None:
    model = llama()
    llm = tiny_llm(model)
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    llm.score(CHATS[:1], [["A", "B", "C"]])
    assert len(passes) == 1
    llm.score(CHATS[:1], [["A", "BB"]])
    assert len(passes) == 3


def test_only_the_prompts_last_position_meets_the_vocabulary() -> None:
    model = llama()
    rows = []
    model.lm_head.register_forward_hook(lambda _m, _i, out: rows.append(out.shape[1]))
    tiny_llm(model).score(CHATS[:1], [["ABC", "DE"]])
    assert rows == [1, 3]  # then the continuations' own, each without its last token


def test_usage_counts_the_prompt_once_from_the_cache_and_per_option_from_scratch(tiny) -> None:
    cached, scratch = (
        tiny.score(CHATS[:1], OPTIONS[:1])[0],
        tiny.score_from_scratch(CHATS[:1], OPTIONS[:1])[0],
    )
    prompt = tiny.count_tokens(CHATS[0])
    assert (cached.usage.prompt, cached.usage.completion) == (prompt, sum(cached.tokens))
    assert scratch.usage.prompt == 5 * prompt


def test_an_empty_continuation_is_refused_by_name(tiny) -> None:
    with pytest.raises(ModelError, match=r"chat 1 .*continuation 1 is empty"):
        tiny.score(CHATS[:2], [["a"], ["b", ""]])


def test_a_chat_without_continuations_is_refused(tiny) -> None:
    with pytest.raises(ModelError, match="no continuation"):
        tiny.score(CHATS[:1], [[]])


def test_a_continuation_that_merges_with_the_prompts_end_is_refused(tiny) -> None:
    chat = Chat("Which?", reply_start="It is a")
    with pytest.raises(ModelError, match="merges with the end of the prompt"):
        tiny.score([chat], [["nd"]])
    tiny.score([chat], [[" cat"]])


def test_a_prompt_too_long_for_its_continuation_is_refused_with_the_counts(tiny) -> None:
    room = 256 - tiny.count_tokens(Chat(""))
    tiny.score([Chat("x" * (room - 2))], [["ab"]])
    with pytest.raises(ModelError, match=r"254 tokens and 3 .* make 257, more than the context of 256"):
        tiny.score([Chat("x" * (room - 2))], [["ab", "abc"]])


def test_a_model_that_gives_nan_is_an_error_and_never_an_answer() -> None:
    model = llama()
    model.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        tiny_llm(model).score(CHATS[:1], OPTIONS[:1])


def test_the_float32_head_separates_logits_that_bfloat16_rounds_together() -> None:
    head = torch.nn.Linear(2, 2, bias=False, dtype=torch.bfloat16)
    head.weight.data = torch.tensor([[20.0, 0.0], [20.0, 0.03125]], dtype=torch.bfloat16)
    hidden = torch.ones(1, 2, dtype=torch.bfloat16)
    assert head(hidden)[0, 0] == head(hidden)[0, 1]
    fine = Float32Head(head)(hidden)
    assert fine.dtype == torch.float32
    assert float(fine[0, 1] - fine[0, 0]) == pytest.approx(0.03125)
