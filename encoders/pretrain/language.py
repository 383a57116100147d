"""Train a small language model on kitchen's texts, before video-to-text freezes it (our choice)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from encoders.pretrain.captions import CaptionTexts, caption_sums
from encoders.pretrain.data import TextView
from encoders.pretrain.engine import autocast
from encoders.pretrain.kitchen import any_text
from encoders.pretrain.settings import KitchenSettings
from encoders.pretrain.step import Loaded, Metrics, request_at, seed_of
from encoders.pretrain.world import World, total
from encoders.v2t.text import TextRows
from tasks.errors import ModelError
from tasks.kitchen.plan import make_plan


@dataclass(frozen=True, slots=True)
class LanguageBatch:
    """Texts as token rows."""

    rows: TextRows

    def to(self, device: torch.device) -> LanguageBatch:
        """Move the batch to another device."""
        return LanguageBatch(self.rows.to(device))


class LanguageStep(nn.Module):
    """Next-token loss on texts after their prompts: the mean over the tokens of all processes."""

    def __init__(self, lm: PreTrainedModel) -> None:
        super().__init__()
        self.lm = lm

    def sums(self, rows: TextRows) -> tuple[Tensor, Tensor, Tensor]:
        """Return summed loss (nats), correct first choices and tokens, as `caption_sums`."""
        logits: Tensor = self.lm(input_ids=rows.ids, attention_mask=rows.real.long(), use_cache=False).logits
        return caption_sums(logits, rows)

    def forward(self, batch: LanguageBatch) -> tuple[Tensor, Metrics]:
        """Return the loss (nats per token) and the next-token accuracy."""
        losses, hits, tokens = self.sums(batch.rows)
        everywhere = total(tokens)
        return losses * (total(torch.ones_like(tokens)) / everywhere), {"token_accuracy": total(hits) / everywhere}


@dataclass(frozen=True, slots=True)
class KitchenTexts:
    """Batches of `batch` texts, one of each successive video. Implements the engine's `Batches`."""

    kitchen: KitchenSettings
    seconds: float
    texts: CaptionTexts
    batch: int
    seed: int
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        """Check that batches can be shared evenly. Raises ModelError."""
        if self.batch % self.world.size or not self.batch:
            raise ModelError(f"a batch of {self.batch} can't be shared evenly by {self.world.size} processes")

    def __call__(self, first: int) -> Iterator[Loaded]:
        share = self.batch // self.world.size
        for step in count(first):
            start = step * self.batch + self.world.rank * share
            yield Loaded(LanguageBatch(self.texts.rows(self.views(range(start, start + share)))), share)

    def views(self, positions: Sequence[int]) -> list[TextView]:
        """Return the texts at some positions of the endless stream."""
        asked = [request_at(self.seed, position, self.kitchen.videos) for position in positions]
        plans = [make_plan(self.kitchen.split, self.kitchen.first + one.index) for one in asked]
        return [
            any_text(plan, Random(seed_of(one.draw, "text")), self.seconds, self.kitchen.between)
            for plan, one in zip(plans, asked, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class LanguageEvaluation:
    """Loss (nats per token) and next-token accuracy on one text of each held-out video, and the loss by kind."""

    step: LanguageStep
    held_out: KitchenTexts
    videos: int
    device: torch.device
    dtype: str

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        """Return the figures."""
        sums: dict[str, Tensor] = {}
        with autocast(self.device, self.dtype):
            for start in range(0, self.videos, self.held_out.batch):
                views = self.held_out.views(range(start, min(start + self.held_out.batch, self.videos)))
                for kind in sorted({view.kind for view in views}):
                    rows = self.held_out.texts.rows([view for view in views if view.kind == kind])
                    found = torch.stack(self.step.sums(rows.to(self.device))).cpu()
                    sums[kind] = sums.get(kind, torch.zeros(3)) + found
        loss, hits, tokens = torch.stack(list(sums.values())).sum(0).tolist()
        by_kind = {f"loss_{kind}": float(found[0] / found[2]) for kind, found in sorted(sums.items())}
        return {"loss": loss / tokens, "token_accuracy": hits / tokens, **by_kind}
