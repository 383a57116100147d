"""From a stage's settings to what the engine trains: encoder, tokenizer, data, loss, evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn

from encoders.blocks import Attention, Mlp
from encoders.build import state_digest
from encoders.config import EncoderConfig, VisionConfig
from encoders.dual import DualEncoder, build_encoder
from encoders.from_open_clip import from_open_clip
from encoders.presets import preset
from encoders.pretrain.batch import Collate, Views
from encoders.pretrain.contrastive import ContrastiveStep
from encoders.pretrain.evaluate import Evaluation
from encoders.pretrain.loader import Loader, mixed, prefetched
from encoders.pretrain.order import seed_of
from encoders.pretrain.samples import Source
from encoders.pretrain.settings import (
    VIEW_OF,
    DataSettings,
    EvaluationSettings,
    MixedSettings,
    ModelSettings,
    StageSettings,
    merged,
)
from encoders.pretrain.sources import open_source
from encoders.pretrain.step import Batches, Job
from encoders.pretrain.world import World
from encoders.text import BertTower
from encoders.tokens import TextTokenizer, train_tokenizer
from encoders.transfer import transfer
from encoders.weights import load_encoder, save_encoder
from tasks.errors import ModelError
from tasks.task import JsonValue

SCRATCH, OPEN_CLIP = "scratch", "openclip:"
TEXTS_PER_VIDEO = 4
"""Texts encoded at a time for each video of a chunk: a text costs far less memory."""
StageWeights = Callable[[str], Path]
"""Where another stage of the same file leaves its weights."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A stage ready to train; `facts` say for the record what it starts from.

    `save` writes what was trained to a .safetensors file and gives its digest.
    """

    job: Job
    save: Callable[[Path], str]
    facts: dict[str, JsonValue]


def prepare(settings: StageSettings, weights_of: StageWeights, world: World, where: str = "stage") -> Prepared:
    """Build the stage. Raises ModelError, naming `where`, or DataError where settings, weights and data don't fit."""
    if settings.stage == "lm":
        from encoders.pretrain.language_stage import prepare_language

        return prepare_language(settings, world)
    if settings.stage == "captions":
        from encoders.pretrain.caption_stage import prepare_captions

        return prepare_captions(settings, weights_of, world)
    start = load_start(settings.model, weights_of)
    config = encoder_config(settings, start[0].config if start else None, where)
    source = stage_source(settings, settings.data, config.vision)
    if start:
        encoder = transfer(start[0], config, time_std=settings.model.time_std, seed=settings.seed)
        tokenizer = start[1]
    else:
        encoder = build_encoder(config, seed=settings.seed)
        tokenizer = train_tokenizer(source.texts(), config.text.vocabulary)
    encoder.vision.checkpointing = settings.model.checkpointing
    if world.device.type == "cpu" and isinstance(encoder.text, BertTower):
        encoder.text.use_plain_attention()
    encoder.to(world.device)
    step = ContrastiveStep(encoder, chunk=settings.loss.chunk, statements=settings.loss.statements)
    batches = stage_batches(settings, source, encoder, tokenizer, world)
    if world.device.type != "cpu":
        batches = prefetched(batches)
    facts: dict[str, JsonValue] = {
        "init": settings.model.init,
        "initial_weights_sha256": state_digest(encoder),
        "data": source.facts,
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "trainable": sum(p.numel() for p in encoder.parameters() if p.requires_grad),
    }
    shared = settings.training.parallel == "fsdp" and world.size > 1
    twin = deepcopy(step) if shared and world.first else None
    shown = twin.encoder if twin else encoder
    job = Job(step, batches, measured(settings, shown, tokenizer, world), sharing_units(encoder), twin)
    return Prepared(job, partial(save_encoder, shown, tokenizer), facts)


def load_start(model: ModelSettings, weights_of: StageWeights) -> tuple[DualEncoder, TextTokenizer] | None:
    """The encoder that `init` names, None for scratch."""
    if model.init == SCRATCH:
        return None
    if model.init.startswith(OPEN_CLIP):
        # Names like hf-hub:ORG/REPO and local-dir:PATH hold colons, so the tag stands after an @.
        name, _, pretrained = model.init.removeprefix(OPEN_CLIP).partition("@")
        return from_open_clip(name, pretrained or None)
    loaded = load_encoder(start_path(model, weights_of))
    return loaded.encoder, loaded.tokenizer


def start_path(model: ModelSettings, weights_of: StageWeights) -> Path:
    """The weights file that `init` names, itself or by its stage. Raises ModelError when it is not there."""
    path = Path(model.init) if model.init.endswith(".safetensors") else weights_of(model.init)
    if not path.is_file():
        raise ModelError(f"model: init '{model.init}': no weights at {path}; train that stage first")
    return path


def encoder_config(settings: StageSettings, start: EncoderConfig | None, where: str) -> EncoderConfig:
    """The stage's encoder: a preset, or the earlier stage's, with the settings' changes."""
    model = settings.model
    base = preset(model.preset) if model.preset else start
    if base is None:
        raise ModelError(f"{where}: model: init '{SCRATCH}' needs a preset")
    data = merged(dataclasses.asdict(base), {"vision": model.vision, "text": model.text})
    data |= {"name": settings.name, "adapt": dataclasses.asdict(model.adapt)}
    return EncoderConfig.from_dict(data, f"{where}: model")


def sharing_units(encoder: DualEncoder) -> tuple[nn.Module, ...]:
    """The parts that FSDP shares out one by one: attention and feed-forward of the vision tower.

    Norms stay with the rest, in float32. So does the text tower: the number of texts, and with it how often that
    tower runs, differs between processes.
    """
    return tuple(module for module in encoder.vision.modules() if isinstance(module, Attention | Mlp))


def stage_source(
    settings: StageSettings, data: DataSettings, vision: VisionConfig, *, held_out: bool = False
) -> Source:
    """The source of some data, looked at as the stage does unless the data say otherwise."""
    return open_source(replace(data, view=data.view or VIEW_OF[settings.stage]), vision.size, held_out=held_out)


def stage_batches(
    settings: StageSettings, source: Source, encoder: DualEncoder, tokenizer: TextTokenizer, world: World
) -> Batches:
    """The stage's batches, with those of images among them where the settings say so."""
    vision, loss = encoder.config.vision, settings.loss
    context = encoder.config.text.context
    model = settings.model
    collate = Collate(
        vision, tokenizer, context, loss.views, model.mask, TEXTS_PER_VIDEO * loss.chunk, mask_by=model.mask_by
    )
    data = settings.data
    check_circle(loss.views, data.batch // world.size, "loss")
    batches: Batches = Loader(source, data.batch, collate, seed_of(settings.seed, "data"), world, data.family)
    for name, added in mixed_in(settings).items():
        views = added.views or loss.views
        if added.data.view != "image":  # of which there are no statements
            check_circle(views, added.data.batch // world.size, f"{name}: views")
        others = Loader(
            stage_source(settings, added.data, vision),
            added.data.batch,
            replace(collate, views=views, mask=added.mask, label=f"{name}_"),
            seed_of(settings.seed, name),
            world,
            added.data.family,
        )
        batches = mixed(batches, others, added.every)
    return batches


def mixed_in(settings: StageSettings) -> dict[str, MixedSettings]:
    """The batches among those of videos, by name, their data looked at as clips and as images."""
    found = {}
    if settings.clips:
        found["clips"] = replace(settings.clips, data=replace(settings.clips.data, view="clip"))
    if settings.images:
        found["images"] = replace(settings.images, data=replace(settings.images.data, view="image", frames=1))
    return found


def check_circle(views: Views, share: int, where: str) -> None:
    """Raise ModelError, naming `where`, for circles that don't divide a process's share of a batch."""
    if share % views.circle:
        raise ModelError(f"{where}: circles of {views.circle} don't divide a process's share of {share} samples")


def measured(
    settings: StageSettings, encoder: DualEncoder, tokenizer: TextTokenizer, world: World
) -> Callable[[], dict[str, float]] | None:
    """What to measure in the first process: the stage's own evaluation, and clips and images where they ask for it.

    None where the settings name nothing.
    """
    if settings.evaluation is None:
        return None
    evaluations = {"": evaluation(settings, encoder, tokenizer, world)}
    for name, added in mixed_in(settings).items():
        if added.held_out:
            view, frames, fps = added.data.view, added.data.frames, added.data.fps
            data = replace(settings.evaluation.data, view=view, frames=frames, fps=fps)
            of_these = replace(settings, evaluation=EvaluationSettings(added.held_out, data))
            evaluations[f"{name}_"] = evaluation(of_these, encoder, tokenizer, world)
    chosen = {name: one for name, one in evaluations.items() if one}
    if not chosen:
        return None
    return lambda: {f"{name}{key}": value for name, one in chosen.items() for key, value in one().items()}


def evaluation(
    settings: StageSettings, encoder: DualEncoder, tokenizer: TextTokenizer, world: World
) -> Evaluation | None:
    """The stage's own evaluation in the first process, None where the settings name nothing."""
    if settings.evaluation is None or not world.first:
        return None
    data = settings.evaluation.data
    source = stage_source(settings, data, encoder.config.vision, held_out=True)
    videos = min(settings.evaluation.videos, len(source))
    return Evaluation(encoder, tokenizer, source, videos, data.batch, world.device, settings.training.dtype)
