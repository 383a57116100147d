"""Written captions: cached as uncached, together as alone, within their limits, the video looked up once."""

from __future__ import annotations

import itertools

import pytest
import torch

from encoders.v2t.model import CrossAttention, VideoToText
from encoders.v2t.speak import Caption, Decoding, generate
from encoders.v2t.text import TextRows, encode
from tasks.errors import ModelError
from tests.encoders.causal_lm.tiny import LMS, VOCABULARY, byte_tokenizer, llama
from tests.encoders.v2t.small import model, spatial

TOKENIZER = byte_tokenizer()
END = TOKENIZER.eos_token_id
PROMPTS = ["", "a pan", "what is done here?"]
EVERY_LM = pytest.mark.parametrize("name", LMS)
WAYS = pytest.mark.parametrize("beams", [1, 3])


def written(v2t: VideoToText, videos: torch.Tensor, prompts: list[str], decoding: Decoding) -> list[Caption]:
    with torch.no_grad():
        memory = v2t.connector(videos)
    return generate(v2t, TOKENIZER, memory, prompts, decoding)


@torch.no_grad()
def next_logprobs(v2t: VideoToText, videos: torch.Tensor, ids: list[int]) -> torch.Tensor:
    """Log-likelihoods of the token behind `ids`, nothing cached."""
    real = torch.ones(1, len(ids), dtype=torch.bool)
    return v2t(videos, TextRows(torch.tensor([ids]), real, real))[0, -1].log_softmax(-1)


@EVERY_LM
@WAYS
def test_cached_writing_equals_uncached(name: str, beams: int) -> None:
    v2t = model(LMS[name]())
    cached, afresh = (
        written(v2t, spatial(3), PROMPTS, Decoding(10, beams=beams, cache=cache)) for cache in (True, False)
    )
    assert cached == afresh
    assert len({caption.text for caption in cached}) == 3


@EVERY_LM
@WAYS
def test_a_batch_writes_what_each_clip_gets_alone(name: str, beams: int) -> None:
    v2t = model(LMS[name]())
    together = written(v2t, spatial(3), PROMPTS, Decoding(10, beams=beams))
    for row, prompt in enumerate(PROMPTS):
        assert written(v2t, spatial(3)[row : row + 1], [prompt], Decoding(10, beams=beams)) == [together[row]]


def test_greedy_writing_equals_a_hand_written_loop() -> None:
    v2t = model()
    ids = encode(TOKENIZER, "a pan")
    reply: list[int] = []
    while len(reply) < 8 and END not in reply:
        reply.append(int(next_logprobs(v2t, spatial(1), ids + reply).argmax()))
    caption = written(v2t, spatial(1), ["a pan"], Decoding(8))[0]
    assert caption.text == TOKENIZER.decode(reply, skip_special_tokens=True).strip()
    assert (caption.prompt_tokens, caption.tokens) == (len(ids), len(reply))


@torch.no_grad()
def best_of_all(v2t: VideoToText, video: torch.Tensor, penalty: float) -> tuple[str, int]:
    """The best of all texts of at most two tokens by log-likelihood / length ** penalty, and its length."""
    memory, start = v2t.connector(video), encode(TOKENIZER, "")
    rows = torch.tensor([[*start, one] for one in range(END)])
    first = next_logprobs(v2t, video, start)
    second = v2t.logits(memory, TextRows(rows, torch.ones_like(rows, dtype=torch.bool), rows))[:, -1].log_softmax(-1)
    found = {(END,): float(first[END])}
    for one in range(END):
        found[one, int(second[one].argmax())] = float(first[one] + second[one].max())
    best = max(found, key=lambda text: found[text] / len(text) ** penalty)
    return TOKENIZER.decode([token for token in best if token != END]).strip(), len(best)


@pytest.mark.parametrize(("penalty", "tokens"), [(0.0, 1), (1.0, 2)])
def test_a_beam_as_wide_as_the_vocabulary_finds_the_best_of_all_texts(penalty: float, tokens: int) -> None:
    lm = llama()
    lm.lm_head.bias = torch.nn.Parameter(torch.nn.functional.one_hot(torch.tensor(END), VOCABULARY) * 3.0)
    v2t, video = model(lm), spatial(1, seed=1)
    caption = written(v2t, video, [""], Decoding(2, beams=VOCABULARY, length_penalty=penalty))[0]
    assert (caption.text, caption.tokens) == best_of_all(v2t, video, penalty)
    assert caption.tokens == tokens


def test_a_video_is_looked_up_once_however_long_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    v2t = model()
    calls: list[int] = []
    real = CrossAttention.keys_values

    def counted(self: CrossAttention, context: torch.Tensor) -> object:
        calls.append(len(context))
        return real(self, context)

    monkeypatch.setattr(CrossAttention, "keys_values", counted)
    written(v2t, spatial(1), [""], Decoding(2, min_tokens=2))
    once = len(calls)
    written(v2t, spatial(1), [""], Decoding(20, min_tokens=20))
    written(v2t, spatial(1), [""], Decoding(20, min_tokens=20, beams=4))
    assert once == len(v2t.connector.video_layers) + v2t.connector.config.depth
    assert calls == [1] * 3 * once


def test_limits_are_kept_and_a_cut_text_says_so() -> None:
    lm = llama()
    lm.lm_head.bias = torch.nn.Parameter(torch.nn.functional.one_hot(torch.tensor(END), VOCABULARY) * 50.0)
    eager_to_end = model(lm)
    assert written(eager_to_end, spatial(1), [""], Decoding(9)) == [Caption("", True, 1, 1)]
    longer = written(eager_to_end, spatial(1), [""], Decoding(9, min_tokens=5))[0]
    assert (longer.finished, longer.tokens) == (True, 6)
    cut = written(model(), spatial(1), [""], Decoding(4))[0]
    assert (cut.finished, cut.tokens) == (False, 4)


def test_rows_that_end_early_are_not_counted_to_the_batchs_end() -> None:
    v2t = model()
    alone = [written(v2t, spatial(8)[i : i + 1], [""], Decoding(40))[0] for i in range(8)]
    assert written(v2t, spatial(8), [""] * 8, Decoding(40)) == alone


def test_a_published_generation_config_is_not_followed() -> None:
    v2t = model()
    plain = written(v2t, spatial(1), [""], Decoding(8))
    v2t.lm.generation_config.update(do_sample=True, temperature=5.0, repetition_penalty=9.0, num_beams=2)
    assert written(v2t, spatial(1), [""], Decoding(8)) == plain


def test_a_text_that_overflows_the_context_is_refused() -> None:
    with pytest.raises(ModelError, match="prompt of 251 tokens and 8 more overflow the context of 256"):
        written(model(), spatial(1), ["x" * 250], Decoding(8))


@pytest.mark.parametrize(
    "limits", [{"max_tokens": 0}, {"max_tokens": 3, "min_tokens": 4}, {"max_tokens": 3, "beams": 0}]
)
def test_limits_that_can_not_be_kept_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ModelError, match="decoding needs"):
        Decoding(**limits)


def test_every_pair_of_videos_gives_another_text() -> None:
    v2t = model()
    texts = [caption.text for caption in written(v2t, spatial(4), [""] * 4, Decoding(12))]
    assert all(one != other for one, other in itertools.combinations(texts, 2))
