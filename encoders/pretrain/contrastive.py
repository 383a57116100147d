"""The contrastive step: videos against captions of the global batch and against their own false texts.

With `chunk`, features are computed in chunks that keep no activations; the backward pass computes each chunk again and
frees it. The gradient is that of the full batch for every parameter, including the temperature, because the loss is one
function of all features (cached contrastive learning, arXiv 2101.06983; here as activation checkpointing over chunks).
Masks are data in the batch, so both passes see the same tokens.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice, zip_longest
from typing import Literal

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from encoders.config import VisionConfig
from encoders.device import send
from encoders.dual import DualEncoder, bounded_scale, unit
from encoders.pretrain.data import Slot, TextView, stack_pixels
from encoders.pretrain.world import gather, total
from encoders.tokens import TextBatch, TextTokenizer
from encoders.vit import MaskBy, sample_keep

Truth = Mapping[str, bool]
Balance = Literal["statements", "kinds"]


@dataclass(frozen=True, slots=True)
class Question:
    """Video `row` of the batch must tell `right` from `wrong`; `weight` is its weight in the loss."""

    row: int
    right: str
    wrong: tuple[str, ...]
    weight: float
    kind: str = ""


def truth_of(views: Sequence[TextView]) -> Truth:
    """Return the truth value of each text known for a video: statements are true, their false ones are not."""
    return {text: text is view.text for view in views for text in (view.text, *view.false)}


def ask(
    drawn: Sequence[Sequence[TextView]], known: Sequence[Truth], circle: int, balance: Balance = "statements"
) -> list[Question]:
    """Make the questions of a batch: `drawn` statements of each video, asked of the videos of its circle.

    Circles are `circle` neighbouring rows. A statement that several videos share with the same false ones is asked
    once. Balanced by statements, the questions of each statement weigh 1 in total; balanced by kinds, those of each
    kind do, so that a kind with few differing statements counts as much as one with hundreds (our choice).
    """
    found: list[Question] = []
    for start in range(0, len(drawn), circle):
        rows = range(start, min(start + circle, len(drawn)))
        options = {frozenset((view.text, *view.false)): view for row in rows for view in drawn[row]}
        for view in options.values():
            answers = list(_answers(view, rows, known))
            found += [Question(row, right, wrong, 1 / len(answers), view.kind) for row, right, wrong in answers]
    if balance == "statements":
        return found
    asked = Counter(question.kind for question in found)
    return [replace(question, weight=1 / asked[question.kind]) for question in found]


def _answers(view: TextView, rows: range, known: Sequence[Truth]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    texts = (view.text, *view.false)
    for row in rows:
        truth = known[row]
        if truth.keys().isdisjoint(texts):
            continue
        right = [text for text in texts if truth.get(text) is True]
        wrong = tuple(text for text in texts if truth.get(text) is False)
        if len(right) == 1 and wrong:
            yield row, right[0], wrong


NONE = -1
PARTS = 4


@dataclass(frozen=True, slots=True)
class Roles:
    """The texts that a batch's B videos are compared with, as indices into its texts; -1 means none.

    `captions` [B, V, 1 + K]: V captions, each the true one and then its false ones. `ids` [B, V] is
    equal exactly for equal true captions. Question q is asked of video `asked` [Q]: the first of `options` [Q, 1 + F]
    is true; its weight is `weight` [Q] and its kind `kinds[kind[q]]`.
    """

    captions: Tensor
    ids: Tensor
    asked: Tensor
    options: Tensor
    weight: Tensor
    kind: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    kinds: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Roles:
        """Move the roles to another device."""
        return Roles(
            self.captions.to(device),
            self.ids.to(device),
            self.asked.to(device),
            self.options.to(device),
            self.weight.to(device),
            self.kind.to(device),
            self.kinds,
        )


@dataclass(frozen=True, slots=True)
class ContrastiveBatch:
    """uint8 `pixels` [B, T, H, W, 3] with `keep` as in the vision tower; `texts` in parts of similar length.

    A video that could not be read is black and has no texts, so that no loss counts it. `label` is prefixed to the
    names of its metrics, so that those of clips and images are kept apart from those of videos.
    """

    pixels: Tensor
    keep: Tensor | None
    texts: tuple[TextBatch, ...]
    roles: Roles
    label: str = ""

    def to(self, device: torch.device) -> ContrastiveBatch:
        """Move the batch to another device."""
        return replace(
            self,
            pixels=send(self.pixels, device),
            keep=None if self.keep is None else self.keep.to(device),
            texts=tuple(part.to(device) for part in self.texts),
            roles=self.roles.to(device),
        )


@dataclass(frozen=True, slots=True)
class Views:
    """The number of texts of each kind that a video adds to a batch; a video with fewer adds all of them.

    `false_captions` and `false_statements` limit the number of false ones for each. Statements are asked of all videos
    of a circle of `circle` neighbours in the batch, and `balance` says what has equal weight (see
    encoders.pretrain.contrastive).
    """

    captions: int = 1
    false_captions: int = 4
    statements: int = 0
    false_statements: int = 4
    circle: int = 1
    balance: Balance = "statements"


@dataclass(frozen=True, slots=True)
class Collate:
    """Makes a contrastive batch from samples; the seeds decide masks and texts.

    Texts are split by length into PARTS, so that short ones are not padded to the longest, or into more if a part would
    hold more than `texts_at_once` (0: no limit).
    """

    vision: VisionConfig
    tokenizer: TextTokenizer
    context: int
    views: Views
    mask: float = 0.0
    texts_at_once: int = 0
    mask_by: MaskBy = "anywhere"
    label: str = ""

    def __call__(self, slots: Sequence[Slot], seeds: Sequence[int]) -> ContrastiveBatch:
        views = self.views
        captions, statements = [], []
        for slot, seed in zip(slots, seeds, strict=True):
            rng = np.random.default_rng(seed)
            captions.append(_drawn(slot.captions if slot else (), views.captions, views.false_captions, rng))
            statements.append(_drawn(slot.statements if slot else (), views.statements, views.false_statements, rng))
        texts = _unique(view for row in (*captions, *statements) for view in row)
        texts.sort(key=lambda text: (len(text), text))
        roles = self._roles(captions, self._questions(slots, statements), {text: at for at, text in enumerate(texts)})
        pixels = torch.from_numpy(stack_pixels(slots))
        return ContrastiveBatch(pixels, self._keep(pixels, seeds), self._tokenised(texts), roles, self.label)

    def _questions(self, slots: Sequence[Slot], drawn: Sequence[Sequence[TextView]]) -> list[Question]:
        known = [truth_of(slot.statements if slot and self.views.statements else ()) for slot in slots]
        return ask(drawn, known, self.views.circle, self.views.balance)

    def _roles(
        self, captions: Sequence[Sequence[TextView]], questions: Sequence[Question], place: Mapping[str, int]
    ) -> Roles:
        table = torch.full((len(captions), self.views.captions, 1 + self.views.false_captions), NONE, dtype=torch.long)
        ids = torch.full(table.shape[:2], NONE, dtype=torch.long)
        for i, views in enumerate(captions):
            for j, view in enumerate(views):
                _fill(table[i, j], [place[text] for text in (view.text, *view.false)])
                ids[i, j] = _identity(view.text)
        options = np.full((len(questions), 1 + self.views.false_statements), NONE, dtype=np.int64)
        for row, question in zip(options, questions, strict=True):
            row[0] = place[question.right]
            row[1 : 1 + len(question.wrong)] = [place[text] for text in question.wrong]
        asked = torch.tensor([question.row for question in questions], dtype=torch.long)
        weight = torch.tensor([question.weight for question in questions])
        kinds = {kind: at for at, kind in enumerate(sorted({question.kind for question in questions}))}
        kind = torch.tensor([kinds[question.kind] for question in questions], dtype=torch.long)
        return Roles(table, ids, asked, torch.from_numpy(options), weight, kind, tuple(kinds))

    def _keep(self, pixels: Tensor, seeds: Sequence[int]) -> Tensor | None:
        """Draw the tokens to keep, for each video by its own seed."""
        shape = (1, pixels.shape[1], pixels.shape[2], pixels.shape[3])
        drawn = [
            sample_keep(self.vision, shape, self.mask, torch.Generator().manual_seed(seed), self.mask_by)
            for seed in seeds
        ]
        rows = [row for row in drawn if row is not None]
        return torch.cat(rows) if rows else None

    def _tokenised(self, texts: Sequence[str]) -> tuple[TextBatch, ...]:
        size = -(-len(texts) // PARTS)
        size = min(size, self.texts_at_once) if self.texts_at_once else size
        parts = [texts[at : at + size] for at in range(0, len(texts), size)]
        return tuple(self.tokenizer.batch(part, self.context) for part in parts)


def _drawn(views: Sequence[TextView], most: int, false: int, rng: np.random.Generator) -> list[TextView]:
    """Draw at most `most` of a video's views, alternating kinds, each with at most `false` of its false texts."""
    by_kind: dict[str, list[TextView]] = {}
    for i in rng.permutation(len(views)):
        by_kind.setdefault(views[i].kind, []).append(views[i])
    turns = chain.from_iterable(zip_longest(*by_kind.values()))
    chosen = list(islice((view for view in turns if view is not None), most))
    return [
        replace(view, false=tuple(view.false[i] for i in rng.permutation(len(view.false))[:false])) for view in chosen
    ]


def _unique(views: Iterable[TextView]) -> list[str]:
    return list(dict.fromkeys(text for view in views for text in (view.text, *view.false)))


def _fill(row: Tensor, values: Sequence[int]) -> None:
    row[: len(values)] = torch.tensor(values)


def _identity(text: str) -> int:
    """Return a 63-bit digest of a text, so that processes can compare texts."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


AT_ONCE_ON_CPU = 12
"""Videos encoded at a time on a CPU, activations kept: staying within its caches takes a sixth less time (measured with
128 tokens each; our choice)."""


@dataclass(frozen=True, slots=True)
class StatementLoss:
    """The weight of statements beside captions, and the initial value of their learned temperature.

    It is separate, and low: a statement and its false ones share nearly all words, so their similarities differ by far
    less than those of captions (our choice).
    """

    weight: float = 1.0
    temperature: float = 0.03


class ContrastiveStep(nn.Module):
    """The dual encoder with its loss: `forward(batch) -> (loss, metrics)`.

    `chunk` videos are encoded at a time; 0 means all at once.
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
        """Return this process's share of the global loss: the mean over processes is the loss of the global batch."""
        videos, texts = self._videos(batch), self._texts(batch)
        # Similarities in bfloat16 (three digits), multiplied by up to 100, would be noise.
        with torch.autocast(videos.device.type, enabled=False):
            return self._loss(videos, texts, batch)

    def _loss(self, videos: Tensor, texts: Tensor, batch: ContrastiveBatch) -> tuple[Tensor, dict[str, Tensor]]:
        scale = self.encoder.scale
        loss, metrics = caption_loss(videos, texts, batch, scale)
        metrics["temperature"] = 1 / scale.detach()
        if self.statements:
            told, more = statement_loss(videos, texts, batch, bounded_scale(self.statement_log_scale))
            if len(batch.roles.asked):  # images have none, and would lower the means of the record
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
    """Texts encoded by a frozen text tower, without gradients; statements are cached for later batches.

    A statement is encoded alone, without padding, so that its last digits don't depend on when it first occurred, and
    an interrupted run continues bit for bit. Captions are too many to be cached.
    """

    def __init__(self, tower: nn.Module) -> None:
        self._tower = tower
        self._kept: dict[tuple[bytes, ...], Tensor] = {}

    @torch.no_grad()
    def __call__(self, batch: ContrastiveBatch) -> Tensor:
        """Return the tower's output for all texts of a batch: [N, width]."""
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
    """Return the features of all chunks, without keeping activations for the backward pass."""
    # Early stop would leave a module that FSDP has gathered in that state.
    return torch.cat([checkpoint(encode, *chunk, use_reentrant=False, early_stop=False) for chunk in chunks])


def caption_loss(
    videos: Tensor, texts: Tensor, batch: ContrastiveBatch, scale: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute symmetric NCE (as in CLIP) over the global batch, with false captions added to their own video's row.

    Videos [B, E] against texts [N, E]; the mean is over the captions of the videos. Another
    video's caption with the same words is not a negative and is left out of the sum.
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
    """Compute the cross-entropy of each true statement among false ones: a weighted mean over the global batch."""
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
    """Return the accuracy of each kind of question in this process's share of the batch."""
    right = hits.new_zeros(len(roles.kinds)).index_add(0, roles.kind, hits * roles.weight)
    asked = hits.new_zeros(len(roles.kinds)).index_add(0, roles.kind, roles.weight)
    return {f"accuracy_{kind}": share for kind, share in zip(roles.kinds, right / asked, strict=True)}


def _own_columns(rows: int, columns: int, device: torch.device) -> Tensor:
    """Return the columns of this process's rows in the global batch."""
    first = distributed.get_rank() * rows if columns > rows else 0
    return torch.arange(rows, device=device) + first


def _share(losses: Tensor, count: Tensor) -> Tensor:
    """Sum this process's terms, scaled so that the mean over processes is the global mean."""
    size = distributed.get_world_size() if distributed.is_initialized() else 1
    return losses * size / _positive(total(count))


def _positive(count: Tensor) -> Tensor:
    """Return a safe divisor: 1 if there is nothing to count."""
    return count.where(count > 0, 1)
