"""The tokenizers for captions, by the names used in results, including the PTB tokenizer in Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from tasks.errors import DataError

# dropped by coco-caption after tokenising; it lists the brackets upper-cased, so they are never dropped
_PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_SIGNS = {
    "£": "#",
    "€": "$",
    "¤": "$",
    "¢": "cents",
    "¼": "1/4",
    "½": "1/2",
    "¾": "3/4",
    "⅓": "1/3",
    "⅔": "2/3",
}
# quotation marks, dashes and the ellipsis: what they become is dropped as punctuation
_DROPPED_SIGNS = '"\u201c\u201d\u2018\u2019\u00ab\u00bb\u2039\u203a\u2026\u2013\u2014\u2015'
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": "''", "&apos;": "'", "&nbsp;": ""}

_ABBREVIATIONS = """
adj adm adv al ala alex apr ariz assn asst aug ave bhd bldg blvd brig bros calif capt cf cie cmdr
co col colo conn corp cos cpl ct dak dec dept det dr drs elec ens esq est etc ext feb fla fri ft ga
gen gov hon ind inc insp intl jan jos jr jul jun kan ky lt ltd maj mar md messrs mich minn mlle mme
mo mon mont mr mrs ms mt natl neb nev nov oct okla penn pfc ph plc pres prof pvt rd rep rev rt sen
sep sept seq sfc sgt spc sq sr st ste supt sys tel tenn thu thurs treas tue tues univ va vs vt wed
wis wm wyo mfg mtg ppty pte pty
"""
_CAPITAL_ABBREVIATIONS = "Ark Az Del Ill La Mass Miss Ore Pa Tex Wash"  # or in capitals throughout
_BEFORE_NUMBERS = "art ca fig figs no nos op pp prop"
# after a single letter and a dot, these begin a sentence: the letter is then not an initial
_SENTENCE_STARTS = """
A About According Additionally After An As At But Earlier He Her Here However If In It Last Many
More Now Once One Other Our She Since So Some Such That The Their Then There These They This We What
When While Yet You
"""

_LETTER = r"[^\W\d_²³¹¼-¾⅐-⅟①-⓿]"
_APOS = "['\u2019]"


def _any_of(words: str) -> str:
    return "|".join(sorted(words.split(), key=len, reverse=True))


_APART = r'\s"<>|()'  # what no address holds
_ENDING = rf"{_APART}.!?{{}},"  # nor ends with
_PATTERNS = {
    # most words of most captions: tried first, since the rules for the rest are slow
    "plain": r"(?!(?:cannot|gonna|wanna|gotta|gimme|lemme)\b)[a-z]+(?=\ |$)|\d+(?=\ [a-z]|$)",
    "tag": r"</?[A-Za-z!?][^<>\n]*>",
    "kept": rf"""(?=[^{_APART}]*[.@:]|\#)(?:https?://[^{_APART}]*[^{_ENDING}-]
        | (?:www\.(?:[^{_ENDING}]+\.)+[A-Za-z]{{2,4}}
            | (?:[A-Za-z][A-Za-z0-9]*\.)+(?:com|net|org|edu)(?:\.[a-z]{{2}})?\b(?![.!?][A-Za-z]))
          (?:/[^{_APART}]+[^{_ENDING}-])?
        | [A-Za-z0-9][^{_APART}@]*@[^{_ENDING}@]+(?:\.[^{_ENDING}@]+)*
        | [A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z0-9]+)*\.(?i:mp[34]|jpe?g|png|gif|html?|pdf|txt|docx?|zip|xml|py|wav|mov)\b
        | @[A-Za-z_]\w* | \#{_LETTER}+)""",
    "entity": r"&(?:amp|lt|gt|quot|apos|nbsp);|&\#\d+;",
    # words and numbers run together by dots and commas, the last of them hyphenated
    "joined": r"[A-Za-z0-9]+(?:[.,][A-Za-z0-9]+)+(?:-[A-Za-z0-9]+)+",
    "number": r"""\d{1,2}[-/]\d{1,2}[-/]\d{2,4}
        | (?:\(\d{2,3}\)\ ?|(?:\+\+?)?(?:\d{2,4}[-\ ])?\d{2,4}[-\ ])\d{3,4}[-\ ]?\d{3,5}(?![A-Za-z0-9])
        | \d{1,4}[-\ ]\d{1,4}[/\u2044]\d{1,4}(?![\w/])
        | \d+\u2044\d+ | [-+]?\d*(?:[.,:]\d+)+ | [-+]\d+""",
    "smiley": r"[<>]?[:;=][-o*']?[()DPdp\\{@|\[\]](?!\w)|[-^x=~<>']_[-^x=~<>'](?!\w)",
    "contraction": rf"""(?i:(?=[cgnmtwl'\u2019])(?:can(?=not\b) | (?<=can)not
        | (?:gon|wan)(?=na\b) | (?<=gon)na | (?<=wan)na
        | got(?=ta\b) | (?<=got)ta | (?:gim|lem)(?=me\b) | (?<=gim)me | (?<=lem)me
        | {_APOS}t(?=(?:is|was)\b)))""",
    "slashed": r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2}",
    "initials": r"""[A-Z]+(?:[+&][A-Z]+)+
        | [A-Za-z]{1,2}(?:\.[A-Za-z])+\.(?!\w)(?:-(?:[A-Za-z](?:\.[A-Za-z])+\.|[A-Za-z]+))?""",
    "dotted": rf"{_LETTER}+(?:[.!?]{_LETTER}+)+",
    "abbreviation": rf"""(?={_LETTER}+\.)(?:
        (?:(?i:{_any_of(_ABBREVIATIONS)})|{_any_of(f"{_CAPITAL_ABBREVIATIONS} {_CAPITAL_ABBREVIATIONS.upper()}")})\.
        | (?i:{_any_of(_BEFORE_NUMBERS)})\.(?=\ ?\d)
        | {_LETTER}\.(?!\s+(?:{_any_of(_SENTENCE_STARTS)})\b)
        | {_LETTER}+\.(?=[,;:]))""",
    "negated": rf"(?i:[a-z]+(?=n{_APOS}t(?![a-z]))|n{_APOS}t(?![a-z]))",
    "apostrophe": rf"""(?i:{_APOS}(?:[msd]|re|ve|ll)(?![a-z])|y{_APOS}(?!(?:[msd]|re|ve|ll)\b)(?=[a-z])
        | {_APOS}n(?:{_APOS}|(?![a-z]))|{_APOS}(?:em|till?|cause)|{_APOS}[2-9]0s)""",
    "bound": rf"""(?i:(?:c{_APOS}mon|s{_APOS}mores|nat{_APOS}l)\b|ol{_APOS})|[A-Z]+\$|[CF]\#(?!\w)|C\+\+
        | (?i:-[lr][rsc]b-) | [A-Za-z]*[aeiouyAEIOUY]{_APOS}[aeiou][A-Za-z]*
        | (?i:[dlj]{_APOS}(?=\s|$))|[A-HJ-XZ]{_APOS}{_LETTER}{{2,}}|[A-Z]+{_APOS}[A-Z][a-z]+""",
    "word": rf"""(?i:[dol]{_APOS}(?=[a-z]{{2}}))?(?:{_LETTER}|\d|[\u00ad\u0300-\u036f])+
        (?:[-\u2010\u2011_](?:(?i:[dol]'(?=[a-z]{{2}})))?(?:{_LETTER}|\d)+)*""",
    "run": r"[?!]+|>>|<<|\.{3,4}|-{5,}|-{2,4}|\*+|_+|\#+|''|``|[&]",
    "sign": r"[^\s\U00010000-\U0010ffff\u200b-\u200f\ufe0f\u00ad]",
}
_TOKEN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _PATTERNS.items()), re.VERBOSE)

# words of one piece: lower-case letters, with nothing that a rule above takes apart
_PLAIN = re.compile(r"[a-z ]*")
_SPLIT_WORDS = frozenset(["cannot", "gonna", "wanna", "gotta", "gimme", "lemme"])


def ptb_tokens(text: str) -> tuple[str, ...]:
    """The PTB tokens of one caption; line breaks count as spaces."""
    if _PLAIN.fullmatch(text):
        words = text.split()
        if _SPLIT_WORDS.isdisjoint(words):
            return tuple(words)
    found = []
    for match in _TOKEN.finditer(" ".join(text.splitlines())):
        token = match[0] if match.lastgroup == "plain" else _written(match.lastgroup, match[0])
        if token and token not in _PUNCTUATION:
            found.append(token)
    return tuple(found)


def _written(kind: str | None, token: str) -> str:
    """Write a token as the original prints it: normalised and lower-cased."""
    if kind == "sign":
        written = _BRACKETS.get(token) or _SIGNS.get(token) or token.lower()
        return "" if written in _DROPPED_SIGNS else written
    if kind in {"tag", "number", "smiley"}:
        return token.replace(" ", "\u00a0").replace("(", "-lrb-").replace(")", "-rrb-").lower()
    if kind == "entity":
        return _ENTITIES.get(token, token)
    if kind == "run":
        return "" if token.startswith(("...", "--")) and len(token) < 5 else token
    if kind in {"negated", "apostrophe"}:
        token = token.replace("\u2019", "'")
    return token.replace("\u00ad", "").lower()


# The version of `ptb`'s rules, as stored in results. 2: as the original where a space or no space stands beside
# punctuation, in telephone numbers, times, addresses and escaped brackets.
PTB_VERSION = "ptb, version 2"
TokenizerName = Literal["ptb", "letters", "none"]
Tokenize = Callable[[str], tuple[str, ...]]

_NOT_A_LETTER = re.compile(r"[^a-zA-Z]")


def letter_tokens(text: str) -> tuple[str, ...]:
    """Lower-cased runs of a to z; everything else separates (the SVPC paper's preparation)."""
    return tuple(_NOT_A_LETTER.sub(" ", text).lower().split())


def white_space_tokens(text: str) -> tuple[str, ...]:
    """Split a text at white space, for captions that are already tokenised."""
    return tuple(text.split())


_UNSPACED = r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"
_UNSPACED_TEXT = re.compile(rf"{_UNSPACED}{{3,}}")
_UNSPACED_RUN = re.compile(rf"{_UNSPACED}{{12,}}")


def is_unsplit(tokens: Sequence[str]) -> bool:
    """Whether a text in a script without spaces (Chinese, Japanese, Thai, …) was left in one piece.

    Such a piece matches only its equal, so that figures of shared words say little. Words that were split beforehand
    are shorter.
    """
    alone = len(tokens) == 1 and _UNSPACED_TEXT.search(tokens[0]) is not None
    return alone or any(map(_UNSPACED_RUN.search, tokens))


def tokenizer(name: str) -> Tokenize:
    """Return the tokenizer called `name`. Raises DataError if there is none."""
    if name == "ptb":
        return ptb_tokens
    if name == "letters":
        return letter_tokens
    if name == "none":
        return white_space_tokens
    msg = f"no tokenizer '{name}': choose {', '.join(get_args(TokenizerName))}"
    raise DataError(msg)
