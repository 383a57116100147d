"""From settings and captions to what the engine trains: the aggregator as it is tested, with LoRA in its LLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from baselines.aggregator_training.questions import VideoQuestions, captioned_plans, video_questions
from baselines.aggregator_training.settings import AggregatorSettings
from baselines.aggregator_training.step import ChoiceEvaluation, ChoiceStep, QuestionBatches
from baselines.build_aggregator import aggregator_on
from baselines.captions import CaptionFile, load_captions
from baselines.llm.transformers_llm import TransformersLanguageModel, as_language_model
from baselines.models import AggregatorOptions
from baselines.prompted import PromptedModel
from encoders.causal_lm.load import read_named
from encoders.causal_lm.lora import add_lora, lora_parameters, save_lora
from encoders.causal_lm.scoring import ScoringTokens
from encoders.pretrain.stages import Prepared
from encoders.pretrain.step import Job, seed_of
from encoders.pretrain.world import World
from tasks.kitchen.benchmark import PROMPTS
from tasks.multiple_choice import loglik_request
from tasks.prompt import Prompt, load_prompt
from tasks.task import JsonValue


@dataclass(frozen=True, slots=True)
class AsTested:
    """Prompts and options of questions as `--model aggregator -M route=options-loglik` weighs them."""

    llm: TransformersLanguageModel
    aggregator: PromptedModel
    prompt: Prompt

    def __call__(self, asked: VideoQuestions) -> Sequence[ScoringTokens]:
        requests = [loglik_request(item, self.prompt) for item in asked.items]
        composed = self.aggregator.compose_options(requests)
        return [
            self.llm.scoring_tokens(one.chat, request.options, f"question {request.item_id}")
            for one, request in zip(composed, requests, strict=True)
        ]


def prepare_aggregator(settings: AggregatorSettings, captions: Path, held_out: Path, world: World) -> Prepared:
    """Build the stage. Raises DataError or ModelError where captions, language model and settings don't fit."""
    files = {"train": (load_captions(captions), settings.videos), "val": (load_captions(held_out), settings.held_out)}
    asked = {
        split: [video_questions(plan) for plan in captioned_plans(split, file, videos)]
        for split, (file, videos) in files.items()
    }
    lm = read_named(settings.llm, dtype=settings.dtype, device=str(world.device))
    llm = as_language_model(lm)
    if world.device.type == "cpu":
        # Fused attention with a mask was a third of a step's time there, mostly in its backward pass.
        lm.model.set_attn_implementation("eager")
    add_lora(lm.model, settings.lora, seed=settings.seed)
    tokenise = {split: as_tested(llm, file, settings) for split, (file, _) in files.items()}
    step = ChoiceStep(lm.model, settings.temperature)
    batches = QuestionBatches(asked["train"], tokenise["train"], settings.batch, seed_of(settings.seed, "questions"))
    prompt = tokenise["train"].prompt
    evaluation = ChoiceEvaluation(step, asked["val"], tokenise["val"], world, settings.training.dtype)
    facts: dict[str, JsonValue] = {
        "init": lm.name,
        "llm_sha256": lm.digest,
        "captioner": files["train"][0].captioner,
        "captions_sha256": {split: file.sha256 for split, (file, _) in files.items()},
        "prompts": {**tokenise["train"].aggregator.info.prompts, prompt.name: prompt.sha256},
        "parameters": sum(p.numel() for p in lm.model.parameters()),
        "trainable": sum(p.numel() for p in lora_parameters(lm.model).values()),
    }
    return Prepared(Job(step, batches, evaluation), partial(save_lora, lm, settings.lora), facts)


def as_tested(llm: TransformersLanguageModel, captions: CaptionFile, settings: AggregatorSettings) -> AsTested:
    """The aggregator on a captions file, with all that the settings don't name at its default."""
    options = AggregatorOptions(captions=captions.path, segments=settings.segments)
    return AsTested(llm, aggregator_on(llm, captions, options), load_prompt("tasks", PROMPTS.loglik))
