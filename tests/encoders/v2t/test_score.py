"""Options weighed in sight of a video."""

from __future__ import annotations

import pytest
import torch

from encoders.v2t.model import VideoToText
from encoders.v2t.speak import score_options
from encoders.v2t.text import TextRows, encode
from tasks.errors import ModelError
from tests.encoders.causal_lm.tiny import LMS, byte_tokenizer
from tests.encoders.v2t.small import model, spatial

TOKENIZER = byte_tokenizer()
TEXT = "What does C do?\n\nAnswer:"
OPTIONS = (" washes a pan", " cuts", " x", " walks a dog in the park")


@torch.no_grad()
def scores(v2t: VideoToText, seed: int = 0) -> tuple[float, ...]:
    return score_options(v2t, TOKENIZER, v2t.connector(spatial(1, seed)), TEXT, OPTIONS, "q")[0]


@torch.no_grad()
def mean_from_scratch(v2t: VideoToText, option: str) -> float:
    before, whole = encode(TOKENIZER, TEXT), encode(TOKENIZER, TEXT + option)
    real = torch.ones(1, len(whole), dtype=torch.bool)
    logprobs = v2t(spatial(1), TextRows(torch.tensor([whole]), real, real))[0].log_softmax(-1)
    picked = [logprobs[at - 1, whole[at]] for at in range(len(before), len(whole))]
    return float(sum(picked) / len(picked))


@pytest.mark.parametrize("name", LMS)
def test_scores_are_mean_log_likelihoods_of_the_whole_text_run_afresh(name: str) -> None:
    v2t = model(LMS[name]())
    assert scores(v2t) == pytest.approx([mean_from_scratch(v2t, option) for option in OPTIONS], abs=1e-4)


def test_another_video_gives_other_scores() -> None:
    v2t = model()
    assert max(abs(a - b) for a, b in zip(scores(v2t, 0), scores(v2t, 1), strict=True)) > 1e-3


def test_tokens_are_counted_once_for_the_prompt_and_for_each_option() -> None:
    v2t = model()
    with torch.no_grad():
        usage = score_options(v2t, TOKENIZER, v2t.connector(spatial(1)), TEXT, OPTIONS, "q")[1]
    assert (usage.prompt, usage.completion) == (1 + len(TEXT), sum(map(len, OPTIONS)))


def test_two_videos_at_once_and_an_empty_option_are_refused_by_item() -> None:
    v2t = model()
    with torch.no_grad():
        two, one = v2t.connector(spatial(2)), v2t.connector(spatial(1))
    with pytest.raises(ModelError, match="q7: options are scored for one video at a time, not 2"):
        score_options(v2t, TOKENIZER, two, TEXT, OPTIONS, "q7")
    with pytest.raises(ModelError, match="q7: continuation 1 is empty"):
        score_options(v2t, TOKENIZER, one, TEXT, (" a", ""), "q7")
