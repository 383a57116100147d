from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import GenerationConfig

from baselines.llm.local import encode, render
from baselines.llm.protocol import Chat
from tasks.errors import ModelError
from tests.baselines.llm.conftest import CHATS, byte_tokenizer, tiny_llm
from tests.baselines.llm.test_scoring import llama


def greedy_by_hand(model, ids: list[int], steps: int, eos: int) -> list[int]:
    reply: list[int] = []
    while len(reply) < steps and eos not in reply:
        with torch.no_grad():
            reply.append(int(model(torch.tensor([ids + reply])).logits[0, -1].argmax()))
    return reply


def test_replies_equal_a_hand_written_greedy_loop() -> None:
    model, tokenizer = llama(), byte_tokenizer()
    llm = tiny_llm(model)
    for chat, reply in zip(CHATS, llm.generate(CHATS, 12), strict=True):
        ids = encode(tokenizer, render(tokenizer, chat))
        expected = greedy_by_hand(model, ids, 12, tokenizer.eos_token_id)
        assert reply.text == tokenizer.decode(expected, skip_special_tokens=True)
        assert (reply.usage.prompt, reply.usage.completion) == (len(ids), len(expected))
        assert reply.finished == (expected[-1] == tokenizer.eos_token_id)


def test_published_sampling_settings_and_penalties_do_not_reach_greedy_replies() -> None:
    plain, penalised = llama(), llama()
    penalised.generation_config = GenerationConfig(do_sample=True, temperature=5.0, repetition_penalty=9.0)
    assert tiny_llm(penalised).generate(CHATS, 8) == tiny_llm(plain).generate(CHATS, 8)


def test_a_reply_that_ends_itself_is_finished_and_one_cut_by_the_limit_is_not() -> None:
    model, eos = llama(), byte_tokenizer().eos_token_id
    cut = tiny_llm(model).generate(CHATS[:1], 4)[0]
    assert (cut.finished, cut.usage.completion) == (False, 4)
    model.lm_head.bias = torch.nn.Parameter(torch.nn.functional.one_hot(torch.tensor(eos), 264) * 1e4)
    ended = tiny_llm(model).generate(CHATS[:1], 4)[0]
    assert (ended.finished, ended.usage.completion, ended.text) == (True, 1, "")


def test_a_prompt_that_leaves_no_room_for_the_reply_is_refused_with_the_counts() -> None:
    llm = tiny_llm(llama(), context=40)
    chat = Chat("x" * 30)
    prompt = llm.count_tokens(chat)
    llm.generate([chat], 40 - prompt)
    with pytest.raises(ModelError, match=f"{prompt} tokens and {41 - prompt} for the reply make 41"):
        llm.generate([chat], 41 - prompt)


def test_a_reply_of_no_tokens_is_refused() -> None:
    with pytest.raises(ModelError, match="max_tokens"):
        tiny_llm(llama()).generate(CHATS[:1], 0)


def test_a_model_without_a_chat_template_gets_the_plain_format() -> None:
    tokenizer = byte_tokenizer(template=None)
    assert render(tokenizer, Chat("U", system="S", reply_start="R")) == "S\n\nU\n\nR"
    assert render(tokenizer, Chat("U")) == "U\n\n"
