"""Strip a model's reply of reasoning, other turns, mark-up and JSON.

Reasoning is found by the marks of all common models, closed or not. A place that can hold nothing but the answer
(`<answer>`, a box, a JSON key) is enclosed in `OPEN` and `CLOSE`. Accepts any text, in linear time.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

OPEN, CLOSE, _TURN = "\ue100", "\ue101", "\ue102"  # around an answer's own place; where a turn of the dialogue ends
_MARK = re.compile(
    r"""(?P<start><{1,2}\|?|\[\|?|[◁〈《⟨【«‹]\|?) \s{0,3} (?P<slash>/?) \s{0,3}
        (?P<name>[^<>\[\]◁▷〈〉《》⟨⟩【】«»‹›|\n]{1,120}?) \s{0,3} (?P<end>\|?>{1,2}|\|?\]|\|?[▷〉》⟩】»›])""",
    re.VERBOSE,
)
_REASONING = re.compile(
    r"""think|thought|reason|analy[sz]|reflect|scratch|ponder|deliberat|monolog|rationale|chain\sof|contemplat|critique
        |brainstorm|\binner\b|\bplan|\bdraft|internal|verif|explanation|justification|evidence|caption|summary|observ
        |description|commentary|\bcot\b|\bdetails\b""",
    re.VERBOSE,
)
_FINAL = re.compile(
    r"""(?:(?:begin|start|end|of|the|my|your|final|correct|best|selected|chosen|predicted)\s)*
        (?:answer|final|response|solution|output|result|conclusion|ans|choice|option|selection|decision|verdict
           |prediction|box|letter)""",
    re.VERBOSE,
)
_TURN_END = re.compile(
    r"""(?:im\s)?end|eot(?:\sid)?|eos|eom(?:\sid)?|end\s?of\s?(?:text|turn|sentence|utterance|message)(?:\stoken)?|return
        |end\sturn|turn\send|turn|message\send|e\~|user|human|system|user\stoken|system\stoken|observation|tool""",
    re.VERBOSE,
)
_ROLE_START = re.compile(r"(?:im\s)?start|start\sheader\sid|header\sstart|start\sof\s(?:turn|role)|turn|role")
_ROLE = re.compile(r"\s*(assistant|model|bot|gpt|user|human|system|tool)\b", re.IGNORECASE)
_SILENT = re.compile(
    r"""s|bos|pad|unk|sep|assistant|model|bot|chatbot\stoken|start\sof\sturn\stoken|begin\sof\s(?:text|sentence)|message
        |end\sheader\sid|header\send|end\sof\srole|inst|im\ssep|b|i|u|em|strong|p|br|hr|div|span|h[1-6]|ul|ol|li|a|code
        |pre|table|tr|td|th|tbody|thead|font|center|mark|ins|html|body|sub|sup|small|big|blockquote|section|article""",
    re.VERBOSE,
)
_REASONING_IN_BRACKETS = re.compile(
    r"(?:(?:begin|start|end|of|inner|internal|chain)\s)*(?:think|thinking|thoughts?|reasoning|analysis|scratchpad|reflection)"
)
_NUMBERED = re.compile(r"unused|extra id|special|0x")
_PLAIN_TURN_ENDS = frozenset({"eos", "end of turn", "end of utterance", "endoftext", "end of text"})
_END_WORD = re.compile(r"(?:end|close|stop)\b|.*\b(?:suffix|end)$")
_PARAMETER = re.compile(r"""parameter\s?(?:=|name\s?=)\s?["']?([a-z ]{1,40})["']?$""")
_LONGEST_NAME = 40
_BLOCK = re.compile(r"p|br|hr|div|h[1-6]|ul|ol|li|tr|table|pre|blockquote|section|article")
_STRUCK = re.compile(r"~~[^~\n]{1,300}~~|<(del|s|strike)>[^<\n]{1,300}</\1>(?=\s*[^\s<])", re.IGNORECASE)
_COMMENT = re.compile(r"<!--(?:[^-]|-(?!->)){0,2000}-->")
_CHANNEL = re.compile(r"\s*(\w{0,20})")


@dataclass(slots=True)
class _Walk:
    """The text kept so far while walking through a reply's marks."""

    kept: list[str] = field(default_factory=list)
    inside: bool = False  # reasoning
    channel: bool = False  # …that an end of turn closes

    def reasoning(self, *, closes: bool, channel: bool = False) -> None:
        if closes and not self.inside:
            self.kept.clear()  # closed but never opened: the prompt had opened it
        self.inside, self.channel = not closes, channel and not closes

    def put(self, text: str) -> None:
        if not self.inside:
            self.kept.append(text)


def _without_reasoning(text: str) -> str:
    """Remove reasoning from `text`; places of answers and ends of turns get marks."""
    walk, position = _Walk(), 0
    for mark in _MARK.finditer(text):
        if mark.start() < position:
            continue
        walk.put(text[position : mark.start()])
        position = _pass_mark(walk, mark, text)
    walk.put(text[position:])
    return "".join(walk.kept)


@dataclass(frozen=True, slots=True)
class _Mark:
    """A parsed mark; `token` is one with a bar, as in chat templates."""

    match: re.Match[str]
    name: str
    closes: bool
    token: bool
    angle: bool

    @classmethod
    def of(cls, match: re.Match[str]) -> _Mark:
        whole = re.sub(r"[_▁:\s-]+", " ", match["name"]).strip().lower()
        closes = bool(match["slash"]) or _END_WORD.match(whole) is not None
        if parameter := _PARAMETER.match(whole):
            whole = parameter[1]  # of a tool's call: `<parameter=answer>`, `<parameter name="choice">`
        token, angle = "|" in match["start"] + match["end"], match["start"].startswith("<")
        name = whole.split(" ")[0] if angle and not token and "=" in whole else whole  # attributes
        return cls(match, name.rstrip("/ "), closes, token, angle)

    @property
    def bracket(self) -> bool:
        return self.match["start"] == "[" and not self.token

    def is_reasoning(self) -> bool:
        if self.bracket:
            return _REASONING_IN_BRACKETS.fullmatch(self.name) is not None
        return len(self.name) <= _LONGEST_NAME and _REASONING.search(self.name) is not None

    def is_answer(self) -> bool:
        return _FINAL.fullmatch(self.name) is not None and not (self.bracket and len(self.name.split()) == 1)

    def is_role(self) -> bool:
        return (
            self.token
            and _ROLE_START.fullmatch(self.name) is not None
            and self.match["end"] != "|>" * (self.name == "turn")
        )

    def is_turn_end(self) -> bool:
        if self.token:
            return _TURN_END.fullmatch(self.name) is not None
        if self.angle:
            return self.name in _PLAIN_TURN_ENDS or (self.name == "s" and bool(self.match["slash"]))
        return self.bracket and (self.name in _PLAIN_TURN_ENDS or (self.name == "inst" and not self.match["slash"]))

    def is_silent(self) -> bool:
        return self.token or (self.angle and (_SILENT.fullmatch(self.name) or _NUMBERED.match(self.name)) is not None)

    def is_named(self) -> bool:
        plain = self.angle and re.fullmatch(r"[a-z][a-z0-9]*(?: [a-z0-9]+){0,3}", self.name) is not None
        return plain and (len(self.name) > 1 or bool(self.match["slash"]))


def _pass_mark(walk: _Walk, match: re.Match[str], text: str) -> int:
    """Process one mark; return where the text continues after it."""
    mark = _Mark.of(match)
    for applies, follow in _FOLLOW:
        if applies(mark):
            return follow(walk, mark, text)
    walk.put(match.group())
    return match.end()


def _pass_reasoning(walk: _Walk, mark: _Mark, text: str) -> int:  # noqa: ARG001 - as all that follow a mark
    walk.reasoning(closes=mark.closes)
    return mark.match.end()


def _pass_answer(walk: _Walk, mark: _Mark, text: str) -> int:  # noqa: ARG001
    if walk.inside and not mark.closes and (mark.token or re.search("response|solution|final", mark.name)):
        walk.reasoning(closes=True)
    walk.put("\n" + (CLOSE if mark.closes else OPEN))
    return mark.match.end()


def _pass_role(walk: _Walk, mark: _Mark, text: str) -> int:
    """`<|im_start|>assistant`: the word after the mark belongs to it."""
    end = mark.match.end()
    role, word = _ROLE.match(text, end), _CHANNEL.match(text, end)
    if word and _REASONING.search(word[1].lower()):
        walk.reasoning(closes=False, channel=True)
        return word.end()
    if role:
        walk.put(_TURN if role[1].lower() in {"user", "human", "system", "tool"} else "\n")
        return role.end()
    return end


def _pass_asked(walk: _Walk, mark: _Mark, text: str) -> int:  # noqa: ARG001
    if not "".join(walk.kept).rpartition(_TURN)[0].strip():
        walk.kept.clear()  # what was asked
    return mark.match.end()


def _pass_turn_end(walk: _Walk, mark: _Mark, text: str) -> int:  # noqa: ARG001
    if walk.inside and walk.channel:
        walk.reasoning(closes=True)
    walk.put(_TURN)
    return mark.match.end()


def _pass_silent(walk: _Walk, mark: _Mark, text: str) -> int:
    letter = mark.match["name"]
    if re.fullmatch("[A-Za-z]", letter) and f"</{letter}>" not in text and not mark.match["slash"]:
        walk.put(letter)  # "<B>" is no bold type but the letter
    else:
        walk.put("\n" if _BLOCK.fullmatch(mark.name) or mark.token else "")
    return mark.match.end()


def _pass_named(walk: _Walk, mark: _Mark, text: str) -> int:  # noqa: ARG001
    walk.put("\n" if mark.closes else f"\n{mark.name}: ")  # "<rejected>A</rejected>" says "rejected: A"
    return mark.match.end()


def _pass_channel(walk: _Walk, mark: _Mark, text: str) -> int:
    """`<|channel|>analysis<|message|>` and `<|channel>thought … <channel|>`."""
    end = mark.match.end()
    if "|" not in mark.match["start"]:
        walk.reasoning(closes=True)
        return end
    name = _CHANNEL.match(text, end)
    walk.inside = False
    if name is not None and name[1].lower() == "final":
        walk.kept.clear()
        walk.put(OPEN)
    else:
        walk.reasoning(closes=False, channel=True)
    return name.end() if name else end


_Follow = Callable[["_Walk", _Mark, str], int]
_FOLLOW: tuple[tuple[Callable[[_Mark], bool], _Follow], ...] = (
    (lambda mark: mark.token and mark.name.startswith("channel"), _pass_channel),
    (_Mark.is_reasoning, _pass_reasoning),
    (_Mark.is_answer, _pass_answer),
    (_Mark.is_role, _pass_role),
    (lambda mark: mark.bracket and mark.name == "inst" and bool(mark.match["slash"]), _pass_asked),
    (_Mark.is_turn_end, _pass_turn_end),
    (_Mark.is_silent, _pass_silent),
    (_Mark.is_named, _pass_named),
)

_STRIPPED_CHANNELS = re.compile(r"\s*analysis(?=[^\s:.,;])")
_SPOKEN_REASONING = re.compile(
    r"""\s*(?:Thinking\.\.\.|Here\s(?:is|are)\smy\s(?:thought\sprocess|reasoning(?:\ssteps)?|thoughts)\s?:)""",
    re.VERBOSE,
)
_SPOKEN_END = re.compile(
    r"\.\.\.\s?done\sthinking\.?|Here\s(?:is|'s)\smy\s(?:final\s)?(?:response|answer)\s?:", re.VERBOSE
)
_FENCE = re.compile(r"^[`~]{3,}[ \t]*(\w*)[ \t]*$", re.MULTILINE)
_SECTION = re.compile(
    r"""^[\s#*>_-]{0,8}(?:(?P<reason>(?:step[ -]by[ -]step\s)?(?:reasoning|thoughts?(?:\sprocess)?|thinking|analysis
        |rationale|chain\sof\sthought|scratchpad|思考|分析|推理))|(?P<final>(?:my\s|the\s)?(?:final\s|correct\s)?(?:answer|response
        |conclusion|decision|verdict|choice)|(?:最终)?答案))[\s*_]{0,4}(?:[:：]|$)""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


def _without_spoken_reasoning(text: str) -> str:
    """Remove reasoning marked by plain words: stripped channel names, headings, fences."""
    if _STRIPPED_CHANNELS.match(text):
        parts = text.split("assistantfinal")
        text = parts[-1] if len(parts) > 1 else ""
    elif _SPOKEN_REASONING.match(text):
        before, opens, after = text.partition(OPEN)
        text = opens + after if opens else before
        ends = list(_SPOKEN_END.finditer(text))
        text = text[ends[-1].end() :] if ends else text if opens else ""
    fence = None
    for mark in list(_FENCE.finditer(text)):
        if fence is not None:
            text = text[: fence.start()] + " " * (mark.end() - fence.start()) + text[mark.end() :]
            fence = None
        elif _REASONING.search(mark[1].lower()):
            fence = mark
    if fence is not None:
        text = text[: fence.start()]
    sections = list(_SECTION.finditer(text))
    reasons = [s.start() for s in sections if s["reason"]]
    finals = [s.start() for s in sections if s["final"] and reasons and s.start() > reasons[0]]
    return text[: reasons[0]] + "\n" + text[finals[-1] :] if finals else text


_FIGURES = (
    {0x1F150 + i: 0x41 + i for i in range(26)}  # negative circled
    | {0x1F170 + i: 0x41 + i for i in range(26)}  # negative squared
    | {0x1F1E6 + i: 0x41 + i for i in range(26)}  # regional indicators; two of them are a flag, hence a word
    | dict.fromkeys(
        (
            *range(9),
            *range(0xE, 0x20),
            0x7F,
            0xAD,
            0xFEFF,
            0x20E3,
            0xFE0E,
            0xFE0F,
            0xFFFD,
            *range(0x200B, 0x2010),
            0x2060,
        )
    )
    | dict.fromkeys((0x0B, 0x0C, 0x85, 0x2028, 0x2029), 0x0A)
    | dict.fromkeys((*range(0xE000, 0xE200), 0x0D), 0x20)
    | dict.fromkeys(map(ord, "‘’ʼ´"), "'")
)
_LOOK_ALIKE = dict(zip(map(ord, "АВСЕНКМОРТХΑΒΕΗΙΚΜΝΟΡΤΧΥΖ"), "ABCEHKMOPTXABEHIKMNOPTXYZ", strict=True))
_LONE_LOOK_ALIKE = re.compile(r"(?<!\w)[АВСЕНКМОРТХΑΒΕΗΙΚΜΝΟΡΤΧΥΖ](?!\w)")


def plain_text(text: str) -> str:
    """Replace full-width, circled and Cyrillic look-alikes by plain letters; drop invisible characters."""
    if text.isascii():
        return text.translate(_FIGURES) if _CONTROL.search(text) else text
    text = unicodedata.normalize("NFKC", text.translate(_FIGURES))
    return _LONE_LOOK_ALIKE.sub(lambda letter: letter.group().translate(_LOOK_ALIKE), text)


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

_PAIR = re.compile(r"""(?<!\\)(["'])(?P<key>[^"'\\\n]{1,40})\1\s{0,9}:\s{0,9}(?P<value>["'\[{]|\w{1,20})?""")
_ANSWER_KEY = re.compile(
    r"""(?P<final>final)?(?:the|my|your|best|correct|selected|chosen|predicted|most likely)*
        (?:answer|ans|choice|option|selection|selected|chosen|prediction|pred|predicted|letter|label|correct|result|response
           |output|decision|verdict|conclusion|final|答案|选项|答え|正解|정답|respuesta|réponse|antwort|resposta|ответ)
        (?:letter|choice|option|label|key|id|text)?""",
    re.VERBOSE,
)
_ARGUMENTS = frozenset({"arguments", "parameters", "args", "input", "toolinput", "actioninput"})  # of a tool's call
_JSON_DEPTH = 2


def _json_answer(text: str, depth: int = _JSON_DEPTH) -> str:
    """Replace an object of JSON or Python in `text` by the values of its answer keys."""
    start = text.find("{")
    if (
        start < 0
        or not depth
        or (first := _PAIR.search(text, start)) is None
        or text[start + 1 : first.start()].strip()
    ):
        return text
    answers: list[tuple[bool, str]] = []
    position = end = first.start()
    while pair := _PAIR.search(text, position):
        value, position = _json_value(text, pair)
        end = position
        key = re.sub(r"[\s_-]", "", pair["key"]).casefold()
        if value is not None and (match := _ANSWER_KEY.fullmatch(key)):
            answers.append((bool(match["final"]), _json_answer(value, depth - 1)))
        elif value is not None and key in _ARGUMENTS and (inner := _json_answer(value, depth - 1)) != value:
            answers.append((False, inner.replace(OPEN, "").replace(CLOSE, "")))
    closing = re.compile(r"[\s}\]]{0,50}").match(text, end)
    end = closing.end() if closing else end
    finals = [value for final, value in answers if final] or [value for _, value in answers]
    said = "".join(f"\n{OPEN}{value}\n{CLOSE}" for value in finals)
    return text[:start] + said + "\n" + text[end:]


def _json_value(text: str, pair: re.Match[str]) -> tuple[str | None, int]:
    """Return the text of a pair's value (None if it is not text), and where it ends."""
    kind, start = pair["value"], pair.end()
    if kind in {'"', "'"}:
        end = re.compile(rf"(?:[^\\{kind}]|\\.|{kind}(?!\s{{0,9}}[,}}\]\n]|\s{{0,9}}$))*", re.DOTALL).match(text, start)
        stop = end.end() if end else start
        raw = text[start:stop]
        if kind == '"':
            try:
                raw = json.loads(f'"{raw}"', strict=False)
            except ValueError:
                raw = raw.replace('\\"', '"').replace("\\n", "\n")
        closed = stop < len(text)
        return (raw if closed else f"{raw} {_CUT}"), min(stop + 1, len(text))
    if kind == "[":
        stop = text.find("]", start)
        stop = len(text) if stop < 0 else stop
        return text[start:stop], stop
    if kind == "{" or kind is None:
        return None, start
    return kind, start


_ABOUT_RIGHT = re.compile(
    r"(?:is |best )?(?:supported|correct|match(?:es)?|verdict|fits?|right|answer|consistent|accurate)", re.IGNORECASE
)
_ABOUT_WRONG = re.compile(
    r"\b(?:eliminat|ruled|rule out|exclud|reject|wrong|incorrect|false|not\b|discard|unsupport|contradict|distract)",
    re.IGNORECASE,
)
_RIGHT_CELL = re.compile(r"[✅✓✔☑]|(?:✅ ?)?(?:yes|correct|right|true|match(?:es)?)", re.IGNORECASE)
_WRONG_CELL = re.compile(
    r"[❌✗✘✖]|(?:❌ ?)?(?:no|incorrect|wrong|false|no match|not (?:supported|shown|correct))", re.IGNORECASE
)


def _table_verdicts(text: str) -> str:
    """Replace a table that calls one option right and all others wrong by the words that say so."""
    lines = text.splitlines()
    table = [i for i, line in enumerate(lines) if line.count("|") > 1]
    if len(table) < _SMALLEST_TABLE or table != list(range(table[0], table[-1] + 1)):
        return text
    head, _, *rows = ([cell.strip(" \t*_().:?") for cell in lines[i].strip(" \t|").split("|")] for i in table)
    if _ABOUT_WRONG.search(head[-1]):
        return "\n".join([*lines[: table[0]], *lines[table[-1] + 1 :]])
    if not _ABOUT_RIGHT.fullmatch(head[-1]) or not all(re.fullmatch("[A-Za-z]", row[0]) for row in rows):
        return text
    right = [row[0].upper() for row in rows if _RIGHT_CELL.fullmatch(row[-1])]
    wrong = [row[0].upper() for row in rows if _WRONG_CELL.fullmatch(row[-1])]
    if len(right) != 1 or len(wrong) != len(rows) - 1:
        return text
    return "\n".join([*lines[: table[0]], f"{right[0]} is correct.", *lines[table[-1] + 1 :]])


_SMALLEST_TABLE = 4  # a heading, the line below it, and two options
_CUT = "\ue103"  # marks a quoted answer that is cut off
_LATEX_BOX = re.compile(
    r"\\(?:boxed|fbox|framebox)\s?\{((?:[^{}]|\{(?:[^{}]|\{[^{}]{0,300}\}){0,300}\}){0,300})\}"  # braces within braces
)
_LATEX = re.compile(r"\\[a-zA-Z]+\*?|\\[\[\]()]")
_LATEX_STRUCK = re.compile(r"\\(?:[bx]?cancel|[sx]out|st)\s?\{(?:[^{}]|\{[^{}]{0,100}\}){0,300}\}")
_ASKED_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s?\{([^{}]{0,300})\}\$?\s?\?")  # "\boxed{B}? No."
_LATEX_NOT = re.compile(r"\\(?:neg|lnot|not|sim|nsim)(?![a-zA-Z])")
_BANG = re.compile(r"(?<![\w!?.])!(?=[(\[]?[A-Za-z](?![\w']))")  # "!B", as programs negate
_ROMAN = re.compile(r"^[ \t*-]{0,8}\(?(i{1,3}|iv|v|vi{0,3})[.):]", re.IGNORECASE | re.MULTILINE)
_TURKISH_IS = re.compile(r"\b([A-Z])'(?:d|t)[ıiuü]r\b")  # "B'dir": is B
_QUOTE_LINE = re.compile(r"^[ \t]*>.*$", re.MULTILINE)
_LETTER_IN_BRACKETS = re.compile(r"[(\[{【〈《⟨]\s?([A-Za-z])\s?[)\]}】〉》⟩]")
_TICKED = re.compile(r"^([ \t]{0,8}[-*+][ \t]{1,8})\[[xX]\](?=[ \t]*\w)", re.MULTILINE)
_DECORATION = re.compile("[👉➡🎯🎉😊💡🔍📌⭐🌟✨🎬🎥📝🧠💯🙂😀😃😄😁]")
_FAREWELL = re.compile(
    r"""(?<=[.!?*\n])\s{0,9}(?:please\s)?(?:let\sme\sknow\sif|feel\sfree\sto|would\syou\slike|do\syou\swant
        |if\syou\s(?:need|have|want|would))[^.!?\n]{0,200}[.!?]?\s{0,20}$""",
    re.IGNORECASE | re.VERBOSE,
)
_OTHER_TURN = re.compile(
    r"^[\s*#]{0,6}(?:user|human|question|q)(?:\s?\d{1,3})?[*\s]{0,3}:", re.IGNORECASE | re.MULTILINE
)
_OWN_TURN = re.compile(r"^[\s*#]{0,6}(?:assistant|ai|bot|model|response|gpt)[*\s]{0,3}:", re.IGNORECASE | re.MULTILINE)


def option_text(option: str) -> str:
    """Normalise an option as a reply that quotes it is normalised."""
    text = html.unescape(plain_text(option)) if "&" in option else plain_text(option)
    if "<" in text and (bare := _without_reasoning(text)).strip():
        text = bare.replace(OPEN, " ").replace(CLOSE, " ").replace(_TURN, " ")
    return _LATEX.sub("", text)


def final_answer(reply: str) -> str:
    """Return a free-text reply without reasoning, marks and further turns; empty if nothing is left."""
    text = _without_spoken_reasoning(_without_reasoning(reply).lstrip(_TURN))
    turn = next((turn for turn in text.split(_TURN) if turn.strip(f"{OPEN}{CLOSE} \n\t")), "")
    if turn.count(OPEN) == 1 and (inner := turn.partition(OPEN)[2]).strip(f"{CLOSE} \n\t"):
        turn = inner.partition(CLOSE)[0]  # what stands around the answer's own place is not the answer
    return turn.replace(OPEN, " ").replace(CLOSE, " ").strip()


def answer_part(reply: str) -> Iterator[str]:
    """Yield the parts that may hold the answer: the reply's own turn first, then the whole reply."""
    text = plain_text(reply)
    if "&" in text:
        text = html.unescape(text)
    if "~~" in text or "<" in text:
        text = _COMMENT.sub(" ", _STRUCK.sub(" ", text))
    text = re.sub(r"</\w{0,20}\s{0,9}$", "\n", text)  # a closing tag that is cut
    text = _without_spoken_reasoning(_without_reasoning(text).lstrip(_TURN))
    turns = [turn for turn in text.split(_TURN) if turn.strip(f"{OPEN}{CLOSE} \n\t")]
    text = turns[0] if turns else ""
    if text.count(OPEN) == 1 and (inner := text.partition(OPEN)[2]).strip(f"{CLOSE} \n\t"):
        text = OPEN + inner  # what stands before the answer's own place led up to it
    text = _json_answer(text)
    if "|" in text:
        text = _table_verdicts(text)
    if len({numeral.lower() for numeral in _ROMAN.findall(text)} & {"i", "ii"}) > 1:
        text = _ROMAN.sub("1.", text)  # "i. B", "ii. D": numbers, the first of which would be the letter I
    text = _FAREWELL.sub("", _TICKED.sub(r"\1✅", _DECORATION.sub(" ", text)))
    text = _TURKISH_IS.sub(r"\1", text)
    text = _BANG.sub(" not ", text.replace("!=", " \u2260 "))
    if "\\" in text:
        text = _LATEX_NOT.sub(" not ", _LATEX_STRUCK.sub(" ", text))
        text = _ASKED_BOX.sub(r" \1? ", text)
        text = re.sub(r"\\[a-zA-Z]+\s?\{(\(?[A-Za-z]\)?\.?)\}(?=\s?\})", r"\1", text)
        text = _LATEX.sub("", _LATEX_BOX.sub(rf" {OPEN}\1{CLOSE} ", text))
    if ">" in text:
        unquoted = _QUOTE_LINE.sub("", text).strip()
        text = unquoted if unquoted and not unquoted.endswith(":") else re.sub(r"^[ \t]{0,9}>", "", text, flags=re.M)
    text = _LETTER_IN_BRACKETS.sub(r" \1) ", text)
    own, other = _OWN_TURN.search(text), _OTHER_TURN.search(text)
    first = min(m.start() for m in (own, other) if m) if own else 0
    if own and not text[:first].strip():
        text = text[own.end() :]
        other = _OTHER_TURN.search(text)
    if other and text[: other.start()].strip():
        yield text[: other.start()]
    yield text
