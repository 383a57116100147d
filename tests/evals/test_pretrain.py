import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from encoders.pretrain.checkpoint import METRICS, WALL_CLOCK, checkpoints, read_rows
from encoders.weights import load_encoder
from tests.evals.conftest import ROOT, assert_one_line, longvid

CONFIG = """
[common]
device = "cpu"
[common.model]
init = "scratch"
vision = { width = 32, depth = 2, heads = 2, mlp = 64, size = 32, patch = 16 }
text = { width = 32, depth = 1, heads = 2, mlp = 64, vocabulary = 600 }
[common.data]
batch = 8
[common.data.kitchen]
videos = 80
[common.training]
steps = 8
lr = 1e-3
warmup = 2
log = 2
save = 4
evaluate = 4
dtype = "float32"
[common.evaluation]
videos = 6
[common.evaluation.data]
batch = 4
view = "video"
frames = 4
kitchen = { split = "val", videos = 6 }

[image]
name = "image-micro"
[image.model]
preset = "imagevit-tiny"

[short]
name = "short-micro"
data = { frames = 4 }
images = { every = 3 }
[short.model]
preset = "shortvivit-tiny"
init = "image"
time_std = 0.5

[long]
name = "long-micro"
data = { frames = 16, family = 4 }
loss = { chunk = 4, views = { statements = 3, circle = 4 }, statements = { weight = 2.0 } }
[long.model]
preset = "longvivit-tiny"
init = "short"
mask = 0.75
adapt = { method = "last", last = 1, tune_patches = false }
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "micro.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def recipe(config, tmp_path_factory):
    """All three stages, one after the other."""
    root = tmp_path_factory.mktemp("recipe")
    for stage in ("image", "short", "long"):
        done = longvid("pretrain", "--stage", stage, "--config", config, "--out", root)
        assert done.returncode == 0, done.stderr
    return root


def curve(folder):
    return [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in read_rows(folder / METRICS)]


def test_each_stage_leaves_weights_that_the_next_and_the_suite_can_load(recipe):
    for stage, frames in (("image", 16), ("short", 16), ("long", 256)):
        loaded = load_encoder(recipe / stage / f"{stage}-micro.safetensors")
        assert loaded.encoder.config.vision.frames == frames
        assert loaded.tokenizer.size <= 600
    record = json.loads((recipe / "long" / "run.json").read_text())
    assert record["facts"]["init"] == "short"
    assert record["settings"]["model"]["mask"] == 0.75
    assert record["provenance"]["argv"][0] == "longvid"


def test_only_the_last_layers_and_the_text_tower_train_in_the_long_stage(recipe):
    short, long = (load_encoder(recipe / s / f"{s}-micro.safetensors").encoder.state_dict() for s in ("short", "long"))
    changed = {name for name in long if name != "vision.positions.time" and not short[name].equal(long[name])}
    assert any(name.startswith("vision.blocks.1.") for name in changed)
    assert any(name.startswith("text.") for name in changed)
    assert not any(name.startswith(("vision.blocks.0.", "vision.video", "vision.image")) for name in changed)


def test_the_record_has_losses_and_evaluations(recipe):
    rows = curve(recipe / "long")
    assert [row["step"] for row in rows if row["kind"] == "train"] == [2, 4, 6, 8]
    last = [row for row in rows if row["kind"] == "evaluation"][-1]
    assert {"text_to_video_r1", "video_to_text_r1", "accuracy", "accuracy_order", "accuracy_count"} <= set(last)
    train = next(row for row in rows if row["kind"] == "train")
    assert {"loss", "lr", "temperature", "caption_accuracy", "statement_accuracy", "gradient_norm"} <= set(train)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("stage", [pytest.param("image", marks=SLOW), "short", pytest.param("long", marks=SLOW)])
def test_a_killed_stage_resumes_to_the_same_curve_and_weights(config, recipe, tmp_path, stage):
    for earlier in ("image", "short"):
        if earlier != stage:
            (tmp_path / earlier).symlink_to(recipe / earlier)
    command = [sys.executable, "-m", "evals.cli", "pretrain", "--stage", stage, "-c", config, "-o", tmp_path]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)
    while not checkpoints(tmp_path / stage) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / stage / f"{stage}-micro.safetensors").exists()
    done = longvid("pretrain", "--stage", stage, "--config", config, "--out", tmp_path, "--resume")
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stdout
    assert curve(tmp_path / stage) == curve(recipe / stage)
    ours, theirs = ((root / stage / f"{stage}-micro.safetensors").read_bytes() for root in (tmp_path, recipe))
    assert ours == theirs


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(config, recipe, tmp_path):
    name = "image-micro.safetensors"
    for seed in (0, 1):
        done = longvid("pretrain", "--stage", "image", "-c", config, "-o", tmp_path / str(seed), "--seed", seed)
        assert done.returncode == 0, done.stderr
    again, other = ((tmp_path / str(seed) / "image" / name).read_bytes() for seed in (0, 1))
    assert again == (recipe / "image" / name).read_bytes()
    assert other != again


def test_a_run_is_not_overwritten(config, recipe):
    assert_one_line(longvid("pretrain", "--stage", "image", "-c", config, "-o", recipe), "--resume", "--out")


def test_a_run_asked_for_otherwise_is_not_resumed(config, recipe):
    done = longvid("pretrain", "--stage", "image", "-c", config, "-o", recipe, "--resume", "--set", "training.lr=2e-3")
    assert_one_line(done, "settings.training.lr was 0.001, now 0.002")


def test_a_run_goes_on_with_checkpoints_at_other_steps(config, recipe, tmp_path):
    shutil.copytree(recipe / "image", tmp_path / "image")
    more = ("--set", "training.save=2", "--set", "training.keep=3")
    done = longvid("pretrain", "--stage", "image", "-c", config, "-o", tmp_path, "--resume", *more)
    assert done.returncode == 0, done.stderr
    name = "image-micro.safetensors"
    assert (tmp_path / "image" / name).read_bytes() == (recipe / "image" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--stage", "longer"), ("micro.toml", "'longer'", "image, short, long")),
        (("--stage", "short"), ("'image'", "train that stage first")),
        (("--stage", "image", "--set", "training.step=3"), ("micro.toml: image: training", "'step'")),
        (("--stage", "image", "--set", "training.steps=two"), ("training.steps=two",)),
        (("--stage", "image", "--set", "training.warmup=9"), ("micro.toml: image: training", "warmup")),
        (("--stage", "image", "--set", "data.folder.path='x'"), ("micro.toml: image: data", "one source")),
        (("--stage", "image", "--set", "data.batch=100"), ("100",)),
    ],
)
def test_mistakes_are_named_with_file_and_key(config, tmp_path, arguments, words):
    assert_one_line(longvid("pretrain", *arguments, "-c", config, "-o", tmp_path), *words)


def test_a_config_that_is_no_toml_is_named(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("[image\n", encoding="utf-8")
    assert_one_line(longvid("pretrain", "--stage", "image", "-c", path, "-o", tmp_path), "broken.toml", "not TOML")


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_torchrun_trains_to_the_same_losses(config, recipe, tmp_path, parallel):
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29751", "-m", "evals.pretrain"]
    done = subprocess.run(
        [
            sys.executable,
            *launch,
            "--stage",
            "image",
            "-c",
            config,
            "-o",
            tmp_path,
            "--set",
            f'training.parallel="{parallel}"',
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for ours, theirs in zip(curve(tmp_path / "image"), curve(recipe / "image"), strict=True):
        assert ours["step"] == theirs["step"]
        if ours["kind"] == "train":
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
    assert load_encoder(tmp_path / "image" / "image-micro.safetensors").encoder.config.name == "image-micro"
