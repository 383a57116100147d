"""The aggregator's training: settings, questions on captions, the loss over options, LoRA in its language model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from baselines.aggregator import aggregator_on
from baselines.captions import CaptionFile, load_captions
from baselines.llm.local import TransformersLanguageModel, as_language_model
from baselines.models import AggregatorOptions
from baselines.prompted import PromptedModel
from encoders.causal_lm.load import read_named
from encoders.causal_lm.lora import LoraShape, add_lora, lora_parameters, save_lora
from encoders.causal_lm.scoring import PrefixTree, ScoringTokens, prefix_tree, tree_logprobs
from encoders.config import ConfigError, read_dataclass
from encoders.pretrain.checkpoint import Plan as TrainingPlan
from encoders.pretrain.engine import autocast
from encoders.pretrain.settings import merged
from encoders.pretrain.stages import Prepared
from encoders.pretrain.step import Job, Loaded, Metrics, request_at, seed_of
from encoders.pretrain.world import World
from tasks.errors import DataError, ModelError
from tasks.files import is_file, parse_toml, read_toml
from tasks.kitchen.benchmark import PROMPTS
from tasks.kitchen.plan import Plan, make_plan
from tasks.kitchen.texts import KINDS, question, texts
from tasks.multiple_choice import ChoiceItem, loglik_request
from tasks.prompt import Prompt, load_prompt
from tasks.task import Clip, JsonValue


@dataclass(frozen=True, slots=True)
class AggregatorSettings:
    """`name` is the adapter's name.

    Each step asks all questions about `batch` of the first `videos` training videos; accuracy is measured on the first
    `held_out` videos of val. `segments` is the aggregator's option, to be the same in use. `temperature`: see
    baselines.aggregator_training.
    """

    name: str
    training: TrainingPlan
    llm: str = "smollm2"
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    lora: LoraShape = field(default_factory=LoraShape)
    segments: Literal["auto", "uniform", "captions"] = "captions"
    temperature: float = 0.1
    batch: int = 2
    videos: int = 400
    held_out: int = 40
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Check the values. Raises ModelError."""
        for name in ("batch", "videos", "held_out"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.temperature > 0:
            raise ConfigError(f"temperature must be positive, not {self.temperature}")


def read_aggregator_settings(path: Path, *, seed: int | None = None, changes: Sequence[str] = ()) -> AggregatorSettings:
    """Read the settings of a file, with `changes` given as KEY=VALUE in TOML. Raises ModelError naming file and key."""
    if not is_file(path):
        raise ModelError(f"no training config at {path}")
    table: dict[str, object] = read_toml(path, "training config")
    for change in changes:
        table = merged(table, parse_toml(change, f"--set '{change}'"))
    if seed is not None:
        table["seed"] = seed
    return read_dataclass(AggregatorSettings, table, str(path))


@dataclass(frozen=True, slots=True)
class VideoQuestions:
    """A video's questions, one of each kind, with the index of each right option in `answer`."""

    video: str
    kinds: tuple[str, ...]
    items: tuple[ChoiceItem, ...]


def video_questions(plan: Plan) -> VideoQuestions:
    """Return all questions about a video.

    The right option's position does not matter: options are scored separately.
    """
    whole = Clip(plan.id, 0.0, plan.duration)
    asked = [question(plan, kind, 0) for kind in KINDS]
    items = tuple(ChoiceItem(q.id, plan.family, whole, q.text, texts(q.options), q.answer) for q in asked)
    return VideoQuestions(plan.id, tuple(KINDS), items)


def captioned_plans(split: str, captions: CaptionFile, videos: int) -> list[Plan]:
    """Return the first `videos` videos of a split. Raises DataError, naming the file, for a video without captions."""
    plans = list(islice(plans_of(split), videos))
    bare = [plan.id for plan in plans if captions.find(plan.id) is None]
    if bare:
        msg = f"{captions.path} has no captions for {len(bare)} of the first {videos} {split} videos ({bare[0]} …)"
        raise DataError(msg)
    return plans


def plans_of(split: str) -> Iterator[Plan]:
    """Yield the videos of a split, endlessly."""
    return (make_plan(split, index) for index in count())


def right_options(items: Sequence[ChoiceItem]) -> tuple[int, ...]:
    """Return the indices of the right options. Raises DataError for a question whose answer is unknown."""
    for item in items:
        if item.answer is None:
            raise DataError(f"question {item.id} has no answer to train on")
    return tuple(item.answer for item in items if item.answer is not None)


class Tokenise(Protocol):
    """Turns a video's questions into prompts with their options, as they are scored in evaluation."""

    def __call__(self, asked: VideoQuestions) -> Sequence[ScoringTokens]: ...


@dataclass(frozen=True, slots=True)
class AskedVideo:
    """A video's questions as one prefix tree; `options` counts each question's options, `right` is the right index."""

    tree: PrefixTree
    kinds: tuple[str, ...]
    options: tuple[int, ...]
    right: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class QuestionBatch:
    """Some videos with their questions. Token ids are moved to the device by the model."""

    videos: tuple[AskedVideo, ...]

    def to(self, device: torch.device) -> QuestionBatch:  # noqa: ARG002 - nothing to move
        """Return the same batch."""
        return self


def ask(asked: VideoQuestions, tokenise: Tokenise) -> AskedVideo:
    """Prepare a video's questions for the model."""
    prompts = tokenise(asked)
    options = tuple(len(prompt.continuations) for prompt in prompts)
    return AskedVideo(prefix_tree(prompts), asked.kinds, options, right_options(asked.items))


class ChoiceStep(nn.Module):
    """Loss per question: the right option's language-modelling loss plus a cross-entropy over the options.

    The first is the mean negative log-likelihood per token (nats). The second is the cross-entropy over the options'
    mean log-likelihoods, which evaluation compares, divided by `temperature` (ours): it ignores words shared by all.
    """

    def __init__(self, model: PreTrainedModel, temperature: float) -> None:
        super().__init__()
        self.model = model
        self._temperature = temperature

    def forward(self, batch: QuestionBatch) -> tuple[Tensor, Metrics]:
        """Return the mean loss over the questions, and the accuracy of the likeliest option."""
        losses, hits = [], []
        for video in batch.videos:
            for means, right in zip(self.means(video), video.right, strict=True):
                among = functional.cross_entropy(
                    means[None] / self._temperature, torch.tensor([right]).to(means.device)
                )
                losses.append(among - means[right])
                hits.append(means.detach().argmax() == right)
        return torch.stack(losses).mean(), {"accuracy": torch.stack(hits).float().mean()}

    def means(self, video: AskedVideo) -> list[Tensor]:
        """Return each question's mean log-likelihoods per token, float32 [options]."""
        found = torch.stack([path.mean() for path in tree_logprobs(self.model, video.tree)])
        return list(torch.split(found, list(video.options)))


@dataclass(frozen=True, slots=True)
class QuestionBatches:
    """Batches of `batch` videos each, drawn from the seed. Implements the engine's `Batches`."""

    videos: Sequence[VideoQuestions]
    tokenise: Tokenise
    batch: int
    seed: int

    def __call__(self, first: int) -> Iterator[Loaded]:
        for step in count(first):
            places = range(step * self.batch, (step + 1) * self.batch)
            chosen = [self.videos[request_at(self.seed, place, len(self.videos)).index] for place in places]
            yield Loaded(QuestionBatch(tuple(ask(asked, self.tokenise) for asked in chosen)), self.batch)


@dataclass(frozen=True, slots=True)
class ChoiceEvaluation:
    """Accuracy on the held-out questions, by kind."""

    step: ChoiceStep
    videos: Sequence[VideoQuestions]
    tokenise: Tokenise
    world: World
    dtype: str

    @torch.no_grad()
    def hits(self) -> dict[str, list[bool]]:
        """Return, for each kind of question, whether each video's was answered correctly."""
        found: defaultdict[str, list[bool]] = defaultdict(list)
        with autocast(self.world.device, self.dtype):
            for asked in self.videos:
                video = ask(asked, self.tokenise)
                for kind, means, right in zip(video.kinds, self.step.means(video), video.right, strict=True):
                    found[kind].append(int(means.argmax()) == right)
        return dict(found)

    def __call__(self) -> Mapping[str, float]:
        """Return the accuracy over all questions and of each kind."""
        hits = self.hits()
        everything = [hit for kind in hits.values() for hit in kind]
        return {"accuracy": sum(everything) / len(everything)} | {
            f"accuracy_{kind}": sum(kind_hits) / len(kind_hits) for kind, kind_hits in hits.items()
        }


@dataclass(frozen=True, slots=True)
class AsTested:
    """Prompts and options of questions as `--model aggregator -M route=options-loglik` scores them."""

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
    """Build the stage. Raises DataError or ModelError if captions, language model and settings don't fit together."""
    files = {"train": (load_captions(captions), settings.videos), "val": (load_captions(held_out), settings.held_out)}
    asked = {
        split: [video_questions(plan) for plan in captioned_plans(split, file, videos)]
        for split, (file, videos) in files.items()
    }
    lm = read_named(settings.llm, dtype=settings.dtype, device=str(world.device))
    llm = as_language_model(lm)
    if world.device.type == "cpu":
        # Fused attention with a mask took a third of a step's time there, mostly in its backward pass.
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
    """Build the aggregator on a captions file, with defaults for all that the settings don't name."""
    options = AggregatorOptions(captions=captions.path, segments=settings.segments)
    return AsTested(llm, aggregator_on(llm, captions, options), load_prompt("tasks", PROMPTS.loglik))
