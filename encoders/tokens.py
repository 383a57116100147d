"""Turn texts into token ids without a hub: our own `tokenizers` file is stored beside the weights.

Our choice, as the paper names no tokenizer: lower-cased byte-level BPE, trained on the training texts by
the recipe. It has no unknown words, and its training is deterministic, unlike that of `tokenizers`'
WordPiece. BERT's or CLIP's `tokenizer.json` can also be used. Texts longer than the tower's context are
split into chunks whose outputs are pooled, and `TextBatch.chunks` counts them: nothing is cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from encoders.config import foreign_file, read_json
from encoders.control_tokens import text_only
from tasks.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PROBE = "A person stirs the soup; 12 ½ cups, c'est prêt: 鍋 🍲."
OWN = ("[PAD]", "[CLS]", "[SEP]")
HIGHEST_ID = 10_000_000
SPECIALS = (("[CLS]", "[SEP]", "[PAD]"), ("<start_of_text>", "<end_of_text>", "<end_of_text>"))
"""Start, end and padding tokens a vocabulary may have: BERT's, or open_clip's."""
FEW = 32
"""Below so many texts, waking a batch's threads takes longer than the texts."""


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Token ids [C, L] of C chunks, `mask` (True at real tokens) and the index of each chunk's text."""

    ids: Tensor
    mask: Tensor
    owner: Tensor
    texts: int

    def to(self, device: torch.device | str) -> TextBatch:
        """Move the batch to another device."""
        return TextBatch(self.ids.to(device), self.mask.to(device), self.owner.to(device), self.texts)

    def of(self, texts: Sequence[int]) -> TextBatch:
        """Select some of the texts, in ascending order, with no more padding than they need."""
        chosen = torch.isin(self.owner, torch.tensor(texts, device=self.owner.device))
        place = torch.full((self.texts,), -1, device=self.owner.device)
        place[list(texts)] = torch.arange(len(texts), device=self.owner.device)
        length = int(self.mask[chosen].sum(1).max())
        return TextBatch(self.ids[chosen, :length], self.mask[chosen, :length], place[self.owner[chosen]], len(texts))

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunks of each text; more than 1 if it is longer than the context."""
        return tuple(torch.bincount(self.owner, minlength=self.texts).tolist())


@dataclass(frozen=True)
class TextTokenizer:
    """A `tokenizers.Tokenizer` with the ids of its start, end and padding tokens."""

    tokenizer: Tokenizer
    start: int
    end: int
    pad: int

    @property
    def size(self) -> int:
        """The number of vocabulary entries."""
        return self.tokenizer.get_vocab_size()

    @cached_property
    def reader(self) -> Tokenizer:
        """The tokenizer for texts from outside, in which "[SEP]" is five ordinary characters."""
        return text_only(self.tokenizer)

    def to_json(self) -> str:
        """Return the tokenizer file's text."""
        return self.tokenizer.to_str(pretty=True)

    def batch(self, texts: Sequence[str], context: int, *, length: int | None = None) -> TextBatch:
        """Tokenise into chunks of at most `context` tokens, start and end tokens included.

        `length` pads every chunk to a fixed length, for compiled towers.
        """
        if not texts:
            raise ModelError("no texts to tokenise")
        room = context - 2
        chunks: list[list[int]] = []
        owner: list[int] = []
        for number, of_text in enumerate(self._ids(texts)):
            for first in range(0, max(len(of_text), 1), room):
                chunks.append([self.start, *of_text[first : first + room], self.end])
                owner.append(number)
        lengths = torch.tensor([len(chunk) for chunk in chunks])
        mask = torch.arange(max(int(lengths.max()), length or 0)) < lengths[:, None]
        ids = torch.full(mask.shape, self.pad, dtype=torch.long)
        ids[mask] = torch.tensor(list(chain.from_iterable(chunks)))
        return TextBatch(ids, mask, torch.tensor(owner), len(texts))

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        if len(texts) < FEW:
            return [self.reader.encode(text, add_special_tokens=False).ids for text in texts]
        return [encoding.ids for encoding in self.reader.encode_batch(list(texts), add_special_tokens=False)]


def as_text_tokenizer(tokenizer: Tokenizer, source: str) -> TextTokenizer:
    """Find the special tokens. Raises ModelError naming `source` if there are none."""
    for names in SPECIALS:
        start, end, pad = (tokenizer.token_to_id(name) for name in names)
        if start is not None and end is not None and pad is not None:
            return TextTokenizer(tokenizer, start, end, pad)
    known = " or ".join(", ".join(names) for names in SPECIALS)
    raise ModelError(f"{source} has no start, end and padding tokens; give a tokenizer that has {known}")


def read_tokenizer(text: str, source: str) -> TextTokenizer:
    """Build a tokenizer from its JSON. Raises ModelError naming `source` if it is invalid, or can't encode a text."""
    from tokenizers import Tokenizer

    with foreign_file(f"{source} is not a tokenizer file"):
        tokenizer = Tokenizer.from_str(text)
        # The library counts through every unused id, which takes gigabytes long before the last possible one.
        if highest := [id_ for id_ in tokenizer.get_vocab().values() if id_ > HIGHEST_ID]:
            raise ModelError(f"{source} has a token with the id {max(highest)}, past any vocabulary's ({HIGHEST_ID})")
        found = as_text_tokenizer(tokenizer, source)
        try:
            found.reader.encode(PROBE, add_special_tokens=False)
        except ModelError as error:
            raise ModelError(f"{source}: {error}") from error
    return found


def load_tokenizer(path: Path) -> TextTokenizer:
    """Read a `tokenizer.json`. Raises ModelError if it is missing or invalid."""
    if not path.is_file():
        raise ModelError(f"no tokenizer at {path}")
    return read_tokenizer(json.dumps(read_json(path, ours=False)), str(path))


def train_tokenizer(texts: Iterable[str], size: int) -> TextTokenizer:
    """Train a lower-cased byte-level BPE of at most `size` entries; the same texts give the same file."""
    from tokenizers import trainers

    tokenizer = _byte_level()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(OWN),
        initial_alphabet=_alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return as_text_tokenizer(tokenizer, "the trained vocabulary")


def byte_tokenizer() -> TextTokenizer:
    """UTF-8 bytes as tokens: needs no training, for untrained encoders and tests."""
    return train_tokenizer([], 0)


def _alphabet() -> list[str]:
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def _byte_level() -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
