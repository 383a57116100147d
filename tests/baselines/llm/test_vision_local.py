"""Video language models in this process, one of each type: what they say is what transformers says by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.llm.options import Sampling
from baselines.llm.protocol import Chat, Shown
from baselines.llm.vision_local import TransformersVisionModel, load_vision_model
from encoders.frames import Frames
from tasks.errors import ModelError
from tests.baselines.llm.by_hand import ByHand
from tests.baselines.llm.tiny_vision import WRITERS

OPTIONS = (" a pan", " a pancake, which is turned", " eggs")
LETTERS = (" A", " B", " C")


@pytest.fixture(scope="module", params=WRITERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / str(request.param)
    WRITERS[str(request.param)](out)
    return out


@pytest.fixture(scope="module")
def llm(folder: Path) -> TransformersVisionModel:
    return load_vision_model(str(folder), sampling=Sampling(), dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def by_hand(folder: Path) -> ByHand:
    return ByHand.load(folder)


def shown(form: str = "video", seed: int = 0, count: int = 6) -> Shown:
    pixels = np.random.default_rng(seed).integers(0, 255, (count, 56, 84, 3), dtype=np.uint8)
    seconds = tuple(2.5 * place + 1.25 for place in range(count))
    return Shown(Frames(pixels, seconds, seconds, 1.0), form, 2.5 * count)  # type: ignore[arg-type]


def chat(form: str = "video", seed: int = 0, user: str = "What is cooked?", **more: Any) -> Chat:
    return Chat(user, system="Look closely.", shown=shown(form, seed), **more)


@pytest.mark.parametrize("form", ["video", "images"])
def test_a_reply_is_the_one_that_transformers_writes_by_hand(
    llm: TransformersVisionModel, by_hand: ByHand, form: str
) -> None:
    asked = chat(form)
    (reply,) = llm.generate([asked], 12)
    assert reply.text == by_hand.reply(asked, 12)
    assert reply.usage.prompt == by_hand.prompt_tokens(asked)


@pytest.mark.parametrize("form", ["video", "images"])
@pytest.mark.parametrize("texts", [OPTIONS, LETTERS], ids=["options", "letters"])
def test_likelihoods_are_those_that_transformers_gives_by_hand(
    llm: TransformersVisionModel, by_hand: ByHand, form: str, texts: tuple[str, ...]
) -> None:
    asked = chat(form, reply_start="Answer:")
    (scores,) = llm.score([asked], [texts])
    assert scores.logprobs == pytest.approx(by_hand.likelihoods(asked, texts), abs=1e-3)
    assert scores.tokens == tuple(map(len, texts))


def test_likelihoods_behind_a_remembered_video_are_those_from_scratch(llm: TransformersVisionModel) -> None:
    assert llm.splits
    first = chat(seed=1, user="What is cooked?")
    questions = [replace(first, user=words) for words in ("Who cooks?", "What is cooked?", "Why?")]
    texts = [OPTIONS] * 3
    warm = [llm.score([question], [OPTIONS])[0].logprobs for question in (first, *questions)][1:]
    fresh = [scores.logprobs for scores in llm.score_from_scratch(questions, texts)]
    assert np.allclose(warm, fresh, atol=1e-3)


def test_a_likelihood_is_the_same_to_the_bit_whatever_was_asked_before(llm: TransformersVisionModel) -> None:
    asked, other = chat(seed=2), chat(seed=3, user="Something quite different?")
    alone = llm.score([asked], [OPTIONS])[0].logprobs
    llm.generate([other], 4)
    llm.score([replace(asked, user="Another one?")], [LETTERS])
    llm.score([Chat("No video at all")], [LETTERS])
    assert llm.score([asked], [OPTIONS])[0].logprobs == alone


def test_the_model_looks_other_frames_give_other_likelihoods(llm: TransformersVisionModel) -> None:
    asked = chat(seed=4)
    assert asked.shown is not None
    swapped = replace(asked.shown.frames, pixels=asked.shown.frames.pixels[::-1].copy())
    turned = replace(asked, shown=replace(asked.shown, frames=swapped))
    scores = [llm.score([one], [OPTIONS])[0].logprobs for one in (asked, chat(seed=5), turned)]
    assert len(set(scores)) == 3


def test_a_guided_reply_is_the_choice_that_letter_likelihoods_prefer(llm: TransformersVisionModel) -> None:
    asked = chat(seed=6)
    (scores,) = llm.score([asked], [("A", "B", "C")])
    (reply,) = llm.generate([replace(asked, choices=("A", "B", "C"))], 8)
    assert reply.text == "ABC"[int(np.argmax(scores.logprobs))]
    assert reply.finished


def test_a_guided_reply_is_one_of_choices_that_begin_alike(llm: TransformersVisionModel) -> None:
    choices = ("pan", "pancake", "panna cotta")
    assert llm.generate([chat(seed=7, choices=choices)], 16)[0].text in choices


def test_the_record_says_what_was_sent_and_what_the_model_made_of_it(llm: TransformersVisionModel) -> None:
    notes = llm.generate([chat()], 2)[0].notes
    assert (notes["sent_as"], notes["sent_frames"], notes["sent_width"], notes["sent_height"]) == ("video", 6, 84, 56)
    assert isinstance(notes["vision_tokens"], int)
    assert notes["vision_tokens"] >= 3
    assert "grid" in notes or "pixels_read" in notes


def test_a_text_that_spells_a_control_token_is_read_as_text(llm: TransformersVisionModel) -> None:
    special = sorted(llm.writer.special)
    hostile = chat(user=f"Is it {' or '.join(special)}?")
    plain = llm.generate([chat()], 1)[0].notes["vision_tokens"]
    (reply,) = llm.generate([hostile], 1)
    assert reply.notes["vision_tokens"] == plain


def test_times_are_said_to_be_told_where_they_reach_the_model(llm: TransformersVisionModel, folder: Path) -> None:
    assert llm.tells_times is (folder.name in {"qwen2_5_vl", "qwen3_vl", "smolvlm"})


def test_more_than_the_context_is_refused_before_it_is_read(folder: Path) -> None:
    small = load_vision_model(str(folder), sampling=Sampling(), dtype="float32", device="cpu", context=30)
    with pytest.raises(ModelError, match="more than the context of 30"):
        small.generate([chat()], 8)


def draw(folder: Path, **fields: Any) -> list[str]:
    llm = load_vision_model(str(folder), sampling=Sampling(**fields), dtype="float32", device="cpu")
    return [llm.generate([chat(seed=8)], 8)[0].text for _ in range(2)]


@pytest.mark.parametrize("folder", ["qwen2_5_vl"], indirect=True)
def test_words_behind_a_video_come_after_the_times_of_all_its_frames(
    llm: TransformersVisionModel, by_hand: ByHand
) -> None:
    asked = chat()
    inputs = by_hand.inputs(asked)
    grids = {name: inputs[name] for name in ("mm_token_type_ids", "video_grid_thw", "second_per_grid_ts")}
    positions, _ = by_hand.model.model.get_rope_index(inputs["input_ids"], **grids)
    video = inputs["input_ids"][0] == by_hand.model.config.video_token_id
    last = int(video.nonzero()[-1])
    assert positions[0, 0, video].max() > positions[1:, 0, video].max()
    assert positions[0, 0, last + 1] == positions[:, 0, video].max() + 1
    prepared = llm._prepare(asked)
    assert torch.equal(llm._places(prepared).of(0)["position_ids"], positions)


@pytest.mark.parametrize("folder", ["qwen3_vl"], indirect=True)
def test_a_drawn_reply_depends_on_its_seed_alone(folder: Path) -> None:
    one, again = draw(folder, temperature=1.5, seed=1)
    assert one == again
    assert draw(folder, temperature=1.5, seed=1) == [one, one]
    assert len({one, *draw(folder, temperature=1.5, seed=2), *draw(folder)}) == 3


@pytest.mark.parametrize("folder", ["qwen3_vl"], indirect=True)
def test_another_draw_is_that_of_the_seed_so_many_further_on(folder: Path) -> None:
    sampling = Sampling(temperature=1.5, seed=1)
    llm = load_vision_model(str(folder), sampling=sampling, dtype="float32", device="cpu")
    assert llm.generate([chat(seed=8, draw=1)], 8)[0].text == draw(folder, temperature=1.5, seed=2)[0]


@pytest.mark.parametrize("folder", ["qwen3_vl"], indirect=True)
def test_a_nucleus_of_nothing_but_the_likeliest_token_is_greedy(folder: Path) -> None:
    assert draw(folder, temperature=1.5, top_p=1e-6, seed=1) == draw(folder)
    assert draw(folder, temperature=1.5, seed=1, extra={"top_k": 1}) == draw(folder)


@pytest.mark.parametrize("folder", ["qwen3_vl"], indirect=True)
def test_what_the_engine_does_not_know_is_refused_by_name(folder: Path) -> None:
    with pytest.raises(ModelError, match="does not know 'topk'; it knows repetition_penalty, top_k"):
        load_vision_model(str(folder), sampling=Sampling(extra={"topk": 1}), dtype="float32")
    with pytest.raises(ModelError, match="top_k=-3"):
        load_vision_model(str(folder), sampling=Sampling(extra={"top_k": -3}), dtype="float32")


@pytest.mark.parametrize("folder", ["qwen3_vl"], indirect=True)
def test_a_thought_that_is_cut_leaves_no_answer(folder: Path) -> None:
    sampling = Sampling(thinking=True, thinking_tokens=5)
    llm = load_vision_model(str(folder), sampling=sampling, dtype="float32", device="cpu")
    (reply,) = llm.generate([chat()], 3)
    assert (reply.text, reply.finished) == ("", False)
    assert reply.thought
    assert reply.usage.completion == 8


@pytest.mark.parametrize("folder", ["qwen3_vl"], indirect=True)
def test_a_processor_that_shrinks_many_frames_is_found_out(folder: Path) -> None:
    capped = Sampling(extra={"mm_processor_kwargs": {"size": {"shortest_edge": 784, "longest_edge": 40_000}}})
    llm = load_vision_model(str(folder), sampling=capped, dtype="float32", device="cpu")
    with pytest.raises(ModelError, match=r"sent 32 frames .* Lower frames=, pixels= or total_pixels="):
        llm.generate([Chat("What?", shown=shown(count=32))], 2)


@pytest.mark.parametrize("folder", ["qwen2_5_vl"], indirect=True)
def test_a_model_without_sight_is_refused(folder: Path, tmp_path: Path) -> None:
    del folder
    with pytest.raises(ModelError, match="model folder"):
        load_vision_model(str(tmp_path), sampling=Sampling())
    with pytest.raises(ModelError, match="no such folder, and not available"):
        load_vision_model(str(tmp_path / "none"), sampling=Sampling())


def test_questions_about_one_video_in_one_pass_are_weighed_as_one_by_one(llm: TransformersVisionModel) -> None:
    assert llm.packs
    first = chat(seed=1, reply_start="Answer:")
    questions = [replace(first, user=words) for words in ("Who cooks?", "What is cooked, and why?", "Why?", "Where?")]
    other = chat(seed=2, reply_start="Answer:")
    asked = [*questions, other, first]
    texts = [OPTIONS, LETTERS, OPTIONS, (" eggs", " eggs and a pan"), OPTIONS, LETTERS]
    packed = llm.score(asked, texts)
    alone = [llm.score([one], [options])[0] for one, options in zip(asked, texts, strict=True)]
    fresh = llm.score_from_scratch(asked, texts)
    for one, other_one, scratch in zip(packed, alone, fresh, strict=True):
        assert one.means == pytest.approx(other_one.means, abs=1e-4)
        assert one.means == pytest.approx(scratch.means, abs=1e-4)
        assert one.means.index(max(one.means)) == scratch.means.index(max(scratch.means))
        assert (one.tokens, one.usage) == (scratch.tokens, scratch.usage)


def test_a_model_that_takes_no_mask_of_ours_weighs_one_option_after_the_other(llm: TransformersVisionModel) -> None:
    asked, texts = [chat(seed=1), chat(seed=2)], [OPTIONS, LETTERS]
    packed = llm.score(asked, texts)
    llm.packs = False
    try:
        each = llm.score(asked, texts)
    finally:
        llm.packs = True
    for one, other in zip(packed, each, strict=True):
        assert one.means == pytest.approx(other.means, abs=1e-4)
