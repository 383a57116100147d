"""The ways to cut captions into tokens, by the names that results carry."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, get_args

from tasks.errors import DataError
from tasks.ptb_tokenizer import ptb_tokens

# The version of `ptb`'s rules, as results carry it. 2: as the original where a space or no space stands beside
# punctuation, in telephone numbers, times, addresses and escaped brackets.
PTB_VERSION = "ptb, version 2"
TokenizerName = Literal["ptb", "letters", "none"]
Tokenize = Callable[[str], tuple[str, ...]]

_NOT_A_LETTER = re.compile(r"[^a-zA-Z]")


def letter_tokens(text: str) -> tuple[str, ...]:
    """Lower-cased runs of a to z; everything else separates (the SVPC paper's preparation)."""
    return tuple(_NOT_A_LETTER.sub(" ", text).lower().split())


def white_space_tokens(text: str) -> tuple[str, ...]:
    """The text as it stands, split at white space: for captions that are tokenised already."""
    return tuple(text.split())


def tokenizer(name: str) -> Tokenize:
    """The tokenizer called `name`; DataError when there is none."""
    if name == "ptb":
        return ptb_tokens
    if name == "letters":
        return letter_tokens
    if name == "none":
        return white_space_tokens
    msg = f"no tokenizer '{name}': choose {', '.join(get_args(TokenizerName))}"
    raise DataError(msg)
