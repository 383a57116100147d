"""A contrastive batch: pixels, the tokens that survive, and texts with the parts they play."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice, zip_longest

import numpy as np
import torch
from torch import Tensor

from encoders.config import VisionConfig
from encoders.device import send
from encoders.masking import MaskBy, sample_keep
from encoders.pretrain.loader import Slot, stack_pixels
from encoders.pretrain.questions import Balance, Question, ask, truth_of
from encoders.pretrain.samples import TextView
from encoders.tokens import TextBatch, TextTokenizer

NONE = -1
PARTS = 4


@dataclass(frozen=True, slots=True)
class Roles:
    """Which texts a batch's B videos are compared with, as indices into its texts; -1 stands for none.

    `captions` [B, V, 1 + K]: V captions, each the true one and then its false ones. `ids` [B, V] is
    equal exactly for equal true captions. Question q is put to video `asked` [Q]: the first of
    `options` [Q, 1 + F] is true; it counts `weight` [Q] and is of the kind `kinds[kind[q]]`.
    """

    captions: Tensor
    ids: Tensor
    asked: Tensor
    options: Tensor
    weight: Tensor
    kind: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    kinds: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Roles:
        """The same roles on another device."""
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
    """uint8 `pixels` [B, T, H, W, 3] with `keep` as in encoders.masking; `texts` in parts of like length.

    A video that could not be read is black and has no texts, so that no loss counts it. `label` stands before the
    names of its metrics, so that those of clips and images don't mix with those of videos.
    """

    pixels: Tensor
    keep: Tensor | None
    texts: tuple[TextBatch, ...]
    roles: Roles
    label: str = ""

    def to(self, device: torch.device) -> ContrastiveBatch:
        """The same batch on another device."""
        return replace(
            self,
            pixels=send(self.pixels, device),
            keep=None if self.keep is None else self.keep.to(device),
            texts=tuple(part.to(device) for part in self.texts),
            roles=self.roles.to(device),
        )


@dataclass(frozen=True, slots=True)
class Views:
    """How many texts of each kind a video brings into a batch; a video that has fewer brings those.

    `false_captions` and `false_statements` bound how many false ones come with each. Statements are
    put to all videos of a circle of `circle` neighbours in the batch, where `balance` says what weighs the same
    (see encoders.pretrain.questions).
    """

    captions: int = 1
    false_captions: int = 4
    statements: int = 0
    false_statements: int = 4
    circle: int = 1
    balance: Balance = "statements"


@dataclass(frozen=True, slots=True)
class Collate:
    """From samples to a contrastive batch; the mask and the choice of texts follow from its seed.

    Texts are split by length into PARTS, so that short ones are not padded to the longest, or into
    more where one would hold above `texts_at_once` (0: no bound).
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
        """The tokens that survive, drawn for each video by its own seed."""
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
    """At most `most` of a video's views, kinds taking turns, each with at most `false` of its false texts."""
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
    """A 63-bit number that stands for a text, so that processes can compare texts."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1
