"""What a page's words mean, for a reader who has never seen one."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.registry import family_of

Terms = tuple[tuple[str, str], ...]

EVERYWHERE: Terms = (
    (
        "floor",
        (
            "what is had without looking at the video: random guesses (chance), the same answer every time (constant), "
            "a language model that reads the question alone (blind), another video's text. A figure is worth what it "
            "is above its floors."
        ),
    ),
    (
        "95 % interval",
        (
            "where the figure may well lie on other videos of the same kind. It is taken over whole source videos, for "
            "what is asked about one of them goes together; over fewer than ten no method holds its level."
        ),
    ),
    (
        "cost",
        (
            "of one item, that is one question, text or clip: seconds, language-model tokens and frames looked at; "
            "memory is the process's peak. A dash is what was not measured."
        ),
    ),
    (
        "not run here",
        "imported answers were made elsewhere and scored here; published figures were neither made nor scored here.",
    ),
)


def terms(families: Iterable[str]) -> Terms:
    """The words of some families' pages, each once."""
    return (*(term for family in dict.fromkeys(families) for term in family_of(family).terms), *EVERYWHERE)
