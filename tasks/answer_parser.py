r"""Reads the chosen option out of a model's free-text reply, or says that it can't.

EgoSchema calls the camera wearer "C" and its options may hold full stops, quotes and lettered text,
so a letter counts only where it marks an answer. A reply is read in three steps:

1. reasoning between tags is dropped, then mark-up (`fold`);
2. every option quoted in full becomes one private character, its sign, so that nothing inside an
   option's text can pass for a letter or a statement (`_with_signs`);
3. `RULES` are tried in order. The first that finds anything decides: one option is the answer;
   several, or a letter beyond the last option, leave the reply unparsed. Nothing is ever guessed.

Digits are never an option's number: whether 4 is the fourth or the fifth can't be known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PARSER_VERSION = "choice-parser.v1"
UNPARSED = "unparsed"
MAX_OPTIONS = 26


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """The option's index, or None, and the name of the rule that read it, or "unparsed"."""

    answer: int | None
    rule: str


_FIRST_SIGN = 0xE000  # Unicode's private use area: never a word character, never in a real reply
_SIGN = f"[{chr(_FIRST_SIGN)}-{chr(_FIRST_SIGN + MAX_OPTIONS - 1)}]"
_NOT_WORD = f"[^\\w{_SIGN[1:]}"  # punctuation and white space, but no sign

_NO_ONES_SIGN = chr(_FIRST_SIGN + MAX_OPTIONS)
_NAME = re.compile(rf"{_SIGN}|\b[A-Za-z]\b(?!')")
_CORE = re.compile(r"\w(?:.*\w)?", re.DOTALL)
# An option of one or two words ("no", "cooking") is quoted only where a clause ends with it.
_SHORT_END = r"""(?=["')\]]{0,3}(?:$|[.,;!?\n]))"""

_REASONING_TAG = re.compile(r"<(/?)(?:think|thinking|reasoning)>", re.IGNORECASE)
_FINAL_MARK = re.compile(r"\\boxed\s?\{|<answer>", re.IGNORECASE)
_MARK_UP = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\b|</answer>|[*_`#$\\{}]", re.IGNORECASE)
_PLAIN = (
    {0xFF01 + i: 0x21 + i for i in range(94)}  # full-width forms
    | dict.fromkeys(map(ord, "“”„«»"), '"')
    | dict.fromkeys(map(ord, "‘’"), "'")
    | dict.fromkeys(range(_FIRST_SIGN, _FIRST_SIGN + MAX_OPTIONS + 1), " ")
)

# Quantifiers over unlike things are bounded throughout, so that reading takes linear time.

# What may follow a letter that stands for an option. In "the answer is C reading" or "a man" no
# option is named; a question mark after the letter asks, it doesn't state.
_LETTER = rf"""\b[A-Za-z]\b(?:["']?[)\]]|(?=["']?(?:
    \s*$ | \n | [.,;:!](?!\w) | \s[-–—]\s | \s?{_SIGN}
    | ,?\s(?:or|and)\s[A-Z]\b | /[A-Z]\b | \s(?:because|since|as)\b
)))"""
_VALUE = rf"(?:{_LETTER}(?:(?!\n){_NOT_WORD}){{0,4}}{_SIGN}|{_LETTER}|{_SIGN})"
_VALUES = rf"""(?P<values>{_VALUE}(?:(?:,\s|,?\s(?:or|and)\s|/)["'(\[]?{_VALUE}){{0,26}})"""
_STATEMENT = re.compile(
    rf"""
    (?: (?: \b(?<!to\s)answer\b(?!\s(?:choice\s|option\s)?(?-i:[A-Z])\b)
          | \b(?:correct|right|best|final|likely)\s(?:option|choice|response|one)\b
          | ["'](?:option|choice)["'] )
        (?:(?!\bnot\b|n't|cannot|never)[^.;!?\n]){{0,60}}?
        (?:\bis|\bbe|:|=|\s-)
      | \b(?:choose|select|pick|go\swith|going\swith) )
    (?:[\s"'(\[:]|(?:most|likely|probably|clearly|option|choice|letter|answer|that)\b){{0,8}}
    {_VALUES}
    | (?P<subject>\b(?-i:[A-Z])\b|{_SIGN})["')\]]{{0,2}}\s(?:is|seems|would\sbe)\s(?:the\s)?(?:most\s|likely\s)?
      (?:correct(?=[.,!\n]|$)|(?:correct|right|best)\s(?:answer|option|choice|one)\b)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_DOUBT = re.compile(
    r"""(?:\b(?:not|cannot|never)|n't)(?:\s(?:think|believe|say|sure|certain|that|if|whether|be|to|i|the)){0,5}\s$
    | \b(?:if|whether|unless)(?:\sthe)?\s$""",
    re.IGNORECASE | re.VERBOSE,
)
_CLOSING = re.compile(
    r"""(?: ^ | [.!?]["')]?\s | \n
          | (?P<lead>\b(?:so|thus|hence|therefore|wait|actually|think|believe|say|guess|not\s[A-Z],?\sbut))
            [,:]?(?:\s(?:that|it\sis|it's|it\smust\sbe)){0,2}\s )
    (?:option\s)?["'(\[]{0,2}(?P<values>(?-i:[A-Z]\b\W{1,4}){0,25}(?-i:[A-Z]))\b[^\w]{0,6}$""",
    re.IGNORECASE | re.VERBOSE,
)
_LABEL = re.compile(
    rf"^{_NOT_WORD}{{0,4}}[A-Z](?:(?:[\"']?[.)\]](?!\w){_NOT_WORD}{{0,4}}|{_NOT_WORD}{{1,4}}(?={_SIGN})){_SIGN}?|$)",
    re.MULTILINE,
)
_WHOLE_LETTER = re.compile(rf"{_NOT_WORD}*(?:option|choice|answer)?{_NOT_WORD}*\b[a-z]{_NOT_WORD}*", re.IGNORECASE)
_WHOLE_SIGN = re.compile(rf"{_NOT_WORD}*{_SIGN}{_NOT_WORD}*")
_MENTION = re.compile(rf"(?:\b[A-Z][:)]\s?)?{_SIGN}|\b(?i:option|choice|answer)\s[\"'(\[]?[A-Z]\b(?!')")
_CLAUSE_END = re.compile(r"[.,;!?\n]|\bbut\b")
_DENIED = re.compile(
    r"""\b(?:not|no|never|neither|nor|cannot|whether|if|than|instead|unlike|unlikely
    |wrong|incorrect|eliminate|exclude|ruled?\sout)\b|n't""",
    re.IGNORECASE | re.VERBOSE,
)


def parse_choice(reply: str, options: Sequence[str]) -> ParsedAnswer:
    """The option that `reply` names (2 to 26 options, lettered from A); ours. Never raises on text."""
    text = _with_signs(_fold(_without_reasoning(reply)), options)
    for name, rule in RULES:
        found = rule(text)
        if found:
            answer = found.pop()
            if found or answer >= len(options):
                break
            return ParsedAnswer(answer, name)
    return ParsedAnswer(None, UNPARSED)


def _without_reasoning(reply: str) -> str:
    """What stands outside reasoning tags; a tag closed but never opened was opened by the prompt."""
    kept: list[str] = []
    inside = False
    for position, piece in enumerate(_REASONING_TAG.split(reply)):
        if position % 2 == 0:
            if not inside:
                kept.append(piece)
        elif piece == "/":
            if not inside:
                kept.clear()
            inside = False
        else:
            inside = True
    return "\n".join(kept)


def _fold(text: str) -> str:
    """Plain quotes and widths, no mark-up, single spaces, no blank lines; a boxed answer says so."""
    text = _MARK_UP.sub("", _FINAL_MARK.sub("\nAnswer: ", text.translate(_PLAIN)))
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


def _with_signs(text: str, options: Sequence[str]) -> str:
    """`text` with every option quoted in full replaced by its sign, the longest option first.

    Case, white space and punctuation at the ends don't matter. A text that two options share names
    neither: its sign belongs to no option. A lone letter stays the letter it is.
    """
    cores = [core.group() if (core := _CORE.search(_fold(option))) else "" for option in options]
    keys = [core.casefold() for core in cores]
    for index in sorted(range(len(cores)), key=lambda i: -len(cores[i])):
        words = cores[index].split()
        if not words or re.fullmatch("[A-Za-z]", cores[index]):
            continue
        end = r"(?!\w)" if len(words) >= 3 else _SHORT_END
        pattern = r"(?<!\w)" + r"\s".join(map(re.escape, words)) + end
        sign = chr(_FIRST_SIGN + index) if keys.count(keys[index]) == 1 else _NO_ONES_SIGN
        text = re.sub(pattern, sign, text, flags=re.IGNORECASE)
    return text


def _indices(text: str) -> set[int]:
    """Every option that `text` names by sign or by a letter standing alone."""
    return {
        ord(name) - _FIRST_SIGN if ord(name) >= _FIRST_SIGN else ord(name.upper()) - ord("A")
        for name in _NAME.findall(text)
    }


def _letter_alone(text: str) -> set[int]:
    """The whole reply is a letter: no other reading is possible, so lower case counts too."""
    return _indices(text) if _WHOLE_LETTER.fullmatch(text) else set()


def _option_alone(text: str) -> set[int]:
    """The whole reply is one option's text."""
    return _indices(text) if _WHOLE_SIGN.fullmatch(text) else set()


def _closing_letter(text: str) -> set[int]:
    """The reply ends in a letter that is a sentence or a conclusion of its own: the last word said."""
    match = _CLOSING.search(text)
    if match is None or (match["lead"] and _DOUBT.search(text[: match.start("lead")][-60:])):
        return set()
    return _indices(match["values"])


def _statement(text: str) -> set[int]:
    """ "The answer is …" and its like: the last one, because models correct themselves."""
    for match in reversed(list(_STATEMENT.finditer(text))):
        if not _DOUBT.search(text[max(0, match.start() - 60) : match.start()]):
            return _indices(match["values"] or match["subject"])
    return set()


def _line_label(text: str) -> set[int]:
    """A line that begins with a letter the way options are listed; a list of several names none."""
    return _indices(" ".join(_LABEL.findall(text)))


def _mention(text: str) -> set[int]:
    """The only option quoted or called "option X" in clauses that don't deny or doubt."""
    clauses = (clause for clause in _CLAUSE_END.split(text) if not _DENIED.search(clause))
    return _indices(" ".join(name for clause in clauses for name in _MENTION.findall(clause)))


RULES: tuple[tuple[str, Callable[[str], set[int]]], ...] = (
    ("letter", _letter_alone),
    ("option-text", _option_alone),
    ("closing-letter", _closing_letter),
    ("statement", _statement),
    ("line-label", _line_label),
    ("single-mention", _mention),
)
