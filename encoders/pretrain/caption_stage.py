"""The stage `captions`, from its settings to what the engine trains: encoder and language model frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch

from encoders.build import state_digest
from encoders.causal_lm.load import SMOLLM2, TRANSFORMERS, dtype_of, read_named
from encoders.dual import DualEncoder
from encoders.pretrain.captions import (
    CaptionCollate,
    CaptionStep,
    CaptionTexts,
    WatchedClips,
    caption_sums,
    watch_once,
)
from encoders.pretrain.engine import autocast
from encoders.pretrain.loader import Loader
from encoders.pretrain.order import Request, seed_of
from encoders.pretrain.samples import Sample, Source, TextView
from encoders.pretrain.settings import StageSettings
from encoders.pretrain.stages import OPEN_CLIP, Prepared, StageWeights, load_start, stage_source, start_path
from encoders.pretrain.step import Batches, Job
from encoders.pretrain.world import World
from encoders.v2t.config import config_for
from encoders.v2t.connector import build_connector
from encoders.v2t.model import VideoToText
from encoders.v2t.parts import lm_part
from encoders.v2t.weights import Part, save_video_to_text
from encoders.weights import load_encoder
from tasks.digests import file_sha256
from tasks.errors import DataError, ModelError
from tasks.task import JsonValue


def prepare_captions(settings: StageSettings, weights_of: StageWeights, world: World) -> Prepared:
    """Build the stage. Raises ModelError or DataError where settings, weights and data don't fit."""
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
    job = Job(CaptionStep(model), batches, evaluation(settings, model, texts, world))
    stored = dtype_of(settings.v2t.stored)
    return Prepared(job, partial(save_video_to_text, connector, encoder_part, language_part, dtype=stored), facts)


def lm_spec(name: str, weights_of: StageWeights) -> str:
    """The language model that the settings name, a stage's as its folder. Raises ModelError where it is not there."""
    if name == SMOLLM2 or ":" in name:
        return name
    folder = weights_of(name).with_suffix("")
    if not folder.is_dir():
        raise ModelError(f"v2t: lm '{name}': no language model at {folder}; train that stage first")
    return f"{TRANSFORMERS}:{folder}"


def open_encoder(settings: StageSettings, weights_of: StageWeights) -> tuple[DualEncoder, Part]:
    """The frozen encoder that `init` names, and how a checkpoint names it."""
    init = settings.model.init
    if init.startswith(OPEN_CLIP):
        start = load_start(settings.model, weights_of)
        if start is None:
            raise ModelError(f"model: init '{init}' is no encoder")
        return start[0], Part(init.partition("@")[0], state_digest(start[0]))
    path = start_path(settings.model, weights_of)
    return load_encoder(path).encoder, Part(path.name, file_sha256(path))


def caption_batches(
    settings: StageSettings, source: Source, model: VideoToText, texts: CaptionTexts, world: World
) -> Batches:
    """Batches of pixels, or, with `draws`, of spatial tokens computed here and now."""
    data, seed = settings.data, seed_of(settings.seed, "data")
    if model.vision is None:
        raise ModelError("the stage 'captions' needs an encoder")
    if settings.v2t.draws == 0:
        collate = CaptionCollate(model.vision.config, texts, settings.model.mask)
        return Loader(source, data.batch, collate, seed, world, data.family)
    captions: list[tuple[TextView, ...]] = []

    def videos() -> Iterator[torch.Tensor]:
        """Each video's pixels, of which only one at a time is in memory; what is told of it stays."""
        for sample in source.load(Request(index, seed_of(seed, "sample", index)) for index in range(len(source))):
            if not isinstance(sample, Sample):
                raise DataError(f"{sample.key} can't be watched before training: {sample.error}")
            captions.append(sample.captions)
            yield torch.from_numpy(sample.pixels)

    with autocast(world.device, settings.training.dtype):
        tokens = watch_once(model, videos(), settings.model.mask, settings.v2t.draws, seed)
    return WatchedClips(tokens, tuple(captions), texts, data.batch, seed, world)


@dataclass(frozen=True, slots=True)
class CaptionEvaluation:
    """Loss (nats a token) and next-token accuracy on the first `videos` samples of a held-out source."""

    model: VideoToText
    collate: CaptionCollate
    source: Source
    videos: int
    batch: int
    device: torch.device
    dtype: str

    def __call__(self) -> dict[str, float]:
        """The figures, and how many samples could not be read."""
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


def evaluation(
    settings: StageSettings, model: VideoToText, texts: CaptionTexts, world: World
) -> CaptionEvaluation | None:
    """What to measure in the first process, None where the settings name nothing."""
    if settings.evaluation is None or not world.first or model.vision is None:
        return None
    data = settings.evaluation.data
    source = stage_source(settings, data, model.vision.config, held_out=True)
    collate = CaptionCollate(model.vision.config, texts, settings.model.mask)
    videos = min(settings.evaluation.videos, len(source))
    return CaptionEvaluation(model, collate, source, videos, data.batch, world.device, settings.training.dtype)
