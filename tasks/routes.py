"""How a multiple-choice answer is obtained; importing this loads nothing else."""

from __future__ import annotations

from enum import StrEnum


class Route(StrEnum):
    """How an answer is obtained from a model. `given` is for models that name an option directly."""

    SIMILARITY = "embedding-similarity"
    OPTIONS_LOGLIK = "options-loglik"
    LETTER_LOGPROB = "letter-logprob"
    GENERATE = "generate+parse"
    GIVEN = "given"


MAX_OPTIONS = 26
"""The most options that letters can name."""
