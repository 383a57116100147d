"""How a multiple-choice answer is got; importing this loads nothing else."""

from __future__ import annotations

from enum import StrEnum


class Route(StrEnum):
    """How an answer is got out of a model. `given` is for models that name an option outright."""

    SIMILARITY = "embedding-similarity"
    OPTIONS_LOGLIK = "options-loglik"
    LETTER_LOGPROB = "letter-logprob"
    GENERATE = "generate+parse"
    GIVEN = "given"


MAX_OPTIONS = 26
"""The most options that letters can name."""
