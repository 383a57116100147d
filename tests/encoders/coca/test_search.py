"""CoCa's decode loop: open_clip's own figures and captions, without reading anything twice."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from encoders.coca.decoder import CocaDecoder
from encoders.coca.search import SearchRule, search
from tasks.errors import ModelError
from tests.encoders.coca.small import CONFIG, CONTEXT, END, PAD, START, VOCABULARY, images, small_coca

GOLDEN = json.loads((Path(__file__).parent / "greedy_golden.json").read_text(encoding="utf-8"))
RULE = SearchRule(START, END, PAD, min_length=1, max_length=16)


def image_tokens(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.visual(pixels)[1]


def logprob_of(model: Any, pixels: torch.Tensor, tokens: list[int]) -> float:
    """The likelihood of the tokens after the first by open_clip's own forward pass."""
    with torch.inference_mode():
        text = torch.tensor([tokens])
        logits = model(pixels, text[:, :-1], output_labels=False)["logits"].log_softmax(-1)
        return float(logits[0].gather(1, text[0, 1:, None]).sum())


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['seed']}-{case['min_seq_len']}")
def test_greedy_captions_are_those_of_open_clip(case: dict[str, Any]) -> None:
    model = small_coca(case["seed"])
    rule = SearchRule(START, END, PAD, min_length=case["min_seq_len"], max_length=GOLDEN["seq_len"])
    captions = search(CocaDecoder(model), image_tokens(model, images(6, case["seed"])), rule)
    for caption, published in zip(captions, case["tokens"], strict=True):
        ends = [i for i, token in enumerate(published) if i and token in {END, PAD}]
        assert list(caption.tokens) == published[1 : ends[0]]
        assert caption.finished == (len(caption.tokens) + 2 < GOLDEN["seq_len"])


def test_cached_steps_give_the_logits_of_the_whole_forward_pass() -> None:
    model = small_coca(3)
    decoder = CocaDecoder(model)
    pixels = images(2)
    text = torch.tensor([[START, 5, 9, 33, 2], [START, 7, 7, 61, 40]])
    with torch.inference_mode():
        whole = model(pixels, text, output_labels=False)["logits"]
        state = decoder.start(image_tokens(model, pixels))
        for at in range(text.shape[1]):
            logits, state = decoder.step(state, text[:, at])
            torch.testing.assert_close(logits, whole[:, at], rtol=1e-4, atol=1e-4)


def test_texts_of_one_image_share_its_keys_and_keep_their_own_past() -> None:
    model = small_coca(3)
    decoder = CocaDecoder(model)
    seen = image_tokens(model, images(2))
    with torch.inference_mode():
        shared = decoder.start(seen, texts=3)
        apart = decoder.start(seen.repeat_interleave(3, dim=0))
        for tokens in ([START] * 6, [4, 5, 6, 7, 8, 9]):
            together, shared = decoder.step(shared, torch.tensor(tokens))
            alone, apart = decoder.step(apart, torch.tensor(tokens))
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert len(shared.image[0][0]) == 2


def test_a_caption_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    model = small_coca(40)
    decoder = CocaDecoder(model)
    seen = image_tokens(model, images(6, 40))
    rule = SearchRule(START, END, PAD, beams=3, min_length=1, max_length=12)
    together = search(decoder, seen, rule)
    assert [c.tokens for c in together] == [search(decoder, seen[i : i + 1], rule)[0].tokens for i in range(6)]
    assert len({c.tokens for c in together}) > 1


@pytest.mark.parametrize("beams", [1, 4])
def test_a_captions_logprob_is_its_likelihood_by_the_whole_forward_pass(beams: int) -> None:
    model = small_coca(40)
    pixels = images(6, 40)
    rule = SearchRule(START, END, PAD, beams=beams, min_length=1, max_length=12)
    captions = search(CocaDecoder(model), image_tokens(model, pixels), rule)
    for i, caption in enumerate(captions):
        # A padding token may have ended it instead: then its likelihood is that token's.
        endings = ([END], [PAD]) if caption.finished else ([],)
        possible = [logprob_of(model, pixels[i : i + 1], [START, *caption.tokens, *end]) for end in endings]
        assert min(abs(caption.logprob - value) for value in possible) < 1e-3


def test_a_beam_as_wide_as_all_texts_finds_the_most_likely_one() -> None:
    text = {**CONFIG["text_cfg"], "vocab_size": 5}
    model = small_coca(7, text_cfg=text, multimodal_cfg={**CONFIG["multimodal_cfg"], "vocab_size": 5})
    pixels = images(3, 7)
    rule = SearchRule(start=3, end=4, pad=0, beams=40, length_penalty=0.0, min_length=1, max_length=5)
    captions = search(CocaDecoder(model), image_tokens(model, pixels), rule)
    for i, caption in enumerate(captions):
        texts = [body for n in range(4) for body in itertools.product((1, 2, 3), repeat=n)]
        worth = {
            (body, end): logprob_of(model, pixels[i : i + 1], [3, *body, *end])
            for body in texts
            for end in ([(4,), (0,)] if len(body) < 3 else [()])
        }
        assert caption.logprob == pytest.approx(max(worth.values()), abs=1e-3)


def test_a_higher_length_penalty_never_prefers_a_shorter_caption() -> None:
    model = small_coca(40)
    seen = image_tokens(model, images(6, 40))
    lengths = [
        sum(
            len(caption.tokens)
            for caption in search(
                CocaDecoder(model), seen, SearchRule(START, END, PAD, 6, penalty, min_length=1, max_length=10)
            )
        )
        for penalty in (0.0, 1.0, 3.0)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


def test_the_end_cannot_stand_before_the_least_length() -> None:
    model = small_coca(41)
    rule = SearchRule(START, END, PAD, min_length=8, max_length=16)
    for caption in search(CocaDecoder(model), image_tokens(model, images(4, 41)), rule):
        assert len(caption.tokens) + 1 >= 8 or not caption.finished


@pytest.mark.parametrize("wrong", [{"beams": 0}, {"min_length": 0}, {"min_length": 16}])
def test_a_rule_that_cannot_hold_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ModelError, match="caption needs"):
        SearchRule(START, END, PAD, **{"max_length": 16, **wrong})


def test_a_text_longer_than_the_context_is_refused() -> None:
    model = small_coca()
    rule = SearchRule(START, END, PAD, max_length=CONTEXT + 1)
    with pytest.raises(ModelError, match=f"context of {CONTEXT}"):
        search(CocaDecoder(model), image_tokens(model, images(1)), rule)
    assert CocaDecoder(model).vocabulary == VOCABULARY
