"""What a page's words mean, for a reader who has never seen one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

Terms = tuple[tuple[str, str], ...]

TASKS: Mapping[str, Terms] = MappingProxyType(
    {
        "multiple-choice": (
            ("accuracy", "the share of questions about a video for which the right option was chosen."),
            (
                "route",
                (
                    "how the choice was got. options-loglik: how likely a language model finds each option's words; "
                    "letter-logprob: how likely the letter; generate+parse: free text, read by rules; "
                    "embedding-similarity: how close each option's text lies to the video; given: named outright."
                ),
            ),
        ),
        "retrieval": (
            (
                "recall at k",
                (
                    "the share of texts whose video was among the k found first in the whole pool; video to text the "
                    "other way round."
                ),
            ),
        ),
        "captioning": (
            (
                "text scores",
                (
                    "how much a text shares with what people wrote of the same clip: ROUGE-L the longest sequence of "
                    "words, BLEU and METEOR words and phrases, CIDEr-D above all the rare ones. ROUGE-L is high even "
                    "for texts that saw nothing."
                ),
            ),
        ),
    }
)
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
    return (*(term for family in dict.fromkeys(families) for term in TASKS.get(family, ())), *EVERYWHERE)
