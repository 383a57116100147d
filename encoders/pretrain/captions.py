"""Stage 3 of the recipe: resampler and cross-attention learn to caption (paper, video-to-text).

The encoder and the language model are frozen, so a clip's spatial tokens can be computed once
and used many times (`watch_once`); with pixels they are computed in each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from encoders.config import VisionConfig
from encoders.device import send
from encoders.pretrain.data import Slot, TextView, stack_pixels
from encoders.pretrain.step import Loaded, Metrics, request_at, seed_of
from encoders.pretrain.world import World, total
from encoders.v2t.model import VideoToText
from encoders.v2t.text import TextRows, caption_rows
from encoders.vit import sample_keep_each
from tasks.errors import DataError, ModelError


@dataclass(frozen=True, slots=True)
class CaptionBatch:
    """`video`: uint8 pixels [B, T, H, W, 3] with `keep` (see the vision tower), or spatial tokens [B, places, D]."""

    video: Tensor
    keep: Tensor | None
    rows: TextRows

    def to(self, device: torch.device) -> CaptionBatch:
        """Move the batch to another device."""
        keep = None if self.keep is None else self.keep.to(device)
        return CaptionBatch(send(self.video, device), keep, self.rows.to(device))


@dataclass(frozen=True, slots=True)
class CaptionTexts:
    """How captions become tokens: after their own prompt or else `prompt`, at most `limit` tokens including it."""

    tokenizer: PreTrainedTokenizerBase
    prompt: str = ""
    limit: int = 512

    def rows(self, views: Sequence[TextView]) -> TextRows:
        """Return token rows of a batch's captions."""
        prompts = [view.prompt or self.prompt for view in views]
        return caption_rows(self.tokenizer, prompts, [view.text for view in views], self.limit)


@dataclass(frozen=True, slots=True)
class CaptionCollate:
    """Makes a caption batch from samples: one caption each, with the share `mask` of tokens dropped, by its seed.

    Samples that could not be read are left out.
    """

    vision: VisionConfig
    texts: CaptionTexts
    mask: float = 0.0

    def __call__(self, slots: Sequence[Slot], seeds: Sequence[int]) -> CaptionBatch:
        read = [(slot, seed) for slot, seed in zip(slots, seeds, strict=True) if slot is not None]
        pixels = torch.from_numpy(stack_pixels([slot for slot, _ in read]))
        shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        keep = sample_keep_each(self.vision, shape, self.mask, [seed for _, seed in read])
        captions = [slot.captions[seed % len(slot.captions)] for slot, seed in read]
        return CaptionBatch(pixels, keep, self.texts.rows(captions))


def caption_sums(logits: Tensor, rows: TextRows) -> tuple[Tensor, Tensor, Tensor]:
    """Return summed loss (nats), correct first choices and number of target tokens (captions with ends), as float32.

    Neither prompts nor padding count.
    """
    wanted = rows.target[:, 1:]
    guesses, truth = logits[:, :-1][wanted].float(), rows.ids[:, 1:][wanted]
    hits = (guesses.detach().argmax(-1) == truth).sum()
    return functional.cross_entropy(guesses, truth, reduction="sum"), hits.float(), wanted.sum().float()


class CaptionStep(nn.Module):
    """Next-token loss on captions: the mean over the caption tokens of all processes."""

    def __init__(self, model: VideoToText) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: CaptionBatch) -> tuple[Tensor, Metrics]:
        """Return the loss (nats per token) and the next-token accuracy."""
        losses, hits, tokens = caption_sums(self.model(batch.video, batch.rows, batch.keep), batch.rows)
        everywhere = total(tokens)
        processes = distributed.get_world_size() if distributed.is_initialized() else 1
        return losses * processes / everywhere, {"token_accuracy": total(hits) / everywhere}


@dataclass(frozen=True, slots=True, eq=False)
class WatchedClips:
    """Spatial tokens [clips, draws, places, width] of clips under `draws` masks each, and their captions.

    Implements the engine's `Batches`: the seed decides the order of clips, draws and captions.
    """

    tokens: Tensor
    captions: tuple[tuple[TextView, ...], ...]
    texts: CaptionTexts
    batch: int
    seed: int
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        """Check the sizes. Raises DataError."""
        if len(self.tokens) != len(self.captions):
            raise DataError(f"{len(self.tokens)} clips do not go with {len(self.captions)} captions")
        if self.batch % self.world.size or not 1 <= self.batch <= len(self.captions):
            raise DataError(
                f"a batch of {self.batch} does not go with {len(self.captions)} clips and {self.world.size} processes"
            )

    def __call__(self, first: int) -> Iterator[Loaded]:
        share = self.batch // self.world.size
        for step in count(first):
            start = step * self.batch + self.world.rank * share
            asked = [request_at(self.seed, position, len(self.captions)) for position in range(start, start + share)]
            video = torch.stack([self.tokens[one.index, one.draw % self.tokens.shape[1]] for one in asked])
            # The draw's lowest digits already chose the mask.
            told = [(self.captions[one.index], one.draw // self.tokens.shape[1]) for one in asked]
            rows = self.texts.rows([views[draw % len(views)] for views, draw in told])
            yield Loaded(CaptionBatch(video, None, rows), share)


@torch.no_grad()
def watch_once(model: VideoToText, videos: Iterable[Tensor], mask: float, draws: int, seed: int) -> Tensor:
    """Return spatial tokens [videos, draws, places, width] of pixels uint8 [T, H, W, 3], with one mask per draw.

    This is what a step on pixels would compute, with `draws` masks in place of endlessly many (our choice). Without a
    mask one draw is enough.
    """
    if model.vision is None:
        raise ModelError("the model has no vision tower to watch videos with")
    out = []
    for number, pixels in enumerate(videos):
        shape = (pixels.shape[0], pixels.shape[1], pixels.shape[2])
        seeds = [seed_of(seed, "watch", number, draw) for draw in range(draws if mask else 1)]
        keep = sample_keep_each(model.vision.config, shape, mask, seeds)
        batch = pixels[None].expand(len(seeds), -1, -1, -1, -1).to(model.lm.device)
        out.append(model.watch(batch, None if keep is None else keep.to(model.lm.device)).cpu())
    return torch.stack(out)
