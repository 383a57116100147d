import numpy as np
import pytest

from encoders.pretrain.kitchen import KitchenSource
from encoders.pretrain.settings import KitchenSettings
from encoders.pretrain.step import Request
from tasks.kitchen.plan import make_plan
from tasks.kitchen.texts import facts, paragraph, steps

REQUESTS = [Request(index, 100 + index) for index in range(6)]


def source(view, frames=4, **options):
    settings = KitchenSettings(videos=40, **options.pop("kitchen", {}))
    return KitchenSource(settings, view, frames=frames, fps=0.25, size=16, **options)


@pytest.mark.parametrize("view", ["image", "clip", "video"])
def test_the_same_request_gives_the_same_sample(view):
    for one, other in zip(source(view).load(REQUESTS), source(view).load(REQUESTS), strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert (one.captions, one.statements) == (other.captions, other.statements)


def test_another_draw_shows_another_moment():
    one, other = source("clip").load([Request(0, 1), Request(0, 2)])
    assert not np.array_equal(one.pixels, other.pixels)


def test_a_whole_video_has_its_paragraph_and_its_facts():
    for index, sample in enumerate(source("video").load(REQUESTS)):
        plan = make_plan("train", index)
        assert sample.captions[0].text == paragraph(plan)
        assert {view.text for view in sample.statements} >= {fact.text for fact in facts(plan)}
        assert all(view.text not in view.false and view.false for view in sample.statements)


def test_a_clip_tells_the_steps_it_shows_in_order():
    plan = make_plan("train", 0)
    every = [step.sentence for step in steps(plan)]
    for draw in range(10):
        (sample,) = source("clip").load([Request(0, draw)])
        told = sample.captions[0].text
        assert any(" ".join(every[a:b]) == told for a in range(len(every)) for b in range(a + 1, len(every) + 1))
        assert all(view.false for view in sample.statements)


def test_an_image_has_the_sentence_of_a_step():
    every = {step.sentence for step in steps(make_plan("train", 0))}
    found = [next(source("image").load([Request(0, draw)])) for draw in range(20)]
    assert {sample.captions[0].text for sample in found} <= every
    assert all(sample.captions[0].false for sample in found)
    assert all(sample.pixels.shape == (1, 16, 16, 3) for sample in found)


def test_splits_and_first_videos_are_respected():
    (sample,) = source("video", kitchen={"split": "val", "first": 8}).load([Request(1, 0)])
    assert sample.key == make_plan("val", 9).id


def test_a_tokenizer_of_its_texts_knows_every_word():
    from encoders.tokens import train_tokenizer

    tokenizer = train_tokenizer(source("image").texts(), 600)
    held_out = paragraph(make_plan("test", 3))
    tokens = tokenizer.tokenizer.encode(held_out).ids
    assert len(tokens) <= 1.1 * len(held_out.split())
