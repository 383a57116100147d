"""SmolLM2 itself on real EgoSchema questions."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import AutoModelForCausalLM

from baselines.llm.local import TransformersLanguageModel, encode, render
from baselines.llm.protocol import Chat
from encoders.causal_lm.load import dense_folder
from encoders.causal_lm.smollm2 import find_smollm2
from lab.bench.aggregate import EACH_OPTION, bench_aggregate
from tasks.digests import file_sha256

LETTERS = tuple(f" {letter}" for letter in "ABCDE")


def questions(shared_data, count: int, seconds: int) -> tuple[list[Chat], list[Sequence[str]]]:
    """Real questions behind `seconds` real captions each, and their five options."""
    by_id = {q["q_uid"]: q for q in json.loads((shared_data / "egoschema/questions.json").read_text())}
    captions = json.loads((shared_data / "captions/egoschema_lavila_1s.json").read_text())
    chats, options = [], []
    for uid in sorted(captions)[:count]:
        question = by_id[uid]
        listed = "\n".join(captions[uid][:seconds])
        chats.append(Chat(f"Captions:\n{listed}\n\nQuestion: {question['question']}", reply_start="Answer:"))
        options.append([f" {question[f'option {number}']}" for number in range(5)])
    return chats, options


def best(scores) -> list[int]:
    return [score.means.index(max(score.means)) for score in scores]


@pytest.mark.slow
def test_cached_scores_of_real_questions_match_scoring_from_scratch(smollm2, shared_data) -> None:
    chats, options = questions(shared_data, count=2, seconds=4)
    cached, scratch = smollm2.score(chats, options), smollm2.score_from_scratch(chats, options)
    assert best(cached) == best(scratch)
    for one, other in zip(cached, scratch, strict=True):
        assert one.tokens == other.tokens
        assert one.means == pytest.approx(other.means, abs=0.1)  # bfloat16 carries 8 bits


def test_letters_are_one_token_each_and_do_not_tie(smollm2, shared_data) -> None:
    chats, _ = questions(shared_data, count=4, seconds=2)
    for score in smollm2.score(chats, [LETTERS] * len(chats)):
        assert score.tokens == (1,) * 5
        assert len(set(score.logprobs)) == 5


def test_options_can_follow_the_chat_template_directly_with_or_without_a_blank(smollm2) -> None:
    scores = smollm2.score([Chat("What does C do?")], [["C cooks.", " C cooks."]])[0]
    assert scores.tokens[0] >= 2
    assert scores.logprobs[0] != scores.logprobs[1]


def test_a_greedy_reply_equals_plain_generation_by_the_library(smollm2, shared_data) -> None:
    chat = questions(shared_data, count=1, seconds=2)[0][0]
    tokenizer = smollm2._tokenizer
    gguf = find_smollm2()
    plain = AutoModelForCausalLM.from_pretrained(
        dense_folder(gguf, file_sha256(gguf), torch.bfloat16), dtype=torch.bfloat16
    ).to(smollm2._model.device)
    ids = torch.tensor([encode(tokenizer, render(tokenizer, chat))], device=plain.device)
    whole = plain.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
    expected = tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)
    assert smollm2.generate([chat], 12)[0].text == expected


@pytest.mark.slow
def test_the_shared_cache_is_three_times_faster_with_the_same_choices(
    smollm2: TransformersLanguageModel, shared_data
) -> None:
    chats, options = questions(shared_data, count=3, seconds=180)
    compared = bench_aggregate(smollm2, chats, options, 1, lambda _note: None).comparisons[0]
    assert compared.facts["prompt_tokens"] / len(chats) > 1200
    assert compared.row(EACH_OPTION).facts["same_choices"] == len(chats)
    assert compared.row(EACH_OPTION).cpu_ratio >= 3
