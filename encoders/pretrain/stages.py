"""Build what the engine trains from a stage's settings: encoder, tokenizer, data, loss, evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from encoders.build import state_digest
from encoders.causal_lm.load import (
    SMOLLM2,
    TRANSFORMERS,
    build_language_model,
    dtype_of,
    for_transformers,
    read_named,
    save_language_model,
)
from encoders.config import EncoderConfig, VisionConfig, preset
from encoders.dual import BertTower, DualEncoder, build_encoder
from encoders.from_open_clip import from_open_clip
from encoders.pretrain.captions import CaptionCollate, CaptionStep, CaptionTexts, WatchedClips, caption_sums, watch_once
from encoders.pretrain.contrastive import Collate, ContrastiveStep, Views
from encoders.pretrain.data import Loader, Sample, Source, TextView, mixed, prefetched
from encoders.pretrain.engine import autocast
from encoders.pretrain.evaluate import Evaluation
from encoders.pretrain.facts import FactsEncoder
from encoders.pretrain.files import open_source
from encoders.pretrain.kitchen import KitchenSource
from encoders.pretrain.language import KitchenTexts, LanguageEvaluation, LanguageStep
from encoders.pretrain.settings import (
    VIEW_OF,
    DataSettings,
    EvaluationSettings,
    MixedSettings,
    ModelSettings,
    StageSettings,
    merged,
)
from encoders.pretrain.step import Batches, Job, Request, seed_of
from encoders.pretrain.world import World, sharing_units
from encoders.tokens import TextTokenizer, train_tokenizer
from encoders.transfer import transfer
from encoders.v2t.model import VideoToText, build_connector, config_for
from encoders.v2t.weights import Part, lm_part, save_video_to_text
from encoders.weights import load_encoder, save_encoder
from tasks.digests import file_sha256
from tasks.errors import DataError, ModelError
from tasks.task import JsonValue

SCRATCH, OPEN_CLIP = "scratch", "openclip:"
TEXTS_PER_VIDEO = 4
"""Texts encoded at a time per video of a chunk: a text takes far less memory."""
StageWeights = Callable[[str], Path]
"""Returns the weights path of another stage of the same file."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A stage ready to train; `facts` are for the record.

    `save` writes what was trained to a .safetensors file and returns its digest.
    """

    job: Job
    save: Callable[[Path], str]
    facts: dict[str, JsonValue]


def prepare(settings: StageSettings, weights_of: StageWeights, world: World, where: str = "stage") -> Prepared:
    """Build the stage.

    Raises ModelError, naming `where`, or DataError if settings, weights and data don't fit together.
    """
    if settings.stage == "lm":
        return prepare_language(settings, world)
    if settings.stage == "captions":
        return prepare_captions(settings, weights_of, world)
    if settings.stage == "texts":
        return prepare_texts(settings, weights_of, world)
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


def prepare_texts(settings: StageSettings, weights_of: StageWeights, world: World) -> Prepared:
    """Build the stage; without `adapt.tune_text` it measures what texts as they are let an encoder say at most.

    Raises ModelError for `scratch` and for data other than kitchen's.
    """
    start = load_start(settings.model, weights_of)
    if start is None or settings.data.kitchen is None:
        raise ModelError("the stage 'texts' goes on from an encoder, and knows the facts of data.kitchen only")
    encoder, tokenizer = start
    reader = FactsEncoder(encoder, seed=settings.seed)
    encoder.text.requires_grad_(settings.model.adapt.tune_text)
    if world.device.type == "cpu" and isinstance(encoder.text, BertTower):
        encoder.text.use_plain_attention()
    reader.to(world.device)
    source = stage_source(settings, settings.data, encoder.config.vision)
    facts: dict[str, JsonValue] = {
        "init": settings.model.init,
        "initial_weights_sha256": state_digest(encoder),
        "data": source.facts,
        "parameters": sum(p.numel() for p in {*encoder.parameters(), *reader.parameters()}),
        "trainable": sum(p.numel() for p in reader.parameters() if p.requires_grad),
    }
    step = ContrastiveStep(reader, statements=settings.loss.statements)
    batches = stage_batches(settings, source, reader, tokenizer, world)
    job = Job(step, batches, measured(settings, reader, tokenizer, world))
    return Prepared(job, partial(save_encoder, encoder, tokenizer), facts)


def load_start(model: ModelSettings, weights_of: StageWeights) -> tuple[DualEncoder, TextTokenizer] | None:
    """Load the encoder that `init` names, None for scratch."""
    if model.init == SCRATCH:
        return None
    if model.init.startswith(OPEN_CLIP):
        # Names like hf-hub:ORG/REPO and local-dir:PATH contain colons, so the tag follows an @.
        name, _, pretrained = model.init.removeprefix(OPEN_CLIP).partition("@")
        return from_open_clip(name, pretrained or None)
    loaded = load_encoder(start_path(model, weights_of))
    return loaded.encoder, loaded.tokenizer


def start_path(model: ModelSettings, weights_of: StageWeights) -> Path:
    """Return the weights file that `init` names, as a path or a stage. Raises ModelError if it is missing."""
    path = Path(model.init) if model.init.endswith(".safetensors") else weights_of(model.init)
    if not path.is_file():
        raise ModelError(f"model: init '{model.init}': no weights at {path}; train that stage first")
    return path


def encoder_config(settings: StageSettings, start: EncoderConfig | None, where: str) -> EncoderConfig:
    """Return the stage's encoder config: a preset's, or the earlier stage's, with the settings' changes."""
    model = settings.model
    base = preset(model.preset) if model.preset else start
    if base is None:
        raise ModelError(f"{where}: model: init '{SCRATCH}' needs a preset")
    data = merged(dataclasses.asdict(base), {"vision": model.vision, "text": model.text})
    data |= {"name": settings.name, "adapt": dataclasses.asdict(model.adapt)}
    return EncoderConfig.from_dict(data, f"{where}: model")


def stage_source(
    settings: StageSettings, data: DataSettings, vision: VisionConfig, *, held_out: bool = False
) -> Source:
    """Open a data source, read as in the stage unless the data settings differ."""
    return open_source(replace(data, view=data.view or VIEW_OF[settings.stage]), vision.size, held_out=held_out)


def stage_batches(
    settings: StageSettings, source: Source, encoder: DualEncoder, tokenizer: TextTokenizer, world: World
) -> Batches:
    """Return the stage's batches, mixed with images if the settings say so."""
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
        if added.data.view != "image":  # images have no statements
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
    """Return the settings of batches mixed into those of videos, by name: clips and images."""
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
    """Return the evaluations of the first process: the stage's own, and those of clips and images if set.

    None if the settings name none.
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
    """Return the stage's own evaluation for the first process, None if the settings name none."""
    if settings.evaluation is None or not world.first:
        return None
    data = settings.evaluation.data
    source = stage_source(settings, data, encoder.config.vision, held_out=True)
    videos = min(settings.evaluation.videos, len(source))
    return Evaluation(encoder, tokenizer, source, videos, data.batch, world.device, settings.training.dtype)


def prepare_captions(settings: StageSettings, weights_of: StageWeights, world: World) -> Prepared:
    """Build the stage. Raises ModelError or DataError if settings, weights and data don't fit together."""
    encoder, encoder_part = open_encoder(settings, weights_of)
    spec = lm_spec(settings.v2t.lm, weights_of)
    lm = read_named(spec, dtype=settings.v2t.lm_dtype, device=str(world.device))
    changes = {**settings.v2t.connector, "mask": settings.model.mask}
    config = config_for(encoder.config.vision, lm.model.config, **changes)
    connector = build_connector(config, seed=settings.seed)
    model = VideoToText(encoder.vision, connector, lm.model).to(world.device)
    texts = CaptionTexts(lm.tokenizer, config.prompt, settings.v2t.limit)
    source = stage_source(settings, settings.data, encoder.config.vision)
    language_part = lm_part(spec, lm)
    facts: dict[str, JsonValue] = {
        "init": settings.model.init,
        "encoder_sha256": encoder_part.sha256,
        "llm": lm.name,
        "llm_sha256": language_part.sha256,
        "data": source.facts,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
    batches = caption_batches(settings, source, model, texts, world)
    job = Job(CaptionStep(model), batches, caption_evaluation(settings, model, texts, world))
    stored = dtype_of(settings.v2t.stored)
    return Prepared(job, partial(save_video_to_text, connector, encoder_part, language_part, dtype=stored), facts)


def lm_spec(name: str, weights_of: StageWeights) -> str:
    """Return the language model that the settings name; a stage's as its folder. Raises ModelError if it is missing."""
    if name == SMOLLM2 or ":" in name:
        return name
    folder = weights_of(name).with_suffix("")
    if not folder.is_dir():
        raise ModelError(f"v2t: lm '{name}': no language model at {folder}; train that stage first")
    return f"{TRANSFORMERS}:{folder}"


def open_encoder(settings: StageSettings, weights_of: StageWeights) -> tuple[DualEncoder, Part]:
    """Load the frozen encoder that `init` names, and return it with its description for checkpoints."""
    init = settings.model.init
    if init.startswith(OPEN_CLIP):
        start = load_start(settings.model, weights_of)
        if start is None:
            raise ModelError(f"model: init '{init}' is not an encoder")
        return start[0], Part(init.partition("@")[0], state_digest(start[0]))
    path = start_path(settings.model, weights_of)
    return load_encoder(path).encoder, Part(path.name, file_sha256(path))


def caption_batches(
    settings: StageSettings, source: Source, model: VideoToText, texts: CaptionTexts, world: World
) -> Batches:
    """Return batches of pixels or, with `draws`, of spatial tokens computed now."""
    data, seed = settings.data, seed_of(settings.seed, "data")
    if model.vision is None:
        raise ModelError("the stage 'captions' needs an encoder")
    if settings.v2t.draws == 0:
        collate = CaptionCollate(model.vision.config, texts, settings.model.mask)
        return Loader(source, data.batch, collate, seed, world, data.family)
    captions: list[tuple[TextView, ...]] = []

    def videos() -> Iterator[torch.Tensor]:
        """Yield each video's pixels, one at a time in memory, and keep its texts."""
        for sample in source.load(Request(index, seed_of(seed, "sample", index)) for index in range(len(source))):
            if not isinstance(sample, Sample):
                raise DataError(f"{sample.key} can't be encoded before training: {sample.error}")
            captions.append(sample.captions)
            yield torch.from_numpy(sample.pixels)

    with autocast(world.device, settings.training.dtype):
        tokens = watch_once(model, videos(), settings.model.mask, settings.v2t.draws, seed)
    return WatchedClips(tokens, tuple(captions), texts, data.batch, seed, world)


@dataclass(frozen=True, slots=True)
class CaptionEvaluation:
    """Loss (nats per token) and next-token accuracy on the first `videos` samples of a held-out source."""

    model: VideoToText
    collate: CaptionCollate
    source: Source
    videos: int
    batch: int
    device: torch.device
    dtype: str

    def __call__(self) -> dict[str, float]:
        """Return the figures, and how many samples could not be read."""
        requests = [Request(index, seed_of(0, "evaluation", index)) for index in range(self.videos)]
        found = self.source.load(requests)
        sums, unread = torch.zeros(3), 0
        while chunk := list(islice(found, self.batch)):
            good = [sample for sample in chunk if isinstance(sample, Sample)]
            unread += len(chunk) - len(good)
            if good:
                seeds = [seed_of(0, "evaluation", sample.key) for sample in good]
                batch = self.collate(good, seeds).to(self.device)
                with autocast(self.device, self.dtype):
                    logits = self.model(batch.video, batch.rows, batch.keep)
                sums += torch.stack(caption_sums(logits, batch.rows)).cpu()
        loss, hits, tokens = sums.tolist()
        figures = {"loss": loss / tokens, "token_accuracy": hits / tokens} if tokens else {}
        return figures | ({"unread": float(unread)} if unread else {})


def caption_evaluation(
    settings: StageSettings, model: VideoToText, texts: CaptionTexts, world: World
) -> CaptionEvaluation | None:
    """Return the evaluation of the first process, None if the settings name none."""
    if settings.evaluation is None or not world.first or model.vision is None:
        return None
    data = settings.evaluation.data
    source = stage_source(settings, data, model.vision.config, held_out=True)
    collate = CaptionCollate(model.vision.config, texts, settings.model.mask)
    videos = min(settings.evaluation.videos, len(source))
    return CaptionEvaluation(model, collate, source, videos, data.batch, world.device, settings.training.dtype)


def prepare_language(settings: StageSettings, world: World) -> Prepared:
    """Build the stage. Raises ModelError for data other than kitchen's: use a published model for those."""
    kitchen = settings.data.kitchen
    if kitchen is None:
        raise ModelError(
            "the stage 'lm' learns the words of data.kitchen only; name a published model as v2t.lm instead"
        )
    source = KitchenSource(kitchen, "video", frames=1, fps=1.0, size=64)
    ours = train_tokenizer(source.texts(), settings.lm.vocabulary)
    model = build_language_model(settings.lm, ours, seed=settings.seed)
    if world.device.type == "cpu":
        # As in the text towers, SDPA's backward pass is slow on CPU.
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

    return Prepared(Job(step, batches, language_evaluation(settings, step, batches, world)), save, facts)


def language_evaluation(
    settings: StageSettings, step: LanguageStep, batches: KitchenTexts, world: World
) -> LanguageEvaluation | None:
    """Return the evaluation of the first process, None if the settings name none."""
    if settings.evaluation is None or not world.first:
        return None
    data: DataSettings = settings.evaluation.data
    if data.kitchen is None:
        raise ModelError("the stage 'lm' is measured on data.kitchen only")
    held_out = replace(batches, kitchen=data.kitchen, batch=data.batch, seed=seed_of(0, "evaluation"), world=World())
    return LanguageEvaluation(step, held_out, settings.evaluation.videos, world.device, settings.training.dtype)
