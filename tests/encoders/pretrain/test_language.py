"""The stage `lm`: a language model of our own learns the kitchen's words, from seed, to the bit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
import torch

from encoders.causal_lm.load import read_named
from encoders.config import LanguageShape
from encoders.pretrain.checkpoint import METRICS, WALL_CLOCK, checkpoints, read_rows
from encoders.pretrain.engine import Watch, train
from encoders.pretrain.kitchen import answered_questions, any_text
from encoders.pretrain.settings import StageSettings, read_settings
from encoders.pretrain.stages import Prepared, prepare
from encoders.pretrain.world import World
from encoders.v2t.task_model import task_text
from encoders.weights import read_tensors
from tasks.errors import ModelError
from tasks.kitchen.benchmark import PROMPTS, choice_items
from tasks.kitchen.plan import make_plan
from tasks.kitchen.texts import KINDS, paragraph
from tasks.multiple_choice import loglik_request
from tasks.prompt import load_prompt

CONFIG = """
[lm]
name = "words"
device = "cpu"
model = { init = "scratch" }
data = { batch = 8, frames = 16, kitchen = { videos = 40, between = "; " } }
lm = { width = 32, depth = 2, heads = 2, mlp = 64, vocabulary = 400 }
[lm.training]
steps = 8
lr = 1e-2
log = 1
save = 4
evaluate = 8
dtype = "float32"
[lm.evaluation]
videos = 12
data = { kitchen = { split = "val", videos = 12 } }
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> StageSettings:
    path = tmp_path_factory.mktemp("settings") / "recipe.toml"
    path.write_text(CONFIG)
    return read_settings(path, "lm")


def prepared(settings: StageSettings) -> Prepared:
    return prepare(settings, Path, World())


def trained(settings: StageSettings, run: Path) -> Prepared:
    run.mkdir(exist_ok=True)
    stage = prepared(settings)
    train(stage.job, settings.training, run, seed=settings.seed)
    return stage


@dataclass(frozen=True)
class Trained:
    """A whole training: its run, and the digest of the folder that was saved from it."""

    run: Path
    digest: str


@pytest.fixture(scope="module")
def whole(settings: StageSettings, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("whole")
    return Trained(folder / "run", trained(settings, folder / "run").save(folder / "words.safetensors"))


def curve(run: Path) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key not in WALL_CLOCK} for row in read_rows(run / METRICS)]


def test_the_loss_falls_and_is_measured_on_held_out_texts(whole: Trained) -> None:
    rows = read_rows(whole.run / METRICS)
    losses = [float(row["loss"]) for row in rows if row["kind"] == "train"]
    held_out = next(row for row in rows if row["kind"] == "evaluation")
    assert losses[-1] < 0.8 * losses[0]
    assert float(held_out["loss"]) < 0.8 * losses[0]


def test_an_interrupted_training_continues_to_the_bit(settings: StageSettings, whole: Trained, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(at: int, _loss: float) -> None:
        if at == 6:
            raise StoppedError

    (tmp_path / "broken").mkdir()
    with pytest.raises(StoppedError):
        train(prepared(settings).job, settings.training, tmp_path / "broken", seed=0, watch=Watch(step=stop))
    trained(settings, tmp_path / "broken")
    assert curve(tmp_path / "broken") == curve(whole.run)
    runs = (whole.run, tmp_path / "broken")
    one, other = (read_tensors(checkpoints(run)[-1] / "model.safetensors") for run in runs)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_same_seed_gives_the_same_folder_and_another_seed_another(
    settings: StageSettings, whole: Trained, tmp_path: Path
) -> None:
    again, other = (
        trained(replace(settings, seed=seed), tmp_path / str(seed)).save(tmp_path / f"{seed}.safetensors")
        for seed in (0, 1)
    )
    assert whole.digest == again != other


def test_the_folder_reads_as_any_language_model_and_says_the_same(settings: StageSettings, tmp_path: Path) -> None:
    stage = prepared(settings)
    digest = stage.save(tmp_path / "words.safetensors")
    read = read_named(f"transformers:{tmp_path / 'words'}", dtype="float32", device="cpu")
    assert (read.name, read.digest) == ("words", digest)
    ids = read.tokenizer("chop the onion", add_special_tokens=False, return_tensors="pt")["input_ids"]
    own = stage.job.step.lm(input_ids=ids).logits
    torch.testing.assert_close(read.model(ids).logits, own, atol=2e-2, rtol=2e-2)  # stored in bfloat16
    assert read.tokenizer.decode(ids[0]) == "chop the onion"
    assert read.tokenizer.bos_token_id is not None
    assert read.tokenizer.eos_token_id == read.model.generation_config.eos_token_id


def test_other_sources_are_refused_with_what_to_do(settings: StageSettings, tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text(
        CONFIG.replace('kitchen = { videos = 40, between = "; " }', 'manifest = { path = "x.jsonl" }').partition(
            "[lm.eval"
        )[0]
    )
    with pytest.raises(ModelError, match="published model"):
        prepared(read_settings(path, "lm"))


def test_a_question_is_asked_as_the_task_asks_it_and_answered_by_its_right_option() -> None:
    plan = make_plan("train", 3)
    views = answered_questions(plan, Random(1), 9)
    assert sorted(view.kind for view in views) == sorted(KINDS)
    prompt = load_prompt("tasks", PROMPTS.loglik or "")
    by_kind = {view.kind: view for view in views}
    items = {item.id.rpartition("-")[2]: item for item in choice_items(plan, Path())}
    for kind in {"accents", "count", "dish"} & set(items):  # their questions leave nothing to choose
        item, view = items[kind], by_kind[kind]
        request = loglik_request(item, prompt)
        assert view.prompt == task_text(request.prompt) + request.reply_start
        assert item.answer is not None
        assert view.text == item.options[item.answer]


def test_texts_are_of_every_kind_and_true() -> None:
    plan = make_plan("train", 5)
    rng = Random(0)
    views = [any_text(plan, rng, 16.0, "; ") for _ in range(60)]
    assert {"paragraph", "clip", "fact", "step"} < {view.kind for view in views}
    told = paragraph(plan)
    for view in views:
        if view.kind in {"paragraph", "clip", "step"}:
            assert view.text.replace("; ", " ") in told


def test_the_shape_bounds_the_vocabulary(settings: StageSettings) -> None:
    facts_of = prepared(settings).facts
    assert 300 < int(str(facts_of["vocabulary"])) <= 400
    assert LanguageShape().context > 160 + 100
