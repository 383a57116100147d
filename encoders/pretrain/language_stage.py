"""The stage `lm`, from its settings to what the engine trains: a language model of our own, from scratch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from encoders.causal_lm.own import build_language_model, for_transformers, save_language_model
from encoders.pretrain.captions import CaptionTexts
from encoders.pretrain.kitchen import KitchenSource
from encoders.pretrain.language import KitchenTexts, LanguageEvaluation, LanguageStep
from encoders.pretrain.order import seed_of
from encoders.pretrain.settings import DataSettings, StageSettings
from encoders.pretrain.stages import Prepared
from encoders.pretrain.step import Job
from encoders.pretrain.world import World
from encoders.tokens import train_tokenizer
from tasks.errors import ModelError
from tasks.task import JsonValue


def prepare_language(settings: StageSettings, world: World) -> Prepared:
    """Build the stage. Raises ModelError where its data are not the kitchen's: for others, take a published model."""
    kitchen = settings.data.kitchen
    if kitchen is None:
        raise ModelError(
            "the stage 'lm' learns the words of data.kitchen only; name a published model as v2t.lm instead"
        )
    source = KitchenSource(kitchen, "video", frames=1, fps=1.0, size=64)
    ours = train_tokenizer(source.texts(), settings.lm.vocabulary)
    model = build_language_model(settings.lm, ours, seed=settings.seed)
    if world.device.type == "cpu":
        # As for the text towers: SDPA's backward pass is slow there.
        model.set_attn_implementation("eager")
    tokenizer = for_transformers(ours)
    texts = CaptionTexts(tokenizer, limit=settings.lm.context)
    seconds = settings.data.frames / settings.data.fps
    batches = KitchenTexts(kitchen, seconds, texts, settings.data.batch, seed_of(settings.seed, "data"), world)
    step = LanguageStep(model)
    facts: dict[str, JsonValue] = {
        "init": settings.model.init,
        "data": source.facts,
        "vocabulary": ours.size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }

    def save(path: Path) -> str:
        return save_language_model(model, tokenizer, path.with_suffix(""))

    return Prepared(Job(step, batches, evaluation(settings, step, batches, world)), save, facts)


def evaluation(
    settings: StageSettings, step: LanguageStep, batches: KitchenTexts, world: World
) -> LanguageEvaluation | None:
    """What to measure in the first process, None where the settings name nothing."""
    if settings.evaluation is None or not world.first:
        return None
    data: DataSettings = settings.evaluation.data
    if data.kitchen is None:
        raise ModelError("the stage 'lm' is measured on data.kitchen only")
    held_out = replace(batches, kitchen=data.kitchen, batch=data.batch, seed=seed_of(0, "evaluation"), world=World())
    return LanguageEvaluation(step, held_out, settings.evaluation.videos, world.device, settings.training.dtype)
