"""open_clip's BPE as a `tokenizers` file, so that a converted model runs without open_clip."""

from __future__ import annotations

from typing import Any

from encoders.tokens import TextTokenizer, as_text_tokenizer
from tasks.errors import ModelError

PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""How CLIP splits text before merging (MIT-licensed, OpenAI CLIP)."""


def convert_tokenizer(tokenizer: Any, name: str) -> TextTokenizer:  # noqa: ANN401 - an untyped library
    """Rebuild open_clip's SimpleTokenizer. Raises ModelError for its other tokenizers.

    The repair of broken Unicode and HTML entities that open_clip does first is left out.
    """
    if type(tokenizer).__name__ != "SimpleTokenizer":
        raise ModelError(f"{name}: cannot convert a tokenizer of type {type(tokenizer).__name__}, only CLIP's BPE")
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    merges = [(str(first), str(second)) for first, second in tokenizer.bpe_ranks]
    bpe = models.BPE(vocab=dict(tokenizer.encoder), merges=merges, end_of_word_suffix="</w>")
    converted = Tokenizer(bpe)
    converted.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(), normalizers.Lowercase()]
    )
    converted.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    converted.decoder = decoders.ByteLevel()
    return as_text_tokenizer(converted, name)
