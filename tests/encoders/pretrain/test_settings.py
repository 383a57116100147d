from dataclasses import fields
from itertools import islice

import pytest

from encoders.adapt import trainable_patterns
from encoders.config import preset
from encoders.pretrain.settings import merged, read_settings, read_tables
from encoders.pretrain.stages import encoder_config, mixed_in, prepare
from encoders.pretrain.world import World
from encoders.shipped import CONFIGS
from encoders.v2t.model import VideoToTextConfig
from tasks.errors import ModelError
from tests.evals.conftest import ROOT

TEXT = """
[common.data]
batch = 8
kitchen = { videos = 80 }
[common.training]
steps = 10
lr = 1e-3
[short]
name = "short"
[short.model]
init = "scratch"
preset = "shortvivit-tiny"
[short.data]
frames = 4
[short.images]
every = 4
data = { batch = 16 }
[short-masked]
stage = "short"
name = "effshort"
[short-masked.model]
init = "short"
preset = "shortvivit-tiny"
mask = 0.75
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(TEXT, encoding="utf-8")
    return file


def test_a_stage_has_its_own_settings_over_the_common_ones(path):
    settings = read_settings(path, "short")
    assert (settings.stage, settings.data.batch, settings.data.frames, settings.training.steps) == ("short", 8, 4, 10)
    assert settings.images.data.batch == 16
    assert settings.images.data.kitchen.videos == 80


def test_a_table_of_another_name_says_which_stage_it_is(path):
    settings = read_settings(path, "short-masked")
    assert (settings.stage, settings.model.mask) == ("short", 0.75)


def test_changes_come_last(path):
    settings = read_settings(path, "short", seed=7, changes=["training.steps=3", "data.kitchen.videos=40"])
    assert (settings.seed, settings.training.steps, settings.data.kitchen.videos) == (7, 3, 40)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("training.lr='fast'", "training: lr must be of type float"),
        ("training.log=3", r"training: training plan: save \(100\) must be a multiple of log \(3\)"),
        ("model.vision.widht=3", "widht"),
        ("model.mask=true", "mask must be of type float"),
        ("data.view='film'", "view is 'film'; it must be 'image', 'clip', 'video' or 'facts'"),
        ("loss.views.captions='all'", "loss: views: captions"),
        ("loss.views.statements=3", "loss: views bring 3 statements"),
        ("training.rates='text'", "must be a table"),
    ],
)
def test_a_wrong_value_is_named_with_file_and_key(path, change, what):
    with pytest.raises(ModelError, match=what) as error:
        encoder_config(read_settings(path, "short", changes=[change]), None, f"{path}: short")
    assert str(path) in str(error.value)


def test_a_missing_file_and_a_loose_key_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"none\.toml"):
        read_tables(tmp_path / "none.toml")
    (tmp_path / "loose.toml").write_text("steps = 3\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"loose\.toml: key 'steps'"):
        read_tables(tmp_path / "loose.toml")


def test_tables_are_laid_over_each_other_key_by_key():
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}, "d": {"e": 5}}) == {
        "a": {"b": 1, "c": 4},
        "d": {"e": 5},
    }


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_key_of_a_config_that_ships_is_known_and_its_encoders_can_be_built(config):
    tables = [name for name in read_tables(config) if name != "common"]
    assert tables
    for stage in tables:
        settings = read_settings(config, stage)
        # What an earlier stage or open_clip would hand over, where the stage names no preset of its own.
        found = encoder_config(settings, preset("shortvivit-b"), stage)
        assert trainable_patterns(found.adapt, found.vision)
        assert set(settings.v2t.connector) <= {field.name for field in fields(VideoToTextConfig)}


@pytest.mark.parametrize("table", ["model.vision", "model.text"])
def test_a_wrong_key_of_the_encoder_is_named(path, table):
    settings = read_settings(path, "short", changes=[f"{table}.widht = 8"])
    with pytest.raises(ModelError, match="unknown key 'widht'"):
        encoder_config(settings, None, "short")


CLIPS = ["clips.every=3", "clips.views.false_captions=1", "clips.data.frames=16"]


def test_clips_among_a_stages_batches_have_its_data_with_changes_and_texts_of_their_own(path):
    settings = read_settings(path, "short", changes=CLIPS)
    assert (settings.clips.every, settings.clips.data.frames, settings.clips.data.batch) == (3, 16, 8)
    assert settings.clips.data.kitchen.videos == 80
    assert settings.clips.views.false_captions == 1
    found = mixed_in(settings)
    assert list(found) == ["clips", "images"]
    assert [one.data.view for one in found.values()] == ["clip", "image"]


def test_circles_that_do_not_divide_the_clips_are_named(path):
    changes = [*CLIPS, "loss.views.statements=1", "loss.statements.weight=1.0", "clips.views.circle=3"]
    with pytest.raises(ModelError, match="clips: views: circles of 3"):
        prepare(read_settings(path, "short", changes=changes), lambda _: path, World())


def test_clips_and_images_come_among_the_videos_with_masks_and_names_of_their_own(path):
    changes = ["data.batch=4", "model.mask=0.75", "clips.every=3", "clips.mask=0.5", "clips.data.frames=8"]
    settings = read_settings(path, "short", changes=[*changes, "images.data.batch=4"])
    batches = prepare(settings, lambda _: path, World()).job.batches
    found = [loaded.batch for loaded in islice(batches(0), 8)]
    assert [batch.label for batch in found] == ["", "", "clips_", "images_"] * 2
    shown = [(batch.pixels.shape[1], None if batch.keep is None else batch.keep.shape[1]) for batch in found[:4]]
    # 4 frames are 2 tubelets of 16 places, 8 are 4 tubelets.
    assert shown == [(4, 8), (4, 8), (8, 32), (1, None)]
    later = [loaded.batch for loaded in islice(batches(5), 3)]
    assert all(one.pixels.equal(other.pixels) for one, other in zip(found[5:], later, strict=True))


@pytest.mark.parametrize("variable", ["RECIPE_STAGES", "QUICK_STAGES"])
def test_every_stage_that_make_runs_is_in_the_file_and_starts_from_one_before_it(variable):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = [line for line in makefile.splitlines() if line.startswith(f"{variable} ?= ")]
    done = {"scratch"}
    for stage in line.partition("?= ")[2].split():
        settings = read_settings(CONFIGS / "kitchen-tiny.toml", stage)
        assert settings.model.init in done
        done.add(stage)
        assert settings.stage != "captions" or settings.v2t.lm in done
