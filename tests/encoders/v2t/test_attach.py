"""Any decoder-only model of transformers looks at a video through hooks, its code untouched."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from encoders.v2t.model import Attachment, VideoAttention, VideoToText, build_connector, config_for, decoder_layers
from encoders.v2t.text import TextRows
from tasks.errors import ModelError
from tests.encoders.causal_lm.tiny import LMS, VOCABULARY, llama
from tests.encoders.small import encoder, generator
from tests.encoders.v2t.small import model, spatial

EVERY_LM = pytest.mark.parametrize("name", LMS)


def rows(batch: int = 2, length: int = 9) -> TextRows:
    ids = torch.randint(0, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1))
    real = torch.ones(batch, length, dtype=torch.bool)
    real[0, -2:] = False
    return TextRows(ids, real, real)


@torch.no_grad()
def alone(v2t: VideoToText, text: TextRows) -> torch.Tensor:
    return v2t.lm(input_ids=text.ids, attention_mask=text.real.long()).logits


@EVERY_LM
@torch.no_grad()
def test_with_the_gates_at_zero_the_logits_are_the_language_models_own(name: str) -> None:
    v2t = model(LMS[name](), gate=0.0)
    torch.testing.assert_close(v2t(spatial(), rows()), alone(v2t, rows()), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_new_connector_begins_at_the_language_model_itself() -> None:
    vision, lm = encoder().vision, llama()
    v2t = VideoToText(vision, build_connector(config_for(vision.config, lm.config)), lm)
    torch.testing.assert_close(v2t(spatial(), rows()), alone(v2t, rows()), atol=1e-5, rtol=0)


@EVERY_LM
@torch.no_grad()
def test_with_open_gates_the_logits_follow_the_video(name: str) -> None:
    v2t = model(LMS[name]())
    one, other = (v2t(spatial(seed=seed), rows()) for seed in (0, 1))
    assert (one - alone(v2t, rows())).abs().max() > 1e-2
    assert (one - other).abs().max() > 1e-2


@torch.no_grad()
def test_a_gate_lets_through_the_hyperbolic_tangent_of_its_value() -> None:
    gated, bare = (VideoAttention(32, 48, 4, gated=gated) for gated in (True, False))
    bare.load_state_dict(gated.state_dict(), strict=False)
    hidden, seen = torch.randn(2, 5, 32, generator=generator()), gated.attn.keys_values(spatial())
    for value in (-2.0, 0.5):
        gated.gate.fill_(value)
        expected = hidden + math.tanh(value) * (bare(hidden, seen) - hidden)
        torch.testing.assert_close(gated(hidden, seen), expected)


@torch.no_grad()
def test_without_gates_the_video_is_seen_from_the_first_step() -> None:
    v2t = model(gated=False)
    assert all(layer.gate is None for layer in v2t.connector.video_layers)
    assert (v2t(spatial(), rows()) - alone(v2t, rows())).abs().max() > 1e-2


@EVERY_LM
@torch.no_grad()
def test_every_layer_looks_at_the_video(name: str) -> None:
    v2t = model(LMS[name]())
    whole = v2t(spatial(), rows())
    for layer in v2t.connector.video_layers:
        layer.gate.zero_()
        assert (v2t(spatial(), rows()) - whole).abs().max() > 1e-4
        layer.gate.fill_(1.5)


@torch.no_grad()
def test_a_row_sees_its_own_video_only() -> None:
    v2t, text = model(), rows()
    together = v2t(spatial(), text)
    swapped = v2t(spatial().flip(0), text)
    assert (together - swapped)[:, 0].abs().max() > 1e-3
    for row in range(2):
        one = TextRows(text.ids[row : row + 1], text.real[row : row + 1], text.target[row : row + 1])
        seen = text.real[row]
        torch.testing.assert_close(v2t(spatial()[row : row + 1], one)[0, seen], together[row, seen], atol=1e-4, rtol=0)


@EVERY_LM
@torch.no_grad()
def test_after_detaching_the_language_model_is_as_it_was(name: str) -> None:
    lm = LMS[name]()
    names = set(lm.state_dict())
    v2t = model(lm)
    before = alone(v2t, rows())
    memory = v2t.connector(spatial())
    v2t.attachment.detach()
    with v2t.attachment.looking_at(memory):
        assert torch.equal(alone(v2t, rows()), before)
    assert set(lm.state_dict()) == names


@torch.no_grad()
def test_a_memory_of_one_video_serves_any_number_of_rows_and_another_number_is_refused() -> None:
    v2t = model()
    memory = v2t.connector(spatial(1))
    twice = v2t.connector(spatial(1).expand(2, -1, -1))
    torch.testing.assert_close(v2t.logits(memory, rows()), v2t.logits(twice, rows()), atol=1e-4, rtol=0)
    with pytest.raises(ModelError, match="2 rows of text do not go with 3 videos"):
        v2t.logits(v2t.connector(spatial(3)), rows())


def test_a_model_with_two_stacks_of_layers_is_refused_by_name() -> None:
    config = T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)
    with pytest.raises(ModelError, match=r"layers of T5ForConditionalGeneration.*encoder\.block, decoder\.block"):
        decoder_layers(T5ForConditionalGeneration(config))


def test_a_model_without_such_layers_is_refused() -> None:
    lm = llama()
    lm.config.num_hidden_layers = 7
    with pytest.raises(ModelError, match="one list of 7 like modules, found none"):
        decoder_layers(lm)


def test_a_connector_of_another_depth_or_width_is_refused() -> None:
    v2t = model()
    with pytest.raises(ModelError, match="2 cross-attention layers do not go with 3 decoder layers"):
        Attachment(llama(), v2t.connector.video_layers[:2])
    with pytest.raises(ModelError, match="tokens of width 64 does not fit a tower of 48"):
        model(vision_width=64)
    with pytest.raises(ModelError, match="language model of width 48 does not fit one of 32"):
        model(lm_width=48)
