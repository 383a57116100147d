"""What an EgoSchema question asks for, by a stated rule on its words (ours: the benchmark publishes no labels).

The kinds follow those that the EgoSchema paper describes in words (purpose, tools, key moments, order, people), with
comparison and summary as kinds of their own, because they are what long videos are needed for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

OTHER = "other"
QUESTION_WORD = re.compile(
    r"\b(?:what|which|how|why|who|where|when|can you|could you|identify|describe|explain|summari[sz]e|compare|contrast|"
    r"discuss|analy[sz]e|determine|provide|infer|deduce|highlight|evaluate|outline|name|list|condense)\b"
)
PERSON = r"(?:m[ae]n|wom[ae]n|lady|boys?|girls?|child\w*|persons?|people|individuals?|characters?|others?|friends?)"
# Each kind with the words that ask for it (regular expressions, whole words).
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "comparison": (
            r"compar\w*|contrast\w*|differ(?:s|ed|ences?|ent from|entiate\w*)?|similar\w*|distinguish\w*"
            "|versus"
        ),
        "people": (
            rf"interact\w*(?=.*\b{PERSON}\b)|relationship\w*|collaborat\w*|cooperat\w*|communicat\w*"
            r"|conversation\w*|social\w*|each other|one another"
        ),
        "order": (
            r"sequence\w*|order(?! to)|steps?|stages?|phases?|chronolog\w*|progress\w*|evol\w+|transition\w*"
            r"|chang(?:e|es|ed)|shift\w*|process\w*|pattern\w*|repeat\w*|repetiti\w*|recurring"
        ),
        "key moment": (
            r"key|crucial|critical|pivotal|essential|defining|decisive|significan\w+|importan\w+|vital"
            r"|turning points?|moments?|highlights?|prioriti\w*"
        ),
        "tools": (
            "tools?|materials?|equipment|ingredients?|utensils?|devices?|instruments?|objects?|items?"
            "|techniques?|methods?"
        ),
        "purpose": (
            r"purpose\w*|goals?|objectives?|aim\w*|inten[dt]\w*|motivat\w*|reason\w*|why|focus\w*|achiev\w*"
            r"|accomplish\w*|trying to|roles?|function|contribut\w*|challenge\w*|problems?"
        ),
        "summary": (
            r"summar\w*|over(?:all|arching)(?! (?:purpose|goal|objective|aim))|overview|theme\w*|narrative\w*"
            r"|(?:main|primary|central) (?:actions?|event\w*)|activit\w+|tasks?|condens\w*|concise\w*"
            "|in your own words"
        ),
    }
)
PATTERNS = tuple((kind, re.compile(rf"\b(?:{words})\b")) for kind, words in KINDS.items())


def question_type(question: str) -> str:
    """The kind whose word comes first, read from the question word on; `other` where none does.

    What stands before the question word ("Considering the sequence of actions, what is …") sets the scene and is read
    only where the rest says nothing. Of two words at one place the kind listed first wins.
    """
    text = question.lower()
    asked = QUESTION_WORD.search(text)
    return first_kind(text[asked.start() :] if asked else text) or first_kind(text) or OTHER


def first_kind(text: str) -> str | None:
    """The kind whose word stands first in a lower-case text."""
    found = [(match.start(), kind) for kind, pattern in PATTERNS if (match := pattern.search(text))]
    return min(found, key=lambda hit: hit[0])[1] if found else None
