"""`longvid bench recipe`: the model written plainly is the same model, and both ways train on the same batches."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

from encoders.pretrain.engine import train
from encoders.pretrain.settings import read_settings
from encoders.pretrain.stages import Prepared, prepare
from encoders.pretrain.world import World
from lab.bench.plain import plain_of
from lab.bench.recipe import DATA, OURS, OURS_MADE, PLAIN, PLAIN_MADE, bare, period, stages_of, untrained
from lab.bench.result import Comparison
from lab.bench.suite import Asked, as_far_as_it_goes, compare_recipe
from tasks.errors import ModelError
from tests.evals.conftest import longvid

STAGES = """
[common]
device = "cpu"
[common.data]
kitchen = { videos = 16, false_captions = 2 }
[common.training]
steps = 4
lr = 1e-3
log = 1
dtype = "float32"

[image]
name = "image"
data = { batch = 8 }
[image.model]
init = "scratch"
preset = "imagevit-tiny"
vision = { width = 32, depth = 2, heads = 2, mlp = 48 }
text = { width = 32, depth = 2, heads = 2, mlp = 48, vocabulary = 300 }

[short]
name = "short"
data = { batch = 4, frames = 16, fps = 4.0 }
images = { every = 3 }
[short.model]
init = "image"
preset = "shortvivit-tiny"
vision = { width = 32, depth = 2, heads = 2, mlp = 48 }
text = { width = 32, depth = 2, heads = 2, mlp = 48, vocabulary = 300 }
mask = 0.5
[short.loss]
views = { statements = 2, false_statements = 2, circle = 4 }
statements = { weight = 2.0, temperature = 0.1 }

[texts]
name = "texts"
model = { init = "short" }
data = { batch = 4 }
loss = { views = { statements = 2, circle = 4 }, statements = { weight = 1.0 } }

[long]
name = "long"
data = { batch = 4, frames = 16 }
[long.model]
init = "texts"
mask = 0.5
mask_by = "time"
adapt = { method = "last", last = 1, tune_patches = false, tune_text = false, tune_text_proj = true }
[long.loss]
views = { statements = 2, circle = 4 }
statements = { weight = 1.0 }

[lm]
name = "lm"
model = { init = "scratch" }
data = { batch = 4, frames = 16 }
lm = { width = 32, depth = 2, heads = 2, mlp = 48, vocabulary = 300 }

[captions]
name = "captions"
model = { init = "long", mask = 0.5 }
v2t = { lm = "lm", lm_dtype = "float32", draws = 1, limit = 512, connector = { depth = 1, latents = 4 } }
data = { batch = 4, frames = 16 }
"""
NAMES = ("image", "short", "texts", "long", "lm", "captions")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(STAGES)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("untrained")


def prepared(config: Path, folder: Path, stage: str) -> Prepared:
    settings = bare(read_settings(config, stage, seed=0), 2)
    return prepare(settings, partial(untrained, config, folder, World()), World())


def learnt(module: nn.Module, loss: torch.Tensor) -> tuple[int, float]:
    """How many parameters have gradients, and the gradients' norm."""
    loss.backward()
    found = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return sum(map(torch.numel, found)), float(nn.utils.get_total_norm(found))


@pytest.mark.parametrize("stage", NAMES)
def test_the_plain_model_has_the_loss_and_the_gradients_of_ours(config: Path, folder: Path, stage: str) -> None:
    step = prepared(config, folder, stage).job.step.train()
    if stage == "captions":
        # A gate starts at zero, where nothing that it lets through counts.
        for parameter in step.model.connector.parameters():
            nn.init.normal_(parameter, std=0.2) if parameter.numel() == 1 else None
    plain = plain_of(step).train()
    batches = prepared(config, folder, stage).job.batches(0)
    for loaded in islice(batches, 3):
        loss, _ = step(loaded.batch)
        told = plain(loaded.batch)
        assert float(told.detach()) == pytest.approx(float(loss.detach()), rel=1e-5)
        ours, theirs = learnt(step, loss), learnt(plain, told)
        assert theirs[0] == ours[0]
        assert theirs[1] == pytest.approx(ours[1], rel=1e-3)
        step.zero_grad()
        plain.zero_grad()


def test_a_step_of_the_bench_is_one_of_the_engine(config: Path, folder: Path, tmp_path: Path) -> None:
    from lab.bench.recipe import train_ours

    plan = read_settings(config, "short", seed=0).training
    engine, bench = prepared(config, folder, "short"), prepared(config, folder, "short")
    train(engine.job, plan, tmp_path, seed=0)
    step = train_ours(bench.job, plan, World())
    for at, loaded in enumerate(islice(bench.job.batches(0), plan.steps)):
        step(loaded, at)
    for own, other in zip(bench.job.step.parameters(), engine.job.step.parameters(), strict=True):
        assert torch.equal(own, other)


def test_each_way_of_each_stage_is_timed(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    given = ("--stage", "short", "--stage", "captions", "--steps", 2, "--repeats", 1, "--json", file)
    done = longvid("bench", "recipe", "--config", config, *given)
    assert done.returncode == 0, done.stderr
    compared = json.loads(file.read_text())["comparisons"]
    assert [one["work"].split(":")[0] for one in compared] == ["short", "captions"]
    for one in compared:
        assert [row["name"] for row in one["rows"]] == [OURS, PLAIN, OURS_MADE, PLAIN_MADE, DATA]
        assert one["facts"] == {"steps": 2, "samples": 8}
        for row in one["rows"]:
            assert row["missing"] is None
            assert row["facts"]["samples_per_second"] == pytest.approx(8 / row["seconds"][0])


def test_all_stages_are_those_of_the_file_and_a_round_has_all_kinds_of_batches(config: Path) -> None:
    assert stages_of(config) == NAMES
    assert period(read_settings(config, "short")) == 3
    mixed = read_settings(Path("encoders/configs/pretrain/kitchen-tiny.toml"), "long-full")
    assert period(mixed) == 24


def test_what_is_not_written_plainly_is_refused() -> None:
    with pytest.raises(ModelError, match="Linear has no plain counterpart"):
        plain_of(nn.Linear(1, 1))


def test_a_machine_without_the_libraries_says_so_and_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "lab.bench.recipe")
    monkeypatch.setitem(sys.modules, "encoders.pretrain.stages", None)
    said: list[str] = []
    part = partial(compare_recipe, Asked("cpu").filled(), said.append)
    (left_out,) = as_far_as_it_goes("training steps of image", part, said.append)
    assert left_out.row(OURS).missing == "encoders.pretrain.stages is not installed"
    assert said == ["training steps of image: left out, encoders.pretrain.stages is not installed"]


def test_what_was_measured_before_a_part_fails_is_kept() -> None:
    def part() -> Iterator[Comparison]:
        yield Comparison("first", ())
        raise torch.OutOfMemoryError("CUDA out of memory\nand more")

    first, second = as_far_as_it_goes("all of it", part, lambda _note: None)
    assert (first.work, second.work) == ("first", "all of it")
    assert second.row(OURS).missing == "OutOfMemoryError: CUDA out of memory"


def test_an_unknown_stage_is_one_line(config: Path) -> None:
    done = longvid("bench", "recipe", "--config", config, "--stage", "shrot")
    assert done.returncode == 2
    assert "has no stage 'shrot'; it has image, short" in done.stderr
