"""A prompt and the continuations to weigh behind it, as token ids that no tokenizer has merged across the seam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class ScoringTokens:
    """A prompt's token ids and, apart from them, those of each continuation (never empty).

    The first `shared` tokens of the prompt may begin the next prompt too.
    """

    prompt: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...]
    shared: int = 0


def split_tokens(
    encode: Callable[[str], list[int]],
    text: str,
    continuations: Sequence[str],
    item: str,
    quote: Callable[[str], str] = str,
) -> ScoringTokens:
    """Token ids of the prompt `text` and of each continuation as it is tokenised behind that prompt.

    `quote` makes of a continuation what `encode` reads as text, where it would read control tokens otherwise.

    Raises ModelError, naming `item`, when a continuation is empty or its first characters would
    merge into the prompt's last token: its likelihood given the prompt would then be undefined.
    """
    if not continuations:
        raise ModelError(f"{item} has no continuation to score")
    prompt = encode(text)
    tails = []
    for number, continuation in enumerate(continuations):
        ids = encode(text + quote(continuation))
        if not continuation:
            raise ModelError(f"{item}: continuation {number} is empty")
        if ids[: len(prompt)] != prompt or len(ids) == len(prompt):
            raise ModelError(
                f"{item}: continuation {number} ({continuation[:40]!r}) merges with the end of the prompt "
                f"({text[-20:]!r}) in the tokenizer; move the blank between them to the continuation"
            )
        tails.append(tuple(ids[len(prompt) :]))
    return ScoringTokens(tuple(prompt), tuple(tails))
