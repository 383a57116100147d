"""The loss of an aggregator's language model: by the very prompts and likelihoods of the route options-loglik."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from baselines.aggregator_training.questions import VideoQuestions, right_options
from encoders.causal_lm.scoring import PrefixTree, ScoringTokens, prefix_tree, tree_logprobs
from encoders.pretrain.engine import autocast
from encoders.pretrain.step import Loaded, Metrics, request_at
from encoders.pretrain.world import World


class Tokenise(Protocol):
    """From a video's questions to prompts with their options, as the test would weigh them."""

    def __call__(self, asked: VideoQuestions) -> Sequence[ScoringTokens]: ...


@dataclass(frozen=True, slots=True)
class AskedVideo:
    """A video's questions as one tree; `options` is how many each question has, `right` which one is right."""

    tree: PrefixTree
    kinds: tuple[str, ...]
    options: tuple[int, ...]
    right: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class QuestionBatch:
    """Some videos with their questions. Token ids travel to the model as it reads them."""

    videos: tuple[AskedVideo, ...]

    def to(self, device: torch.device) -> QuestionBatch:  # noqa: ARG002 - there is nothing to move
        """The same batch."""
        return self


def ask(asked: VideoQuestions, tokenise: Tokenise) -> AskedVideo:
    """A video's questions, ready for the model."""
    prompts = tokenise(asked)
    options = tuple(len(prompt.continuations) for prompt in prompts)
    return AskedVideo(prefix_tree(prompts), asked.kinds, options, right_options(asked.items))


class ChoiceStep(nn.Module):
    """Loss per question: how unlikely the right option's words are, and how unlikely it is among the options.

    The first is the mean negative log-likelihood per token (nats). The second is the cross-entropy of the options' mean
    log-likelihoods, which the test compares, at `temperature` (ours): words common to all options teach nothing.
    """

    def __init__(self, model: PreTrainedModel, temperature: float) -> None:
        super().__init__()
        self.model = model
        self._temperature = temperature

    def forward(self, batch: QuestionBatch) -> tuple[Tensor, Metrics]:
        """The mean loss over the questions, and the share of them that the likeliest option gets right."""
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
        """Mean log-likelihoods per token float32 [options] of each question."""
        found = torch.stack([path.mean() for path in tree_logprobs(self.model, video.tree)])
        return list(torch.split(found, list(video.options)))


@dataclass(frozen=True, slots=True)
class QuestionBatches:
    """Batches of `batch` videos each, drawn from the seed. Offers the engine's `Batches`."""

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
    """Which of the held-out questions are answered right, by kind."""

    step: ChoiceStep
    videos: Sequence[VideoQuestions]
    tokenise: Tokenise
    world: World
    dtype: str

    @torch.no_grad()
    def hits(self) -> dict[str, list[bool]]:
        """For each kind of question, whether each video's was answered right."""
        found: defaultdict[str, list[bool]] = defaultdict(list)
        with autocast(self.world.device, self.dtype):
            for asked in self.videos:
                video = ask(asked, self.tokenise)
                for kind, means, right in zip(video.kinds, self.step.means(video), video.right, strict=True):
                    found[kind].append(int(means.argmax()) == right)
        return dict(found)

    def __call__(self) -> Mapping[str, float]:
        """The accuracy over all questions and of each kind."""
        hits = self.hits()
        everything = [hit for kind in hits.values() for hit in kind]
        return {"accuracy": sum(everything) / len(everything)} | {
            f"accuracy_{kind}": sum(kind_hits) / len(kind_hits) for kind, kind_hits in hits.items()
        }
