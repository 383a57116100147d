"""Reads the chosen option out of a model's free-text reply, or says that it can't.

EgoSchema calls the camera wearer "C" and its options may hold full stops, quotes and lettered text,
so a letter counts only where it marks an answer. A reply is read in three steps:

1. reasoning between tags is dropped, then mark-up;
2. every option quoted in full becomes one private character, its sign, so that nothing inside an
   option's text can pass for a letter or a statement;
3. `RULES` are tried in order. The first that finds anything decides: one option is the answer;
   several, or a letter beyond the last option, leave the reply unparsed. Nothing is ever guessed.

Digits are never an option's number: whether 4 is the fourth or the fifth can't be known.
Repetitions over more than one kind of character are bounded, so that reading takes linear time.
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


def parse_choice(reply: str, options: Sequence[str]) -> ParsedAnswer:
    """The one option `reply` names; ours. Any text can be read.

    Raises ValueError unless there are 2 to 26 options, lettered from A.
    """
    if not 2 <= len(options) <= MAX_OPTIONS:
        raise ValueError(f"{len(options)} options: letters name 2 to {MAX_OPTIONS}")
    text = _with_signs(_fold(_without_reasoning(reply)), options)
    for name, rule in RULES:
        found = rule(text)
        if len(found) == 1 and max(found) < len(options):
            return ParsedAnswer(found.pop(), name)
        if found:
            break
    return ParsedAnswer(None, UNPARSED)


# --- Step 1: what the model says, without its thoughts and its typography -------------------------

_REASONING_TAG = re.compile(r"<(/?)(?:think|thinking|reasoning)>", re.IGNORECASE)


def _without_reasoning(reply: str) -> str:
    """What stands outside reasoning tags; a tag closed but never opened was opened by the prompt."""
    kept: list[str] = []
    inside = False
    for position, piece in enumerate(_REASONING_TAG.split(reply)):
        if position % 2 == 1:  # a tag: "" opens, "/" closes
            if piece and not inside:
                kept.clear()
            inside = not piece
        elif not inside:
            kept.append(piece)
    return "\n".join(kept)


_FIRST_SIGN = 0xE000  # Unicode's private use area: never a word character, never in a real reply
_SIGN = f"[{chr(_FIRST_SIGN)}-{chr(_FIRST_SIGN + MAX_OPTIONS - 1)}]"
_NO_ONES_SIGN = chr(_FIRST_SIGN + MAX_OPTIONS)
_NO_WORD = f"[^\\w{_SIGN[1:-1]}]"  # punctuation and white space, but no sign

_FINAL_MARK = re.compile(r"\\boxed\s?\{|<answer>", re.IGNORECASE)
_MARK_UP = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\b|</answer>|[*_`#$\\{}]", re.IGNORECASE)
_PLAIN = (
    {0xFF01 + i: 0x21 + i for i in range(94)}  # full-width forms
    | dict.fromkeys(map(ord, "“”„«»"), '"')
    | dict.fromkeys(map(ord, "‘’"), "'")
    | dict.fromkeys(range(_FIRST_SIGN, ord(_NO_ONES_SIGN) + 1), " ")
)


def _fold(text: str) -> str:
    """Plain quotes and widths, no mark-up, single spaces, no blank lines; a boxed answer says so."""
    text = _MARK_UP.sub("", _FINAL_MARK.sub("\nAnswer: ", text.translate(_PLAIN)))
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


# --- Step 2: quoted options become signs ----------------------------------------------------------

_CORE = re.compile(r"\w(?:.*\w)?", re.DOTALL)
# An option of one or two words ("no", "cooking") is quoted only where a clause ends with it.
_SHORT_END = r"""(?=["')\]]{0,3}(?:$|[.,;!?\n]))"""


def _with_signs(text: str, options: Sequence[str]) -> str:
    """`text` with every option quoted in full replaced by its sign, the longest option first.

    Case, white space and punctuation at the ends don't matter. A text that two options share names
    neither: its sign belongs to no option. A lone letter stays the letter it is.
    """
    cores = [core.group() if (core := _CORE.search(_fold(option))) else "" for option in options]
    keys = [" ".join(core.casefold().split()) for core in cores]
    for index in sorted(range(len(cores)), key=lambda i: -len(cores[i])):
        words = cores[index].split()
        if not words or re.fullmatch("[A-Za-z]", cores[index]):
            continue
        end = r"(?!\w)" if len(words) >= 3 else _SHORT_END
        pattern = r"(?<!\w)" + r"\s".join(map(re.escape, words)) + end
        sign = chr(_FIRST_SIGN + index) if keys.count(keys[index]) == 1 else _NO_ONES_SIGN
        text = re.sub(pattern, sign, text, flags=re.IGNORECASE)
    return text


# --- Step 3: the rules; each returns the options it finds -----------------------------------------

_NAME = re.compile(rf"{_SIGN}|\b[A-Za-z]\b(?!')")


def _named(text: str) -> set[int]:
    """Every option that `text` names, by its sign or by a letter standing alone."""
    names: set[str] = set(_NAME.findall(text))
    return {ord(name) - _FIRST_SIGN if ord(name) >= _FIRST_SIGN else ord(name.upper()) - ord("A") for name in names}


_LETTER_ALONE = re.compile(rf"{_NO_WORD}*(?:(?:option|choice|answer)\b{_NO_WORD}*)?[a-z]{_NO_WORD}*", re.IGNORECASE)


def _letter_alone(text: str) -> set[int]:
    """The whole reply is a letter: it can mean nothing else, so lower case counts too."""
    return _named(text) if _LETTER_ALONE.fullmatch(text) else set()


_OPTION_ALONE = re.compile(rf"{_NO_WORD}*{_SIGN}{_NO_WORD}*")


def _option_alone(text: str) -> set[int]:
    """The whole reply is one option's text."""
    return _named(text) if _OPTION_ALONE.fullmatch(text) else set()


# Just before a statement, these take it back: "I don't think that", "if", "not" ("choose B").
_DOUBT = re.compile(
    r"""(?: (?:\b(?:not|cannot|never)|n't)
            (?:\s(?:think|believe|say|sure|certain|that|if|whether|be|to|i|the)){0,5}
          | \b(?:if|whether|unless)(?:\sthe)? ) \s$""",
    re.IGNORECASE | re.VERBOSE,
)


def _doubted(text: str, position: int) -> bool:
    """Whether what begins at `position` is denied or only supposed."""
    return _DOUBT.search(text[max(0, position - 60) : position]) is not None


# A second letter before the last one makes it a list, which chooses nothing.
_CLOSING = re.compile(
    rf"""(?: ^ | [.!?]["')]?\s | \n
           | (?P<lead>\b(?:so|thus|hence|therefore|wait,|actually,|think|believe|say|guess
                           |not\s[A-Z],?\sbut)),?(?:\s(?:that|it\sis|it's|it\smust\sbe)){{0,2}}\s )
    (?:option\s)?["'(\[]{{0,2}}
    (?P<letters>(?-i:(?:[A-Z]{_NO_WORD}{{1,4}})?\b[A-Z]\b)){_NO_WORD}{{0,6}}$""",
    re.IGNORECASE | re.VERBOSE,
)


def _closing_letter(text: str) -> set[int]:
    """The reply ends in a capital that is a sentence or conclusion of its own, as in "…, so E"."""
    match = _CLOSING.search(text)
    if match is None or (match["lead"] and _doubted(text, match.start())):
        return set()
    return _named(match["letters"])


# A letter stands for an option only if the sentence ends or pauses after it: "the answer is C
# reading", "is a man" and "B?" name none. A second value after a comma, "or", "and" is a list.
_LETTER = rf"""\b[A-Za-z]\b(?: ["']?[)\]] | (?=["']?(?:
    $ | \n | [.,;:!](?!\w) | \s[-–—]\s | \s?["'(]?{_SIGN} | \s(?:because|since|as)\b
    | ,?\s(?:or|and)\s[A-Z]\b | /[A-Z]\b )))"""
_VALUE = rf"""(?:{_LETTER}(?:(?:(?!\n){_NO_WORD}){{0,4}}{_SIGN})?|{_SIGN})"""
_THE_ANSWER_IS = r"""(?:
      (?<!to\s)\banswer\b(?!\s(?:choice\s|option\s)?(?-i:[A-Z])\b)
    | \b(?:correct|right|best|final|likely)\s(?:option|choice|response|one)\b
    | "(?:option|choice)" )
    (?:(?!\b(?:not|cannot|never|answer)\b|n't)[^.;!?\n]){0,50}?
    (?:\bis|\bbe|:|=|\s-)"""
_I_CHOOSE = r"\b(?:choose|select|pick|go\swith|going\swith)"
_FILLER = r"""(?:[\s"'(\[:]|(?:most|[a-z]{1,10}ly|therefore|thus|option|choice|letter|answer|that)\b){0,6}"""
_IS_CORRECT = r"""["')\]]?\s(?:is|seems|would\sbe)\s(?:the\s)?(?:most\s|likely\s)?
    (?:correct(?=[.,!\n]|$)|(?:correct|right|best)\s(?:answer|option|choice|one)\b)"""
_STATEMENT = re.compile(
    rf"""(?:{_THE_ANSWER_IS}|{_I_CHOOSE}){_FILLER}
         (?P<object>{_VALUE}(?:["']?(?:,?\s(?:or|and)\s|,\s|/)["'(\[]?{_VALUE})?)
       | (?P<subject>\b(?-i:[A-Z])\b|{_SIGN}){_IS_CORRECT}""",
    re.IGNORECASE | re.VERBOSE,
)


def _statement(text: str) -> set[int]:
    """The last explicit statement, "the answer is …" or its like: models correct themselves."""
    for match in reversed(list(_STATEMENT.finditer(text))):
        if not _doubted(text, match.start()):
            return _named(match["object"] or match["subject"])
    return set()


# After a colon only the option's own text will do: "A:" can open an answer, "C:" explain who C is.
_LINE_LABEL = re.compile(
    rf"""^(?P<label>{_NO_WORD}{{0,4}}[A-Z]
            (?: $ | ["']?[.)\]](?!\w)(?:{_NO_WORD}?{_SIGN})? | {_NO_WORD}{{1,4}}{_SIGN} ))(?P<rest>.*)""",
    re.MULTILINE | re.VERBOSE,
)
_REJECTED = re.compile(r"\b(?:incorrect|wrong|false|unlikely|no|not\s(?:correct|right|true|likely))\b", re.I)


def _line_label(text: str) -> set[int]:
    """A line begins with a letter the way options are listed; several such lines choose nothing."""
    labels = list(_LINE_LABEL.finditer(text))
    if len(labels) == 1 and _REJECTED.search(labels[0]["rest"]):
        return set()
    return _named(" ".join(label["label"] for label in labels))


_MENTION = re.compile(rf"(?:\b[A-Z][:)]\s?)?{_SIGN}|\b(?i:option|choice|answer)\s[\"'(\[]?[A-Z]\b(?!')")
_CLAUSE_END = re.compile(r"(?<=[.,;!?\n])|\bbut\b")
_DENIED = re.compile(
    r"""\b(?:not|no|never|neither|nor|cannot|whether|if|than|instead|unlike|unlikely
             |wrong|incorrect|eliminate|exclude|ruled?\sout)\b | n't | \?""",
    re.IGNORECASE | re.VERBOSE,
)


def _single_mention(text: str) -> set[int]:
    """One option alone is quoted or called "option X", clauses that deny or doubt left out."""
    clauses = (clause for clause in _CLAUSE_END.split(text) if not _DENIED.search(clause))
    return _named(" ".join(name for clause in clauses for name in _MENTION.findall(clause)))


RULES: tuple[tuple[str, Callable[[str], set[int]]], ...] = (
    ("letter-alone", _letter_alone),
    ("option-alone", _option_alone),
    ("closing-letter", _closing_letter),
    ("statement", _statement),
    ("line-label", _line_label),
    ("single-mention", _single_mention),
)
