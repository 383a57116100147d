"""The contrastive step: videos against captions of the global batch and against false texts of their own.

With `chunk`, features are computed in chunks that keep no activations; the backward pass computes
each chunk again and lets go of it. The gradient is the full batch's for every parameter, the
temperature included, because the loss is one function of all features (cached contrastive learning,
arXiv 2101.06983; here as activation checkpointing over chunks). Masks are data in the batch, so both
passes see the same tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from encoders.dual import DualEncoder, bounded_scale, unit
from encoders.pretrain.batch import NONE, ContrastiveBatch, Roles
from encoders.pretrain.world import gather, total
from encoders.tokens import TextBatch

AT_ONCE_ON_CPU = 12
"""Videos encoded at a time on a CPU, activations kept: what stays within its caches takes a sixth less time (measured
with 128 tokens each; ours)."""


@dataclass(frozen=True, slots=True)
class StatementLoss:
    """How much statements weigh beside captions, and the temperature from which theirs is learnt.

    It is their own, and low: a statement and its false ones share nearly all words, so their
    similarities differ by far less than those of captions (ours).
    """

    weight: float = 1.0
    temperature: float = 0.03


class ContrastiveStep(nn.Module):
    """The dual encoder with its loss: `forward(batch) -> (loss, metrics)`.

    `chunk` videos are encoded at a time, all at once for 0.
    """

    def __init__(self, encoder: DualEncoder, *, chunk: int = 0, statements: StatementLoss | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.chunk = chunk
        self.statements = statements
        trains = any(parameter.requires_grad for parameter in encoder.text.parameters())
        self.fixed_texts = None if trains else FixedTexts(encoder.text)
        if statements:
            self.statement_log_scale = nn.Parameter(torch.full((1,), math.log(1 / statements.temperature)))

    def forward(self, batch: ContrastiveBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """This process's share of the global loss: its mean over processes is the loss of the global batch."""
        videos, texts = self._videos(batch), self._texts(batch)
        # Similarities of bfloat16's three digits, times up to 100, would be noise.
        with torch.autocast(videos.device.type, enabled=False):
            return self._loss(videos, texts, batch)

    def _loss(self, videos: Tensor, texts: Tensor, batch: ContrastiveBatch) -> tuple[Tensor, dict[str, Tensor]]:
        scale = self.encoder.scale
        loss, metrics = caption_loss(videos, texts, batch, scale)
        metrics["temperature"] = 1 / scale.detach()
        if self.statements:
            told, more = statement_loss(videos, texts, batch, bounded_scale(self.statement_log_scale))
            if len(batch.roles.asked):  # images bring none, and would pull the means of the record down
                metrics |= more | {"caption_loss": loss.detach(), "statement_loss": told.detach()}
            loss = loss + self.statements.weight * told
        return loss, {f"{batch.label}{name}": value for name, value in metrics.items()}

    def _videos(self, batch: ContrastiveBatch) -> Tensor:
        size = self.chunk or (AT_ONCE_ON_CPU if batch.pixels.device.type == "cpu" else len(batch.pixels))
        starts = range(0, len(batch.pixels), size)
        parts = [slice(start, start + size) for start in starts]
        keeps = [None if batch.keep is None else batch.keep[part] for part in parts]
        chunks = [(batch.pixels[part], keep) for part, keep in zip(parts, keeps, strict=True)]
        if self.chunk:
            return _encoded(self.encoder.embed_video, chunks)
        return torch.cat([self.encoder.embed_video(*chunk) for chunk in chunks])

    def _texts(self, batch: ContrastiveBatch) -> Tensor:
        if self.fixed_texts:
            return unit(self.encoder.text_proj(self.fixed_texts(batch)))
        if not self.chunk:
            return torch.cat([self.encoder.embed_text(part) for part in batch.texts])
        return _encoded(self.encoder.embed_text, [(part,) for part in batch.texts])


class FixedTexts:
    """What a text tower that is not trained makes of texts, without gradients; statements are kept for later batches.

    A statement is encoded alone, without padding, so that its last digits don't depend on when it first came and an
    interrupted run goes on to the bit. Captions are too many to be kept.
    """

    def __init__(self, tower: nn.Module) -> None:
        self._tower = tower
        self._kept: dict[tuple[bytes, ...], Tensor] = {}

    @torch.no_grad()
    def __call__(self, batch: ContrastiveBatch) -> Tensor:
        """The tower's output for all texts of a batch: [N, width]."""
        stated = set(batch.roles.options.flatten().tolist())
        found: list[Tensor] = []
        for part in batch.texts:
            rows = range(part.texts)
            others = [row for row in rows if len(found) + row not in stated]
            out = dict(zip(others, self._tower(part.of(others)), strict=True)) if others else {}
            kept = self._statements(part, [row for row in rows if row not in out])
            found += [out[row] if row in out else kept[row] for row in rows]
        return torch.stack(found)

    def _statements(self, part: TextBatch, rows: Sequence[int]) -> dict[int, Tensor]:
        tokens: dict[int, list[bytes]] = {row: [] for row in rows}
        for owner, ids, mask in zip(part.owner.tolist(), part.ids.cpu().numpy(), part.mask.cpu().numpy(), strict=True):
            if owner in tokens:
                tokens[owner].append(ids[mask].tobytes())
        out = {}
        for row, chunks in tokens.items():
            key = tuple(chunks)
            if key not in self._kept:
                self._kept[key] = self._tower(part.of([row]))[0]
            out[row] = self._kept[key]
        return out


def _encoded(encode: Callable[..., Tensor], chunks: Sequence[tuple[object, ...]]) -> Tensor:
    """The features of all chunks, none of which keeps its activations for the backward pass."""
    # Stopping early would break off in the midst of a module that FSDP has gathered, and leave it so.
    return torch.cat([checkpoint(encode, *chunk, use_reentrant=False, early_stop=False) for chunk in chunks])


def caption_loss(
    videos: Tensor, texts: Tensor, batch: ContrastiveBatch, scale: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Symmetric NCE (as in CLIP) over the global batch, false captions added to their own video's row.

    Videos [B, E] against texts [N, E]; the mean over the captions that the videos brought. Another
    video's caption with the same words is no negative and is left out of the sum.
    """
    captions, ids = batch.roles.captions, batch.roles.ids
    rows, views = ids.shape
    true = texts[captions[:, :, 0].clamp(min=0)]  # [B, V, E]
    all_videos, all_true, all_ids = gather(videos), gather(true), gather(ids)
    own = _own_columns(rows, len(all_videos), ids.device)
    to_false = scale * torch.einsum("be,bvke->bvk", videos, texts[captions[:, :, 1:].clamp(min=0)])
    to_false = to_false.masked_fill(captions[:, :, 1:] == NONE, -torch.inf)
    losses, hits, counts = [], [], []
    for view in range(views):
        there = ids[:, view] != NONE
        excluded = (all_ids[None, :, view] == NONE) | (ids[:, view, None] == all_ids[None, :, view])
        excluded[torch.arange(rows, device=ids.device), own] = False
        to_text = (scale * videos @ all_true[:, view].T).masked_fill(excluded, -torch.inf)
        to_video = (scale * true[:, view] @ all_videos.T).masked_fill(excluded, -torch.inf)
        to_text = torch.cat([to_text, to_false[:, view]], 1)
        both = functional.cross_entropy(to_text, own, reduction="none") + functional.cross_entropy(
            to_video, own, reduction="none"
        )
        losses.append((both / 2).where(there, 0.0).sum())
        hits.append((to_text.argmax(1) == own).logical_and(there).sum())
        counts.append(there.sum())
    count = torch.stack(counts).sum()
    accuracy = total(torch.stack(hits).sum()) / _positive(total(count))
    return _share(torch.stack(losses).sum(), count), {"caption_accuracy": accuracy}


def statement_loss(
    videos: Tensor, texts: Tensor, batch: ContrastiveBatch, scale: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of each true statement among false ones, the weighted mean over the global batch's questions."""
    roles = batch.roles
    logits = (scale * videos @ texts.T)[roles.asked[:, None], roles.options.clamp(min=0)]
    logits = logits.masked_fill(roles.options == NONE, -torch.inf)
    losses = logits.logsumexp(1) - logits[:, 0]
    hits = (logits.argmax(1) == 0).float() @ roles.weight
    accuracy = total(hits) / _positive(total(roles.weight.sum()))
    metrics = {"statement_accuracy": accuracy}
    if len(roles.kinds) > 1:
        metrics |= by_kind((logits.detach().argmax(1) == 0).float(), roles)
    return _share(losses @ roles.weight, roles.weight.sum()), metrics


def by_kind(hits: Tensor, roles: Roles) -> dict[str, Tensor]:
    """The accuracy of each kind of question in this process's share of the batch."""
    right = hits.new_zeros(len(roles.kinds)).index_add(0, roles.kind, hits * roles.weight)
    asked = hits.new_zeros(len(roles.kinds)).index_add(0, roles.kind, roles.weight)
    return {f"accuracy_{kind}": share for kind, share in zip(roles.kinds, right / asked, strict=True)}


def _own_columns(rows: int, columns: int, device: torch.device) -> Tensor:
    """Where this process's rows stand among the global batch's columns."""
    first = distributed.get_rank() * rows if columns > rows else 0
    return torch.arange(rows, device=device) + first


def _share(losses: Tensor, count: Tensor) -> Tensor:
    """A sum over this process's terms, scaled so that the mean over processes is the global mean."""
    size = distributed.get_world_size() if distributed.is_initialized() else 1
    return losses * size / _positive(total(count))


def _positive(count: Tensor) -> Tensor:
    """A number to divide by: 1 where there is nothing to count."""
    return count.where(count > 0, 1)
