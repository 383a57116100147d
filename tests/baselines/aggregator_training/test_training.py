"""The aggregator's language model trains on the prompts that the test asks, and gets better at them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.resources import resource

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from baselines.aggregator_training import (
    AggregatorSettings,
    ChoiceStep,
    QuestionBatch,
    as_tested,
    ask,
    captioned_plans,
    prepare_aggregator,
    read_aggregator_settings,
    video_questions,
)
from baselines.captions import CaptionFile, load_captions
from baselines.llm.load import load_language_model
from baselines.llm.local import as_language_model
from encoders.causal_lm.load import read_named
from encoders.pretrain.checkpoint import Plan
from encoders.pretrain.engine import train
from encoders.pretrain.world import World
from tasks.errors import DataError, ModelError
from tasks.kitchen.files import write_split
from tasks.kitchen.plan import make_plan
from tasks.multiple_choice import loglik_request
from tests.encoders.causal_lm.tiny import SIZES, byte_tokenizer

CONFIG = resource("baselines", "configs", "kitchen-aggregator.toml")


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny language model that reads long prompts, as users name it."""
    folder = tmp_path_factory.mktemp("lm")
    torch.manual_seed(3)
    LlamaForCausalLM(LlamaConfig(**{**SIZES, "num_hidden_layers": 2, "max_position_embeddings": 8192})).save_pretrained(
        folder
    )
    byte_tokenizer().save_pretrained(folder)
    return f"transformers:{folder}"


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Annotations of a few videos of train and val."""
    folder = tmp_path_factory.mktemp("captions")
    for split in ("train", "val"):
        write_split(folder / f"{split}.json", split, 2)
    return {split: folder / f"{split}.json" for split in ("train", "val")}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What a captioner said of the same videos, in so few words that prompts are short."""
    folder = tmp_path_factory.mktemp("spoken")
    for split in ("train", "val"):
        rows = [
            {"video": f"{make_plan(split, index).id}.mp4", "start": start, "end": start + 16, "text": "salt goes in"}
            for index in range(2)
            for start in (0, 16)
        ]
        lines = "".join(json.dumps({**row, "captioner": "someone"}) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return {split: folder / f"{split}.jsonl" for split in ("train", "val")}


def settings(lm: str, steps: int = 3) -> AggregatorSettings:
    plan = Plan(steps=steps, lr=3e-2, weight_decay=0.0, dtype="float32", log=1, save=steps)
    return AggregatorSettings("tiny", plan, llm=lm, dtype="float32", batch=1, videos=2, held_out=1)


def test_training_weighs_what_the_test_weighs(lm: str, captions: dict[str, Path]) -> None:
    loaded = read_named(lm, dtype="float32")
    llm = as_language_model(loaded)
    tokenise = as_tested(llm, load_captions(captions["train"]), settings(lm))
    asked = video_questions(make_plan("train", 0))
    with torch.no_grad():
        trained_on = ChoiceStep(loaded.model, 0.1).means(ask(asked, tokenise))
    requests = [loglik_request(item, tokenise.prompt) for item in asked.items]
    for means, tested in zip(trained_on, tokenise.aggregator.score_options(requests), strict=True):
        assert means.tolist() == pytest.approx(tested.scores, abs=1e-4)


def test_the_loss_falls_and_the_adapter_serves_the_aggregator(lm: str, spoken: dict[str, Path], tmp_path: Path) -> None:
    prepared = prepare_aggregator(settings(lm), spoken["train"], spoken["val"], World())
    step, batches = prepared.job.step, prepared.job.batches(0)
    batch = next(batches).batch
    assert isinstance(batch, QuestionBatch)
    with torch.no_grad():
        before = float(step(batch)[0])
    train(prepared.job, settings(lm).training, tmp_path, seed=0)
    with torch.no_grad():
        assert float(step(batch)[0]) < before
    prepared.save(tmp_path / "tiny.safetensors")
    adapted = load_language_model(lm, dtype="float32", lora=tmp_path / "tiny.safetensors")
    assert adapted.info.details["lora"] == "tiny"


def test_it_learns_from_what_a_captioner_said_of_a_folder_of_videos(lm: str, spoken: dict[str, Path]) -> None:
    prepared = prepare_aggregator(settings(lm), spoken["train"], spoken["val"], World())
    assert prepared.facts["captioner"] == "someone"
    batch = next(prepared.job.batches(0)).batch
    assert isinstance(batch, QuestionBatch)
    with torch.no_grad():
        assert float(prepared.job.step(batch)[0]) > 0


def test_evaluation_tells_each_kind_of_question(lm: str, captions: dict[str, Path]) -> None:
    prepared = prepare_aggregator(settings(lm), captions["train"], captions["val"], World())
    assert prepared.job.evaluate is not None
    found = prepared.job.evaluate()
    kinds = {f"accuracy_{kind}" for kind in ("order", "accents", "count", "cause", "missing", "dish")}
    assert set(found) == {"accuracy", *kinds}


def test_a_video_without_captions_is_named() -> None:
    none = CaptionFile(Path("x.json"), "", "nobody", {})
    with pytest.raises(DataError, match=r"x.json has no captions for 2 of the first 2 train videos \(kitchen-train-"):
        captioned_plans("train", none, 2)


def test_the_shipped_settings_read_and_wrong_ones_are_named(tmp_path: Path) -> None:
    assert read_aggregator_settings(CONFIG, seed=3, changes=["training.steps=20"]).seed == 3
    with pytest.raises(ModelError, match="unknown key 'more'"):
        read_aggregator_settings(CONFIG, changes=["more=1"])
    with pytest.raises(ModelError, match="batch must be at least 1"):
        read_aggregator_settings(CONFIG, changes=["batch=0"])
    with pytest.raises(ModelError, match="no training config"):
        read_aggregator_settings(tmp_path / "none.toml")


def test_an_adapter_on_a_served_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="LoRA adapter needs llm smollm2 or transformers"):
        load_language_model("openai:x", lora=tmp_path / "a.safetensors")
