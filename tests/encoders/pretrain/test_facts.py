"""The stage that teaches the text tower from a video's facts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from encoders.config import EncoderConfig, TextConfig, VisionConfig
from encoders.dual import build_encoder
from encoders.pretrain.engine import train
from encoders.pretrain.facts import MARKS, facts_picture
from encoders.pretrain.files import open_source
from encoders.pretrain.kitchen import KitchenSource, whole_statements
from encoders.pretrain.settings import DataSettings, FileSettings, KitchenSettings, StageSettings, read_settings
from encoders.pretrain.stages import Prepared, prepare
from encoders.pretrain.step import Request
from encoders.pretrain.world import World
from encoders.tokens import train_tokenizer
from encoders.weights import load_encoder, save_encoder
from tasks.errors import ModelError
from tasks.kitchen.plan import make_plan
from tasks.kitchen.texts import steps

CONFIG = Path("encoders/configs/pretrain/kitchen-tiny.toml")
SIDE = 64
BINDING = ("cause", "next")


def kitchen(view: str, **changes: object) -> KitchenSource:
    return KitchenSource(KitchenSettings(videos=8, brief_apart=True, **changes), view, frames=4, fps=1.0, size=SIDE)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vision = VisionConfig(width=32, depth=1, heads=2, mlp=32, size=SIDE, patch=32, frames=4)
    text = TextConfig(width=64, depth=1, heads=2, mlp=128, vocabulary=512, context=64)
    encoder = build_encoder(EncoderConfig("small", vision, text, embed=64))
    path = tmp_path_factory.mktemp("start") / "small.safetensors"
    save_encoder(encoder, train_tokenizer(kitchen("video").texts(), 512), path)
    return path


def settings(start: Path, *changes: str, steps: int = 2) -> StageSettings:
    small = (f'model.init="{start}"', f"training.steps={steps}", "training.warmup=1", "training.evaluate=0")
    return read_settings(CONFIG, "texts-bound", seed=0, changes=[*small, *changes])


def prepared(start: Path, *changes: str) -> Prepared:
    return prepare(settings(start, *changes), Path, World())


def test_a_picture_marks_what_is_true_and_nothing_else() -> None:
    first, second = "the egg went in first", "the carrot went in first"
    both = facts_picture([first, second], SIDE)
    assert both.shape == (1, SIDE, SIDE, 3)
    assert not facts_picture([], SIDE).any()
    assert np.array_equal(both, facts_picture([first], SIDE) | facts_picture([second], SIDE))
    assert int(both.sum()) == 2 * MARKS


def test_all_statements_of_the_world_can_be_told_from_their_marks() -> None:
    plans = [make_plan("train", index) for index in range(60)]
    views = [view for plan in plans for view in whole_statements(plan, plan.events)]
    texts = {text for view in views for text in (view.text, *view.false)}
    marks = {facts_picture([text], SIDE).tobytes() for text in texts}
    assert len(texts) > 2000
    assert len(marks) == len(texts)


def test_a_sample_of_facts_has_the_texts_of_the_whole_video_and_no_other_pixels() -> None:
    (video,), (facts,) = (list(kitchen(view).load([Request(3, 5)])) for view in ("video", "facts"))
    assert (facts.captions, facts.statements) == (video.captions, video.statements)
    plan = make_plan("train", 3)
    told = [*(view.text for view in facts.statements), *(step.sentence for step in steps(plan))]
    assert np.array_equal(facts.pixels, facts_picture(told, SIDE))


def test_kinds_leave_the_others_out_of_statements_and_facts() -> None:
    (all_kinds,), (some,) = (list(kitchen("facts", kinds=kinds).load([Request(0, 0)])) for kinds in ((), BINDING))
    assert {view.kind for view in some.statements} == set(BINDING)
    assert some.statements == tuple(view for view in all_kinds.statements if view.kind in BINDING)
    assert int(some.pixels.sum()) < int(all_kinds.pixels.sum())


def test_the_text_tower_trains_and_the_vision_tower_stays_as_it_was(start: Path, tmp_path: Path) -> None:
    stage = prepared(start, "data.batch=4", "loss.views.circle=4")
    assert stage.facts["trainable"] < stage.facts["parameters"]
    train(stage.job, settings(start).training, tmp_path, seed=0)
    stage.save(tmp_path / "texts.safetensors")
    before, after = (load_encoder(path).encoder.state_dict() for path in (start, tmp_path / "texts.safetensors"))
    assert before.keys() == after.keys()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert not {name for name in changed if name.startswith("vision")}
    assert {name for name in after if name.startswith("text.bert.encoder") and "weight" in name} <= changed


def test_texts_may_stay_as_they_are_to_measure_what_they_let_an_encoder_say(start: Path, tmp_path: Path) -> None:
    stage = prepared(start, "data.batch=4", "loss.views.circle=4", "model.adapt.tune_text=false")
    train(stage.job, settings(start).training, tmp_path, seed=0)
    stage.save(tmp_path / "texts.safetensors")
    before, after = (load_encoder(path).encoder.state_dict() for path in (start, tmp_path / "texts.safetensors"))
    assert {name for name, value in after.items() if not torch.equal(value, before[name])} <= {
        "text_proj.weight",
        "log_scale",
    }


def test_an_encoder_from_scratch_has_no_texts_to_go_on_from(start: Path) -> None:
    with pytest.raises(ModelError, match="the stage 'texts' goes on from an encoder"):
        prepared(start, 'model.init="scratch"')


def test_files_have_no_facts(tmp_path: Path) -> None:
    data = DataSettings(batch=4, view="facts", folder=FileSettings(str(tmp_path)))
    with pytest.raises(ModelError, match=r"view 'facts': only data\.kitchen knows"):
        open_source(data, SIDE)


@pytest.mark.slow
def test_facts_teach_the_text_tower_to_bind_a_signal_to_the_ingredient_after_it(tmp_path: Path) -> None:
    def interaction(path: Path) -> float:
        """The share of the variance of "flame or lid, just before …" that is no sum of its two parts."""
        loaded = load_encoder(path)
        texts = [
            f"{told} just before the {name} went in"
            for told in ("the flame was turned up", "the lid was put on")
            for name in ("carrot", "egg", "fish", "lemon", "onion", "tomato")
        ]
        with torch.inference_mode():
            vectors = loaded.encoder.embed_text(loaded.tokenizer.batch(texts, 128)).view(2, 6, -1)
        centred = vectors - vectors.mean((0, 1))
        rest = centred - centred.mean(0) - centred.mean(1, keepdim=True)
        return float((rest**2).sum() / (centred**2).sum())

    short = Path("encoders/checkpoints/shortvivit-tiny.safetensors")
    stage = prepared(short)
    train(stage.job, settings(short, steps=300).training, tmp_path, seed=0)
    stage.save(tmp_path / "texts.safetensors")
    assert interaction(short) < 0.005
    assert interaction(tmp_path / "texts.safetensors") > 10 * interaction(short)
