r"""Reads the chosen option out of a model's free-text reply, or says that it can't.

A reply counts only if it *commits* to one option, after its reasoning; nothing is ever guessed. Four stages:

1. `answer_part` removes reasoning, by the marks of all common models, and other turns, mark-up and JSON around the
   answer. A place that can hold nothing but the answer (`<answer>`, `\boxed{}`, a JSON key) gets a mark.
2. `_sentences` turns words into tokens whose kinds are one character each ("N" an answer noun, "X" a negation, …), by a
   vocabulary of the most common languages; an option quoted in full becomes one token, so that no text inside an option
   is taken for a letter or a statement.
3. `_commitments` finds statements by short patterns over the kinds. They are allow-lists: a word that is not known to
   be harmless ("the *least likely* answer", "*one might say* A") invalidates a statement.
4. `_decide`: a retraction cancels what came before; the strongest kind of the remaining statements decides if it names
   a single option. A letter beyond the options offered leaves the reply unparsed.

EgoSchema calls the camera wearer "C", "A" is an article and "I" a pronoun: a letter alone never answers within prose.
Digits never number an option: 4 could be the fourth or the fifth. All patterns have bounded
repetitions over few kinds, so that parsing takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise

from tasks.answer_text import CLOSE, OPEN, answer_part, option_text, plain_text
from tasks.answer_words import VOCABULARY
from tasks.routes import MAX_OPTIONS

PARSER_VERSION = "choice-parser.v7"
UNPARSED = "unparsed"
RULES = ("marked", "statement", "label", "alone", "quoted")  # how strongly each commits, the strongest first
MARKED, STATEMENT, LABEL, ALONE, QUOTED = RULES


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """The option's index or None, and the name of the rule that found it, or "unparsed"."""

    answer: int | None
    rule: str


def parse_choice(reply: str, options: Sequence[str], *, finished: bool = True) -> ParsedAnswer:
    """Find the one option that `reply` commits to. Accepts any text.

    Args:
        reply: The model's reply, including any reasoning.
        options: The texts of the options, lettered from A.
        finished: False if the token limit cut the reply; then only complete statements before the cut count.

    Raises:
        ValueError: There are not 2 to 26 options.
    """
    if not 2 <= len(options) <= MAX_OPTIONS:
        raise ValueError(f"{len(options)} options: letters name 2 to {MAX_OPTIONS}")
    quotes = _Quotes(options)
    for part in answer_part(reply):
        sentences = _sentences(part, quotes)
        found = _decide(sentences, finished=finished)
        if found is not None:
            offered = 0 <= found[0] < len(options)
            return ParsedAnswer(*found) if offered else ParsedAnswer(None, UNPARSED)
    return ParsedAnswer(None, UNPARSED)


# --- Stage 2: tokens and sentences ----------------------------------------------------------------

_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f"  # scripts without spaces, and Korean particles
_WORD = rf"[^\W_{_CJK}]"
_TOKEN = re.compile(
    rf"""(?<![\w.])[A-Za-z](?:\.[a-z])+\b\.? | (?<![\w.])[A-Z]\.'s\b
    | \b(?i:Mr|Mrs|Ms|Dr|St|vs|etc|approx|cf|Fig)\.(?=\s)
    | (?<![\w)\]])-?\d+(?:[-.,:/]\d+)*(?!\w) | \d+(?:[-.,:/]\d+)*(?!\w)
    | [{_CJK}] | {_WORD}+(?:[-'/\u2011]{_WORD}+)* | \.{{2,}} | \n | [-=]>
    | [^\s"“”„«»「」『』【】*\#`$_{{}}\\']""",
    re.VERBOSE,
)
_PUNCTUATION = {
    **dict.fromkeys((".", "。", "।", "...", "…", "!", CLOSE), "."),
    **dict.fromkeys((",", "、", "|"), ","),
    **dict.fromkeys((":", "="), ":"),
    **dict.fromkeys(("->", "=>", "→"), ">"),
    **dict.fromkeys(("(", "["), "("),
    **dict.fromkeys((")", "]"), ")"),
    **dict.fromkeys(("-", "–", "—", "•", "·"), "-"),
    **dict.fromkeys(("&", "+"), "&"),
    "?": "?",
    ";": ";",
    "/": "|",
    "≠": "X",
    OPEN: "#",
}
_ENDS = frozenset({".", "?", "\n"})
_CLAUSE_ENDS = frozenset(".,;:!?)\n-(") | {"。", "、", "…", "...", CLOSE, "—", "–"}


@dataclass(frozen=True, slots=True)
class _Token:
    """A word, a phrase of the vocabulary or a quoted option."""

    kind: str
    word: str
    option: int | None = None
    mentions: frozenset[int] = frozenset()  # options of one or two words that occur here, quoted or not


@dataclass(frozen=True, slots=True)
class _Sentence:
    """The tokens between two ends; `kinds` has a character for each of them."""

    tokens: tuple[_Token, ...]
    kinds: str
    end: str  # ".", "?", "\n", or "" at the end of the text
    starts_line: bool
    at_end: bool  # nothing but white space follows

    def names(self) -> set[int]:
        """Return every option that is named or mentioned in any way."""
        letters = {t.option for t in self.tokens if t.option is not None and t.kind in "LS"}
        return letters.union(*(t.mentions for t in self.tokens))


def _phrases() -> dict[str, list[tuple[tuple[str, ...], str]]]:
    """Index the vocabulary by first word, longest phrase first; if a phrase has two kinds, the first counts."""
    kinds: dict[tuple[str, ...], str] = {}
    for kind, words in VOCABULARY.items():
        for phrase in re.split(r"\s/\s", words):
            kinds.setdefault(tuple(_TOKEN.findall(plain_text(phrase).casefold().strip())), kind)
    first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for phrase_words, kind in sorted(kinds.items(), key=lambda pair: -len(pair[0])):
        if phrase_words:
            first.setdefault(phrase_words[0], []).append((phrase_words, kind))
    return first


_PHRASES = _phrases()
_PASSED_OVER = frozenset("\n()[]")  # within a quoted option
_NO_ONE = -1  # the "option" of a text that two options share, and of a statement that contradicts itself


def _is_number(word: str) -> bool:
    """Whether a token is a number; "-4" is one, and not the number four."""
    return word.removeprefix("-")[:1].isdigit()


class _Quotes:
    """The options' texts as tokens. Case, white space, brackets, mark-up and punctuation at the ends don't matter."""

    def __init__(self, options: Sequence[str]) -> None:
        texts = [option_text(option) for option in options]
        own = [re.match(rf"\s*\(?{chr(65 + i)}[.):]\)?\s+(?=\S)", text) for i, text in enumerate(texts)]
        if all(own):  # "A. first", "B. second": the letters are not the options' text
            texts = [text[match.end() :] for text, match in zip(texts, own, strict=True) if match]
        keys = [self._key(text) for text in texts]
        self.count = len(options)
        self.first: dict[str, list[tuple[tuple[str, ...], int]]] = {}
        for index in sorted(range(len(keys)), key=lambda i: -len(keys[i])):
            key = keys[index]
            if key and not (len(key) == 1 and re.fullmatch("[a-z]", key[0])):  # a lone letter stays the letter it is
                self.first.setdefault(key[0], []).append((key, index if keys.count(key) == 1 else _NO_ONE))

    @staticmethod
    def _key(text: str) -> tuple[str, ...]:
        words = [word.casefold() for word in _TOKEN.findall(text) if word not in _PASSED_OVER]
        real = [i for i, word in enumerate(words) if word[0].isalnum() or _is_number(word)]
        return tuple(words[real[0] : real[-1] + 1]) if real else ()

    def at(self, words: Sequence[str], position: int) -> tuple[int, int] | None:
        """Find the longest option quoted at `position`, and its number of tokens."""
        for key, index in self.first.get(words[position], ()):
            found, at = 0, position
            while found < len(key) and at < len(words) and at < position + 2 * len(key):
                if words[at] == key[found]:
                    found += 1
                elif words[at] not in _PASSED_OVER:
                    break
                at += 1
            if found == len(key):
                return index, at - position
        return None


_SHORT = 2  # an option of one or two words ("no", "cooking") is quoted only where a clause ends with it


def _tokens(text: str, quotes: _Quotes) -> Iterator[_Token]:
    """Yield the tokens of `text`; phrases and quoted options are single tokens."""
    raw = _TOKEN.findall(text)
    words = [word.casefold() for word in raw]
    position, before = 0, ""
    while position < len(words):
        quoted = quotes.at(words, position)
        kind, taken = _kind_at(raw, words, position, quotes.count)
        mentions: frozenset[int] = frozenset()
        if quoted is not None:
            option, length = quoted
            follower = _kind_at(raw, words, position + length, quotes.count)[0]
            whole = follower in "\n.,;:?)(-#" or follower in "TBI|&c=ONGX" or not follower
            whole = whole and not (kind == "X" and follower in "ONG" and follower)  # "no option", "not true"
            glued = before == "w" and re.match(f"[{_CJK}]", words[position]) is not None
            if (length > _SHORT or whole) and not (length <= _SHORT + 1 and glued):
                yield _Token("S", " ".join(words[position : position + length]), option)
                position, before = position + length, "S"
                continue
            mentions = frozenset({option})
        letter = ord(words[position]) - 97 if kind in "Ll" else None
        yield _Token(kind, " ".join(words[position : position + taken]), letter, mentions)
        position, before = position + taken, kind


def _kind_at(raw: Sequence[str], words: Sequence[str], position: int, count: int) -> tuple[str, int]:
    """Return the kind of the longest known phrase at `position`, and its number of tokens."""
    if position >= len(words):
        return "", 0
    word = words[position]
    for phrase, kind in _PHRASES.get(word, ()):
        if len(phrase) == 1 and re.fullmatch("[a-z]", word) and not (word == "i" and raw[position] == "I"):
            continue
        if tuple(words[position : position + len(phrase)]) == phrase:
            follows = words[position + 1] if position + 1 < len(words) else ""
            lone = raw[position] == "I" and count > 8 and (not follows or follows in _CLAUSE_ENDS)
            return ("L", 1) if lone else (kind, len(phrase))
    if re.fullmatch("[a-z]", word):
        return ("L" if raw[position].isupper() else "l"), 1
    if _is_number(word):
        return "D", 1
    return _PUNCTUATION.get(word, "\n" if word == "\n" else "w" if word[0].isalnum() else "%"), 1


_LABEL_START = re.compile(r"[-(D,]{0,3}[ON]?[Ll]\)?")
_OPEN_HEAD = re.compile(
    r"[-FGgD.]{0,6}(?:N|GO)[FGgN]{0,4}|.*(?:N|GO|CO|FO|^O)[FGgmO]{0,4}(?:=|:|=:|>)|#[FGg:]*", re.DOTALL
)


def _sentences(text: str, quotes: _Quotes) -> list[_Sentence]:
    """Split `text` into sentences; a heading or "The answer is:" continues on the next line."""
    made: list[_Sentence] = []
    current: list[_Token] = []
    starts_line, label = True, False

    def close(end: str, *, line: bool) -> None:
        nonlocal starts_line, label
        if current:
            tokens = _negations_first(current)
            made.append(_Sentence(tokens, "".join(t.kind for t in tokens), end, starts_line, at_end=False))
        current.clear()
        starts_line, label = line, False

    def is_label(tokens: Sequence[_Token]) -> bool:
        return len(tokens) < 8 and _LABEL_START.fullmatch("".join(t.kind for t in tokens)) is not None

    for token in _tokens(_split_verdicts(text), quotes):
        if token.kind == "\n":
            if current and _OPEN_HEAD.fullmatch("".join(t.kind for t in current[-30:])):
                if current[-1].kind not in ":=>#":
                    current.append(_Token(":", ":"))
            else:
                close("\n", line=True)
        elif token.kind == "." and token.word == "." and not label and starts_line and is_label(current):
            current.append(_Token("d", "."))
            label = True
        elif token.kind in _ENDS:
            close(token.kind, line=token.word == CLOSE)
        else:
            current.append(token)
    close("", line=True)
    return made


_NEGATES_WHAT_PRECEDES = frozenset(
    ("ではなく", "ではなくて", "じゃなく", "じゃなくて", "でなく", "아니라", "아니고", "değil")
)
_BUT = _Token("c", "but")


def _negations_first(tokens: Sequence[_Token]) -> tuple[_Token, ...]:
    """Put "B ではなく D" in the order of "not B but D", which the patterns know."""
    made: list[_Token] = []
    for token in tokens:
        if token.kind == "X" and token.word.replace(" ", "") in _NEGATES_WHAT_PRECEDES and made:
            particle = made.pop() if made[-1].kind in "=," and len(made) > 1 else None
            if made[-1].kind in "LlS":
                made[-1:] = [token, made[-1], _BUT]
                continue
            made += [particle] if particle else []
        made.append(token)
    return tuple(made)


def _split_verdicts(text: str) -> str:
    """Put the verdicts of "A ❌ B ✅" on separate lines; a ticked box counts as "✅"."""
    text = re.sub(
        r"^([ \t]{0,8}[-*+]?[ \t]{0,8})\[([xX✓✔ ])\]",
        lambda m: m[1] + ("❌" if m[2] == " " else "✅"),
        text,
        flags=re.M,
    )
    if not re.search("[✅✓✔☑❌✗✘✖]", text):
        return text
    lines = []
    for line in text.splitlines():
        line = re.sub(r"^(\W*[A-Za-z][\s\W]*?[✅✓✔☑❌✗✘✖])\s*(?=\w)", r"\1. ", line)  # noqa: PLW2901
        first = re.match(r"[\s\W]*[✅✓✔☑❌✗✘✖]", line)
        several = len(re.findall("[✅✓✔☑❌✗✘✖]", line)) > 1
        lines.append(re.sub("([✅✓✔☑❌✗✘✖])", r"\n\1" if first else r"\1\n", line) if several else line)
    return "\n".join(lines)


# --- Stage 3: statements that commit --------------------------------------------------------------

_COPULA = r"(?:m*=|[:>-]|V|T)(?:[FGgmONPCTtK:=,]|l(?=[LO]))*"
_REST_OF_HEAD = r"(?:[rtB][^XRHhJAN|?cVI;:.#]{0,14}?)?"  # "the answer *that best describes what C does* is"
_HEAD = rf"""(?:N[FGgNO]*{_REST_OF_HEAD}[FGg]*{_COPULA}
    | [Fg]*G[FGg]*(?:O[FGgN]*{_REST_OF_HEAD})?{_COPULA}
    | (?:(?<=[FP])|^[FgP]*)O{_REST_OF_HEAD}[FGg]*{_COPULA}
    | (?:^[Fg]+(?=:)):[FO]*
    | (?:P|F*E)F*U[Fg]*(?=O)O
    | V(?:FhO,?)?[FOGgN:,]*
    | \#(?:[FGgONPm=:KtCT,]|l(?=[LO]))*)"""
_TEXT = r"\)?(?:[:,(>d-]{0,2}(?P<text>S)\)?)?"
_TAIL = r"O?T*(?:P=)?(?=$|[.;,:()BITc-]|[-]|XF*O?[LlS])"
_STATEMENT = re.compile(rf"(?P<head>{_HEAD})\(?O?(?P<value>[LlS]){_TEXT}{_TAIL}", re.VERBOSE)
_VERB_LAST = re.compile(rf"(?P<head>N[FGg]*)(?P<value>L){_TEXT}T")
_IS_RIGHT = re.compile(
    rf"""(?P<value>[LS]|(?<=O)l)\)?O?{_TEXT}[,]?
         (?: (?:[m=]*=[mFgPC,]*|[:d-]F*|(?=G)[FgC]*) (?:F*G[FGgN]*O?|[Fg]*[NO]G|[Fg]*N)
             (?:F*E)?T*(?=$|[.;,:()BIcT&t-])
           | F*(?:G|g)F*U | U[FErNwO]{{0,5}}G(?=$|[.,;BI)]) | =F{{1,3}}[NO]t?[FGg]{{0,4}}U )""",
    re.VERBOSE,
)
_MATCHES = re.compile(r"[FC,]*(?P<value>(?<=O)L|S)\)?F*U$|[FC,]*O(?P<letter>L)\)?F*U$")
_WHICH_IS = re.compile(r"[^XRHhJA?|IW]*[,(-](?:t=?|=)F*O(?P<value>L)\)?$")  # "…, which is option B."
_NOT_BUT = re.compile(
    rf"X[Fm=ONGgP:t]*[LlS]\)?(?:[|,&]{{1,2}}O?[LlS]\)?){{0,3}}(?:,?c[FONPCWm=gG,]*|[,;-][P=]+[FO]*)(?P<value>[LlS]){_TEXT}{_TAIL}"
)
_LEAD = re.compile(
    rf"""(?P<lead>(?:^|[,;.(d-])(?:X,?)?W(?:,?X,)?[cWCF,P=mKgOGN:;]*|(?:^|[,;.d-])X[,-][cWCF,P=mKgOGN]*|C(?!=)[cWCF,P=mKgOGN:;]*|,c[cWCF,P=mKgOGN]*|c[WP=F][cWCF,P=mKgOGN]*)
         (?P<value>[LS]){_TEXT}O?T*(?=$|[.,;BI)])""",
    re.VERBOSE,
)
_BELIEF = re.compile(
    rf"""[FCWc,-]*(?:P[mF=]*K[Ft]*|P?m?K+t?)(?:P[m=]*)?[FgGONt:=]*(?P<value>[LS]){_TEXT}{_TAIL}
    | [FCWc,]*P(?P<late>[LS])\)?T | [FCWc,]*Pm+F*O?(?P<last>[LS])\)?V$""",
    re.VERBOSE,
)
_VERDICT = re.compile(r"[-(]*G+[F:]*O?(?P<value>[LS])\)?$")  # "✅ B"
_ALONE = re.compile(
    rf"""[-(D]*(?:[FONGgCWc,:(dTm=PK>#-]|l(?=[LO]))*?(?P<value>[LlS])(?P<closed>[)d]?){_TEXT}
         (?:[)O,:d(-]*T*(?:P=)?[FT)]*$|[,(-]{{1,2}}[FgwDr%]{{0,4}}K[:,D%]{{0,4}}\)?$|,?c[^LSlRXWHhJA|?]+$|[,:(-]*B|[,(]?(?:I|XF*O?[LlS]))""",
    re.VERBOSE,
)
_BEGINS = re.compile(r"F?(?P<value>S)(?=[,-])")  # "Yes, he does."
_LABEL = re.compile(r"[-(]*(?P<bullet>)[FN]?(?P<noun>O?)(?P<value>[Ll])(?:(?P<mark>[)d])|[:,-](?=S|.*))")
_CHAIN = re.compile(r"(?:^|(?P<before>[^,;:>(&cCWB-]*)(?P<mark>[,;:>(&cCWB-]))(?:[FPKEmtWC=gGO#]|r[FP]{0,3}E)*$")
_TAKES_BACK = re.compile(
    r"^[cFC]*(?:X,)?[cFC,W]*(?:[PtE][m=h]*|[Pt]?=)[Fgl]*(?:R|X[FmgP=]*(?:G|N|g))|^[cFC,]*(?:P?[Fm=N]*)X?(?:R|X[Fg]*[GN])[.,]?$|^[cC,]*(?:X,?)?W(?!E)|^[cCF,]*X[,F]*$"
)
_CORRECTS = re.compile(r"(?:[cC,X]{0,9},)?(?:X,)?W")
_SELF_DOUBT = re.compile(
    r"[,;(-]?c?[PF]*(?:[tP][m=]*|=)[Fgl]*(?:R|X[FmgP=]*(?:G|N|K))|c[^LS]{0,6}(?:X[Fm]*[KG]|H|W)|[(,-]?[PF]*[XR][.,)]{0,2}$"
)
_ONES_OWN = frozenset(("confidence", "confident", "sure", "certain", "certainty"))
_TOLD = re.compile(
    r"\)?[,;(-]F?(?:wh?A|wK|AA|PhA|AFw)[)\]]?$"
)  # "…, as some claim", "…, I was told", "…, says the label"


@dataclass(frozen=True, slots=True)
class _Commitment:
    """A sentence's choice of `option`; `concludes` if it does so against others ("so", "actually")."""

    option: int
    rule: str
    concludes: bool = False


def _option_of(tokens: Sequence[_Token], match: re.Match[str]) -> int:
    """Return the option that the value names; no one's if a letter and the text after it differ."""
    groups = match.groupdict()
    name = next(g for g in ("value", "letter", "late", "last") if groups.get(g) is not None)
    option = tokens[match.start(name)].option
    text = tokens[match.start("text")].option if groups.get("text") is not None else option
    if option is None or (text not in (option, _NO_ONE)):
        return _NO_ONE
    return option


_CONCEDES = frozenset(
    re.split(
        r"\s/\s",
        """although / though / even though / even if / while / whereas / despite / obwohl / während / aunque / mientras
        / bien que / embora / enquanto / хотя / 虽然""",
    )
)


def _concedes(sentence: _Sentence, end: int) -> bool:
    """Whether the tokens before `end` hold a word that concedes what follows: "although"."""
    return any(_is_concession(token) for token in sentence.tokens[:end])


def _is_concession(token: _Token) -> bool:
    # scripts without spaces have a token for each character, which a phrase joins by spaces
    return token.kind == "c" and (token.word in _CONCEDES or token.word.replace(" ", "") in _CONCEDES)


def _clean_before(sentence: _Sentence, start: int) -> bool:
    """Whether the text before a statement lets it stand: no condition, no doubt, nobody else's opinion."""
    before = sentence.kinds[:start]
    supposed = sentence.tokens[0].word in {"had", "were", "should"} and start > 1  # "had he left, …"
    chain = _CHAIN.search(before[-60:])
    if (
        supposed
        or (start and _supposes(sentence))
        or chain is None
        or "J" in before
        or re.search(r"A[^cC]*$", _without_concession(before))
    ):
        return False
    segment, mark = chain["before"] or "", chain["mark"]
    marked_at = len(before[:-60]) + chain.start("mark") if mark else 0
    if mark == "c" and _is_concession(sentence.tokens[marked_at]):
        return False  # "D, although B is more likely."
    between = sentence.tokens[0].word == "between"  # "Between B and D, the answer is D"
    conceded = before[-60:][: chain.start("mark")].endswith("c" + segment)  # "although A is plausible, …"
    return not (
        (mark in (":", ">") and re.search("[RXHA]", segment) and not re.search("[LS]", segment))
        or (mark == "," and re.search("[Hh]", segment) and len(segment) <= 4 and not conceded)
        or segment == "w"  # "Allegedly, …" in whichever language
        or (mark in (",", "&") and re.fullmatch(r".*(?:^|[FONGg|&,])[LlS]\)?", segment) and not between)  # a list
    )


def _supposes(sentence: _Sentence) -> bool:
    """Whether a sentence begins like "Say the answer is D" or, as no answer does, "Confidence: D"."""
    words = [token.word for token in sentence.tokens[:2]]
    return words[:1] == ["say"] or words in (["let's", "say"], ["confidence", ":"])


def _without_concession(before: str) -> str:
    """Return the kinds behind a conceding clause at the beginning: "Although B could be argued, the answer is D"."""
    return re.sub("^[CF]*c[^c,]{0,20},", "", before)


def _is_told(sentence: _Sentence, end: int) -> bool:
    """Whether the sentence closes by giving what stands before `end` as what somebody else says."""
    found = _TOLD.match(sentence.kinds[end : end + 20])
    return found is not None and _ONES_OWN.isdisjoint(token.word for token in sentence.tokens[end:])


def _clean_after(sentence: _Sentence, end: int, option: int) -> bool:
    """Whether the rest of the sentence lets a statement stand: no second choice, no condition, no retraction."""
    rest, tokens = sentence.kinds[end : end + 60], sentence.tokens[end:]
    because = re.search("B", rest)
    if because:
        rest = rest[: because.start()]
    if "J" in rest or "%" in rest[:1] or re.match(r"\)?[,(]?(?:[|&]|W)|\)?[,|&]+[FOPH(]*l(?![=w])", rest):
        return False
    if (
        _is_told(sentence, end)
        or _SELF_DOUBT.match(rest.lstrip(")"))
        or re.search(r"[,;(-]c?(?:P|t)[m=]*[Fg]*(?:R|XF*G)", rest)
    ):
        return False
    for match in re.finditer("[LS]", rest):
        at = match.start()
        if tokens[at].option == option:
            continue
        before, after = rest[max(0, at - 4) : at], rest[at + 1 : at + 7]
        denied = (re.search("[XIR]", before) and not before.endswith("cI")) or re.match(r"[^LS]{0,5}[RX]", after)
        prose = tokens[at].kind == "L" and re.search(r"[,:(-]$", before) and re.match("[=wEPKmU]", after)
        if not denied and not prose:
            return False
    return True


def _statements(sentence: _Sentence) -> Iterator[_Commitment]:
    """Yield every statement of a sentence about which option is the answer."""
    kinds, tokens = sentence.kinds, sentence.tokens
    for pattern in (_STATEMENT, _VERB_LAST, _IS_RIGHT, _NOT_BUT, _LEAD):
        position = 0
        while position < len(kinds) and (match := pattern.search(kinds, position)):
            position = match.start() + 1
            option, value = _option_of(tokens, match), match.start("value")
            if not _stands(sentence, pattern, match) or not _clean_after(sentence, match.end(), option):
                continue
            head = "".join(t.word for t in tokens[match.start() : value])
            marked = "#" in kinds[match.start() : value] or re.search("final|最终|最終|최종|окончательн", head)
            concludes = pattern in (_NOT_BUT, _LEAD) or re.search("[CW]", kinds[:value]) is not None
            yield _Commitment(option, MARKED if marked else STATEMENT, concludes)
            position = match.end()


def _stands(sentence: _Sentence, pattern: re.Pattern[str], match: re.Match[str]) -> bool:
    """Whether the text before a match lets it stand as a statement, and its value can be an option."""
    kinds, begin, value = sentence.kinds, match.start(), match.start("value")
    if pattern is _IS_RIGHT:
        begin = len(kinds[:begin].rstrip("ONFGg"))
        if re.search(r"U[^B]*[cXRHhJ?]", kinds[match.end() - 1 :]):
            return False  # "describes the beginning, but not …"
    word = sentence.tokens[value].word
    if pattern is _LEAD and _concedes(sentence, value):
        return False  # "Although the answer is D, as some claim."
    if pattern is _IS_RIGHT and re.search("(?:^|[^rBF])F?E$", kinds[:value]):
        return False  # "video A", which is none of the options
    if (kinds[value] == "l" and re.match(r"\)?w", kinds[value + 1 :])) or (
        word.isdigit() and re.search("O:?$", kinds[:value])
    ):
        return False  # "a man", and "option 3", which may be the third
    # A contrasting statement ("not A but B", "wait, B") needs no clean beginning.
    fresh = pattern is _NOT_BUT or (pattern is _LEAD and not kinds[:begin].endswith("X"))
    return "J" not in kinds[:begin] if fresh else _clean_before(sentence, begin)


_VALUES = re.compile("[LlS]")
_LONGEST = 300  # tokens: longer "sentences" lack punctuation


def _commitments(
    sentences: Sequence[_Sentence], index: int, labels: AbstractSet[int | None], *, finished: bool
) -> list[_Commitment]:
    """Yield what one sentence commits to."""
    sentence = sentences[index]
    kinds, tokens = sentence.kinds, sentence.tokens
    last = index == len(sentences) - 1
    if sentence.end == "?" or len(kinds) > _LONGEST or not _VALUES.search(kinds):
        return []
    if not finished and last and (not sentence.end or "l" in kinds):
        return []
    found = list(_statements(sentence))
    if found:
        return found
    belief = _BELIEF.match(kinds)
    if belief and "J" not in kinds and "A" not in kinds and not _supposes(sentence):
        option = _option_of(tokens, belief)
        if _clean_after(sentence, belief.end(), option):
            return [_Commitment(option, STATEMENT)]
    matches = _MATCHES.match(kinds) or (_WHICH_IS.match(kinds) if last and "wK" not in kinds else None)
    if matches:
        return [_Commitment(_option_of(tokens, matches), STATEMENT)]
    return _short_forms(sentences, index, labels, finished=finished)


def _short_forms(
    sentences: Sequence[_Sentence], index: int, labels: AbstractSet[int | None], *, finished: bool
) -> list[_Commitment]:
    """Find a letter or text that is a whole sentence, and a label ("B. …"), where an answer can be."""
    sentence = sentences[index]
    kinds, tokens = sentence.kinds, sentence.tokens
    last = index == len(sentences) - 1
    own_line = sentence.starts_line and (last or sentences[index + 1].starts_line)
    verdict = _VERDICT.fullmatch(kinds)
    if verdict:
        return [_Commitment(_option_of(tokens, verdict), STATEMENT)]
    asked = sentences[index - 1] if index else None
    if asked is not None and asked.end == "?" and re.search("[RXH]", asked.kinds):
        return []  # "Which is the least likely? B"
    alone = _ALONE.match(kinds)
    if alone and _is_no_answer(sentences, index, alone.start("value")):
        alone = None
    listed = alone is not None and (alone["text"] is not None or (alone["closed"] != "" and not last))
    if alone and not listed and (index == 0 or last or (own_line and tokens[alone.start("value")].kind == "L")):
        option = _option_of(tokens, alone)
        lower = tokens[alone.start("value")].kind == "l"
        bullet = kinds.startswith("-") and len(sentences) > 1
        digits = tokens[alone.start("value")].word.isdigit() and "O" in kinds
        early = not finished and option == 0 and index == 0  # a list of the options may begin so
        full = alone.end() == len(kinds) or kinds[alone.end() - 1] in "BIlLS"
        trailing = kinds.endswith(":") and len(sentences) > 1  # "Option C:" begins what was cut
        if full and not trailing and not bullet and not digits and not early and (not lower or len(sentences) == 1):
            return [_Commitment(option, ALONE, bool(re.search("[CW]", kinds)))]
    begins = _BEGINS.match(kinds)
    if begins and index == 0 and finished and len(sentence.names()) == 1 and _unreserved(sentence, begins.end()):
        return [_Commitment(_option_of(tokens, begins), ALONE)]
    label = _LABEL.match(kinds)
    if label and sentence.starts_line:
        return _label(sentences, index, label, labels, finished=finished)
    return []


_ASKS = re.compile("[=m]P")  # "is it D", which is "it is D" in no language


def _is_no_answer(sentences: Sequence[_Sentence], index: int, value: int) -> bool:
    """Whether a letter or text that could be the whole answer is conceded, somebody else's, asked about, or listed."""
    sentence, before = sentences[index], sentences[index - 1] if index else None
    in_list = (  # "A. first B. second", where "B" ends the sentence before
        before is not None
        and not sentence.starts_line
        and sentence.kinds.startswith("S")
        and re.search("[LS].*L$", before.kinds) is not None
    )
    return (
        in_list
        or _concedes(sentence, value)
        or _is_told(sentence, value + 1)
        or (re.search("N|K:", sentence.kinds[:value]) is not None and _supposes(sentence))
        or _ASKS.match(sentence.kinds) is not None
    )


def _unreserved(sentence: _Sentence, end: int) -> bool:
    """Whether what follows "Yes," or "No," speaks of the video, and takes nothing back."""
    kinds, words = sentence.kinds, [token.word for token in sentence.tokens]
    says_no = "no" in words[:end]
    if re.search(r"[WcJHA]", kinds) or (not says_no and re.search(r"[,-][FPtlm=]*[XR]\)?$", kinds)):
        return False
    spoken = words[end + 1 : end + 3]
    of_itself = spoken[:1] in (["i"], ["i'm"], ["i'll"], ["i'd"], ["we"], ["please"], ["let me"])
    return not of_itself or re.match("P?m?K", kinds[end + 1 :]) is not None


def _numbered(sentences: Sequence[_Sentence]) -> set[int | None]:
    """Return the letters of a numbered list that holds nothing else: "1. B 2. D"."""
    return {
        after.tokens[0].option
        for before, after in pairwise(sentences)
        if before.end == "." and before.kinds.endswith("D") and re.fullmatch("L[,;]?D?", after.kinds)
    }


_WEIGHING = frozenset(
    re.split(
        " ",
        "let's options choices each evaluate evaluating examine examining analyze analyse analyzing consider "
        "considering compare comparing go through break look looking step review assess assessing check",
    )
)


def _label(
    sentences: Sequence[_Sentence], index: int, label: re.Match[str], labels: AbstractSet[int | None], *, finished: bool
) -> list[_Commitment]:
    """Find a line that begins like a listed option; it commits at either end of the reply, if it is the only one."""
    sentence = sentences[index]
    kinds, tokens = sentence.kinds, sentence.tokens
    at = label.start("value")
    option = tokens[at].option
    rest = re.sub(r"^[)d:,\-(]*", "", kinds[at + 1 :])
    behind = tokens[len(kinds) - len(rest) :]
    text = behind[0].option if rest.startswith("S") else None
    if option is None or (text is not None and text not in (option, _NO_ONE)):
        return [_Commitment(_NO_ONE, LABEL)]
    if re.search(r"^(?:h[FGgNO:]*)?L$|\(L\)|(?<![LSO])L\)", rest):
        return [_Commitment(_NO_ONE, LABEL)]  # "B. D.", "B. Also D.", "(A) bread (B) tent"
    last = index == len(sentences) - 1
    marked = label["mark"] is not None or label["noun"] or text is not None
    weighing = (
        labels - {option}  # the options are listed
        or not marked
        or (tokens[at].kind == "l" and text is None)
        or re.search("[XRHJ]" if text is not None else "[XRHJ?|]", rest)
        or rest.startswith("W")
        or (text is None and (rest[:1] in ("D", "%") or rest[:2] == "L)"))
        or (option == 0 and (not finished or (not last and not sentences[-1].end)))  # where such a list begins
        or (index and (not last or kinds.startswith("-")))
        or _WEIGHING.intersection(t.word for s in sentences[:index] for t in s.tokens)
    )
    return [] if weighing else [_Commitment(option, LABEL)]


# --- Stage 4: the decision ------------------------------------------------------------------------


def _decide(sentences: Sequence[_Sentence], *, finished: bool) -> tuple[int, str] | None:
    """Return the option that the reply commits to and the rule that found it; options out of range don't count."""
    held: list[_Commitment] = []
    named: set[int] = set()  # options that were spoken of since the last commitment
    adjacent = False  # whether the sentence before committed
    labels = {s.tokens[m.start("value")].option for s in sentences if (m := _LABEL.match(s.kinds))}
    for index, sentence in enumerate(sentences):
        found = _commitments(sentences, index, labels, finished=finished)
        here = sentence.names()
        back = _TAKES_BACK.match(sentence.kinds[:40]) and named <= {c.option for c in held} and (found or not here)
        if back or _CORRECTS.match(sentence.kinds):
            held.clear()
        if held and _contradicts(sentence, found, held[-1].option, adjacent=adjacent):
            found = [_Commitment(_NO_ONE, held[-1].rule)]
        adjacent = bool(found)
        named = here if found else named | here
        held += found
    if held and not finished and not adjacent and _turns_away(sentences, held[-1].option, labels):
        return _NO_ONE, UNPARSED
    return _strongest(sentences, held) if held else _quoted(sentences, finished=finished)


_WHOLE = 3
_CHECKS = r"let me|let's|let us|(?:i|we) (?:must|should|need|want)\b"


def _turns_away(sentences: Sequence[_Sentence], option: int, labels: AbstractSet[int | None]) -> bool:
    """Whether what was cut weighs on after the choice of `option`, or chooses another: "B" and, cut, "(edit: D"."""
    last = sentences[-1]
    if last.end:
        return False
    others = [c for c in _commitments(sentences, len(sentences) - 1, labels, finished=True) if c.option != option]
    lone = re.fullmatch(r"(?:D[:)])?L\)?", last.kinds) is not None
    return _weighs_on(last, option) or any(lone or c.rule in (MARKED, STATEMENT) for c in others)


def _weighs_on(sentence: _Sentence, option: int) -> bool:
    """Whether a sentence that was cut weighs on: "However, …", "But wai", "Let me check …", "I need to …"."""
    kinds, words = sentence.kinds, [token.word for token in sentence.tokens]
    if re.match(_CHECKS, " ".join(words[:3])):
        return True
    others = any(t.kind == "L" and t.option != option for t in sentence.tokens)
    # "But wai" and "However, I …" are told from "But there is no …", which goes on to give reasons.
    turns = others or _WEIGHING.intersection(words) or re.match("c,?(?:w?$|P?[Pm])", kinds)
    return (kinds.startswith("c") and bool(turns)) or kinds.startswith("|") or _begins_to_correct(words)


def _begins_to_correct(words: Sequence[str]) -> bool:
    """Whether a cut sentence may be the beginning of a correction: "On second", "Wai", "Or"."""
    said = " ".join(words)
    if any(
        " ".join(phrase).startswith(said)
        for phrase, kind in _PHRASES.get(words[0], ())
        if kind in "W|" or (kind == "c" and len(phrase) > len(words))
    ):
        return True
    # A word of three letters is one of too many to be the beginning of another; "Correct" may be that of "Correction".
    known = len(said) <= _WHOLE and any(len(phrase) == 1 for phrase, _ in _PHRASES.get(said, ()))
    corrects = (first for first, phrases in _PHRASES.items() if any(kind in "W|c" for _, kind in phrases))
    return not known and any(first.startswith(said) for first in corrects)


_ADDS = re.compile(r"[c,(FO]*(?:h[w:FGgNO]*[LS]|[LS]\)?[m=F]*h[FgNO]*G|[LS]\)?[m=FgO]*G[F,]*h)[)]*")
_TOO = frozenset(("also", "too", "as well"))  # "E is also correct", "Also acceptable: E"


def _contradicts(sentence: _Sentence, found: Sequence[_Commitment], option: int, *, adjacent: bool) -> bool:
    """Whether a sentence adds a second choice to the one before: "Answer: A." and the text of B, or "… or B"."""
    if not found:
        other = any(t.kind in "LS" and t.option != option for t in sentence.tokens)
        if other and _ADDS.fullmatch(sentence.kinds) and any(t.word in _TOO for t in sentence.tokens):
            return True
        asked = sentence.end == "?" and sentence.kinds.startswith("|")  # "… or is it?"
        return asked or re.match(r"[|&].*[LS]", sentence.kinds) is not None
    text = sentence.kinds == "S" and adjacent and not sentence.starts_line
    return text and found[0].option not in (option, _NO_ONE)


def _strongest(sentences: Sequence[_Sentence], held: Sequence[_Commitment]) -> tuple[int, str]:
    """Return the choice of the strongest kind of commitment; no one's if it is not unique."""
    strongest = min(RULES.index(c.rule) for c in held)
    best = [c for c in held if RULES.index(c.rule) == strongest]
    last = best[-1]
    if len({c.option for c in best}) > 1 and not last.concludes:
        return _NO_ONE, UNPARSED
    if last.rule == ALONE and len(_numbered(sentences)) > 1:
        return _NO_ONE, UNPARSED
    contradicted = {c.option for c in held if c.rule in (ALONE, LABEL)} - {last.option}
    if last.rule == STATEMENT and contradicted and not last.concludes and not _only_texts(sentences, contradicted):
        return _NO_ONE, UNPARSED
    return last.option, last.rule


def _only_texts(sentences: Sequence[_Sentence], options: set[int]) -> bool:
    """Whether these options were only quoted, never named by their letters alone on a sentence."""
    return not any(t.kind in "Ll" and t.option in options and len(s.tokens) <= 3 for s in sentences for t in s.tokens)


def _quoted(sentences: Sequence[_Sentence], *, finished: bool) -> tuple[int, str] | None:
    """Find the one option whose text the reply asserts, if it names no other."""
    names = (
        set().union(*(s.names() for s in sentences if "S" in s.kinds or re.search("O[L]", s.kinds)))
        if sentences
        else set()
    )
    weak = set().union(*(t.mentions for s in sentences for t in s.tokens)) if sentences else set()
    signs = [(s, i) for s in sentences for i, t in enumerate(s.tokens) if t.kind == "S"]
    if len(signs) != 1 or len(names | weak) > 1:
        return None
    sentence, at = signs[0]
    if sentence.end == "?" or (not finished and not sentence.end) or re.search("[XRHhJAI|WcV&%]", sentence.kinds):
        return None
    token = sentence.tokens[at]
    short = len(token.word.split()) <= 2 * _SHORT
    before, after = sentence.kinds[:at], sentence.kinds[at + 1 :]
    if any(
        re.search("^[cFC,]*(?:[PtE][m=]*|[Pt]?=)[Fg]*(?:R|X)", s.kinds) or s.end == "?" or "W" in s.kinds[:2]
        for s in sentences
    ):
        return None
    if token.option is None or (token.word.isdigit() and "O" in before):
        return None
    if short:
        whole = len(sentences) == 1 and len(sentence.tokens) <= 14 and re.fullmatch(r"[T)F]*", after)
        return (token.option, QUOTED) if whole and not re.search("[Ll]", before.replace("l", "", 1)) else None
    harmless = re.fullmatch(r"[-FPKEtmCrBgG=,Nl:()]*", before) and re.fullmatch(r"(?:[T)F]*|[,Fr(][^S]{0,20})", after)
    return (token.option, QUOTED) if harmless else None
