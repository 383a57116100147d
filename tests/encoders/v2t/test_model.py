"""What trains, what does not, how many parameters that is, and tokens of one number for any video."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from encoders.config import preset
from encoders.pretrain.captions import caption_sums
from encoders.v2t.model import Connector, VideoToText, VideoToTextConfig, build_connector, config_for, spatial_tokens
from encoders.v2t.text import caption_rows, prompt_rows
from encoders.vit import VisionTower, sample_keep
from tasks.errors import ModelError
from tests.encoders.causal_lm.tiny import LMS, byte_tokenizer
from tests.encoders.small import encoder, generator, videos, vision
from tests.encoders.v2t.small import PLACES, model, spatial

TOKENIZER = byte_tokenizer()
CAPTIONS = ("an egg is fried", "a dog")


@pytest.mark.parametrize("name", LMS)
def test_exactly_resampler_and_cross_attention_get_gradients(name: str) -> None:
    v2t = model(LMS[name]()).train()
    rows = caption_rows(TOKENIZER, "", CAPTIONS, 64)
    caption_sums(v2t(videos(2), rows), rows)[0].backward()
    with_gradient = {n for n, p in v2t.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert with_gradient == {f"connector.{n}" for n, _ in v2t.connector.named_parameters()}
    assert with_gradient == {n for n, p in v2t.named_parameters() if p.requires_grad}


def test_at_closed_gates_only_the_gates_have_a_gradient_and_the_next_step_reaches_the_rest() -> None:
    v2t = model(gate=0.0).train()
    rows = caption_rows(TOKENIZER, "", CAPTIONS, 64)
    caption_sums(v2t(spatial(), rows), rows)[0].backward()
    moved = {n for n, p in v2t.connector.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert moved == {f"layers.{i}.gate" for i in range(3)}


def test_the_frozen_models_stay_in_evaluation_mode_while_the_connector_trains() -> None:
    v2t = model().train()
    assert v2t.connector.training
    assert not v2t.lm.training
    assert v2t.vision is not None
    assert not v2t.vision.training


@torch.no_grad()
def test_pixels_and_their_spatial_tokens_computed_before_give_the_same_logits() -> None:
    v2t = model()
    rows = caption_rows(TOKENIZER, "", CAPTIONS, 64)
    assert torch.equal(v2t(videos(2), rows), v2t(v2t.watch(videos(2)), rows))


def test_without_a_tower_pixels_are_refused() -> None:
    v2t = model()
    with pytest.raises(ModelError, match="no tower"):
        VideoToText(None, v2t.connector, v2t.lm).watch(videos(1))


@pytest.mark.parametrize("changes", [{}, {"attention": "factorized"}, {"attention": "frame", "patches": "image"}])
@pytest.mark.parametrize("frames", [1, 4, 8, 24])
@pytest.mark.parametrize("mask", [0.0, 0.3, 0.75])
def test_any_frame_count_and_mask_give_one_token_for_each_place(
    changes: dict[str, Any], frames: int, mask: float
) -> None:
    tower = encoder(**changes).vision
    keep = sample_keep(tower.config, (2, frames, 32, 32), mask, generator())
    with torch.no_grad():
        tokens = spatial_tokens(tower(videos(2, frames), keep), PLACES)
    assert tokens.shape == (2, PLACES, 48)
    assert tokens.norm(dim=2).min() > 1


@torch.no_grad()
def test_a_place_holds_the_mean_of_its_kept_tokens_and_an_unseen_one_that_of_all() -> None:
    tower = encoder().vision
    keep = torch.tensor([[0, 3, 16, 19, 35]])  # places 0, 3, 0, 3, 3 of steps 0, 0, 1, 1, 2
    out = tower(videos(1), keep)
    tokens = spatial_tokens(out, PLACES)[0]
    torch.testing.assert_close(tokens[0], out.tokens[0, [0, 2]].mean(0))
    torch.testing.assert_close(tokens[3], out.tokens[0, [1, 3, 4]].mean(0))
    for place in set(range(PLACES)) - {0, 3}:
        torch.testing.assert_close(tokens[place], out.tokens[0].mean(0))


@torch.no_grad()
def test_tubes_give_a_token_for_each_place_too() -> None:
    tower = encoder(patches="tubes", frames=16, size=64, patch=16).vision
    tokens = spatial_tokens(tower(videos(1, 16, 64)), PLACES)
    assert tokens.shape == (1, PLACES, 48)
    assert tokens.norm(dim=2).min() > 1


@torch.no_grad()
def test_bfloat16_tokens_of_a_long_video_are_added_up_in_float32() -> None:
    tower = VisionTower(vision(depth=1, frames=256))
    torch.nn.init.normal_(tower.positions.space)
    torch.nn.init.normal_(tower.positions.time)
    out = tower(videos(1, 256))
    exact = spatial_tokens(out, PLACES)
    rounded = type(out)(out.pooled, out.tokens.bfloat16(), out.time, out.place)
    torch.testing.assert_close(spatial_tokens(rounded, PLACES).float(), exact, atol=0.01, rtol=0.01)


def test_the_first_word_is_predicted_from_a_start_token() -> None:
    rows = caption_rows(TOKENIZER, "", ["hi"], 64)
    assert rows.ids.tolist() == [[TOKENIZER.eos_token_id, *TOKENIZER("hi")["input_ids"], TOKENIZER.eos_token_id]]
    assert rows.target.tolist() == [[False, True, True, True]]
    assert prompt_rows(TOKENIZER, ["", "ab"]).real.tolist() == [[False, False, True], [True, True, True]]


def test_an_empty_and_a_too_long_caption_are_refused() -> None:
    with pytest.raises(ModelError, match="empty"):
        caption_rows(TOKENIZER, "Say:", [""], 64)
    with pytest.raises(ModelError, match=r"'aaaaa.*' has 72 tokens with its prompt, more than 64"):
        caption_rows(TOKENIZER, "", ["a" * 70], 64)


def test_the_same_seed_builds_the_same_connector_and_leaves_global_randomness_alone() -> None:
    config = model().connector.config
    torch.manual_seed(11)
    one = build_connector(config, seed=4)
    drawn = torch.rand(1)
    torch.manual_seed(11)
    assert torch.equal(torch.rand(1), drawn)
    other = build_connector(config, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 7}, "width 48 is not a multiple of 7 heads"),
        ({"latents": 0}, "latents is 0, which is not from 1"),
        ({"mask": 1.0}, "not a share"),
        ({"depht": 2}, "unknown key 'depht'"),
    ],
)
def test_a_config_that_can_not_be_built_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model(**changes)


def shaped(width: int, depth: int, mlp: int, heads: int) -> PreTrainedModel:
    with torch.device("meta"):
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=32128,
                hidden_size=width,
                num_hidden_layers=depth,
                intermediate_size=mlp,
                num_attention_heads=heads,
                tie_word_embeddings=True,
            )
        )


@pytest.mark.parametrize(
    ("lm", "lm_size", "whole"), [((1024, 24, 4096, 16), 0.4e9, 0.9e9), ((2048, 16, 5632, 32), 1.0e9, 1.5e9)]
)
def test_vit_l_with_language_models_of_400m_and_1b_makes_the_papers_sizes(
    lm: tuple[int, int, int, int], lm_size: float, whole: float
) -> None:
    language = shaped(*lm)
    vision_config = preset("longvivit-l").vision
    config = config_for(vision_config, language.config)
    with torch.device("meta"):
        v2t = VideoToText(VisionTower(vision_config), Connector(config), language)
    assert language.num_parameters() == pytest.approx(lm_size, rel=0.12)
    assert sum(p.numel() for p in v2t.parameters()) == pytest.approx(whole, rel=0.06)


def test_a_config_goes_to_json_and_comes_back() -> None:
    from dataclasses import asdict

    config = model().connector.config
    assert VideoToTextConfig.from_dict(asdict(config), "x") == config
