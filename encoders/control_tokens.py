"""Escape control tokens in text from outside: a caption with `<|im_end|>` is read as characters and ends no turn.

A tokenizer looks for its control tokens in whatever it is given. Texts are therefore quoted before a chat template adds
its own control tokens, and a prompt with quoted parts is read by a copy of the tokenizer in which every control token
has a name that no text contains. All other prompts use the tokenizer itself, and get the same tokens as ever.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tasks.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

MARK = "\U0010fffd"
"""Encloses a quoted control token: its number, nothing for the mark itself, "-" for an empty text."""
QUOTED = re.compile(f"{MARK}([0-9]*|-){MARK}")
WHOLE = f"{MARK}-{MARK}"
MARKUP = re.compile(r"\s*(<.*>|\[.*\])\s*", re.DOTALL)
BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
KEPT = 8

_WORDS = (
    r"/?(?:s|bos|eos|pad|unk|mask|sep|cls|think|image|video|audio|answer|final|analysis|unused\d+|extra_id_\d+)"
    r"|/?[a-z]+(?:_[a-z0-9]+)+|<SYS>|</SYS>|seed:[a-z_:]+"
)
_BRACKETS = (
    "INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|ARGS|THINK|IMG|IMG_BREAK|IMG_END|"
    "CLS|SEP|PAD|MASK|UNK|BOS|EOS|gMASK|sMASK"
)
LIKE_CONTROL = re.compile(rf"<(?=[|｜][^\s<>]{{1,64}}[|｜]>|(?:{_WORDS})>)|\[(?=/?(?:{_BRACKETS})\])")
"""Matches the starts of turn marks and special tokens of published chat models."""


def neutral(text: str) -> str:
    """Escape text for a model without a local tokenizer: insert a blank into all that looks like a control token.

    Only the forms of published models are known, so that a subtitle's `[MUSIC]` is unchanged.
    """
    return LIKE_CONTROL.sub(lambda found: f"{found.group()} ", text)


def quote(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Escape text from outside for a prompt that `encode_quoted` reads; most texts are unchanged."""
    return _guard(tokenizer, len(tokenizer)).quote(text)


def encode_quoted(tokenizer: PreTrainedTokenizerBase, text: str, *, add_special_tokens: bool) -> list[int]:
    """Return the token ids of a prompt whose quoted parts are read as the original text.

    Raises ModelError if there are such parts and the tokenizer is not one of the `tokenizers` library.
    """
    if MARK not in text:
        ids: list[int] = tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]
        return ids
    return _guard(tokenizer, len(tokenizer)).encode(text, add_special_tokens=add_special_tokens)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the token ids of a text that is entirely from outside, without start or end tokens."""
    return encode_quoted(tokenizer, quote(tokenizer, text), add_special_tokens=False)


def text_only(tokenizer: Tokenizer) -> Tokenizer:
    """Return a copy that never finds control tokens, because no text contains their new names."""
    content = json.loads(tokenizer.to_str())
    return _renamed(tokenizer, content, _new_names(content))


@dataclass(frozen=True)
class _Guard:
    """A tokenizer's control tokens, and a copy in which they have other names (made on first use)."""

    tokenizer: PreTrainedTokenizerBase
    contents: tuple[str, ...]
    pattern: re.Pattern[str]
    normalised: re.Pattern[str] | None

    def quote(self, text: str) -> str:
        numbers = {content: str(number) for number, content in enumerate(self.contents)}
        quoted = self.pattern.sub(lambda found: f"{MARK}{numbers.get(found.group(), '')}{MARK}", text)
        # Some tokens are matched in the normalised text only, where other characters may have become theirs.
        if quoted == text and self.normalised is not None:
            as_read: str = self.tokenizer.backend_tokenizer.normalizer.normalize_str(text)
            return f"{WHOLE}{text}" if self.normalised.search(as_read) else text
        return quoted

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        copy, names = _copy(self.tokenizer, len(self.tokenizer))
        parts = QUOTED.split(text)
        named = [self.pattern.sub(lambda found: names.get(found.group(), found.group()), part) for part in parts[::2]]
        meant = {"": MARK, "-": ""}
        quoted = [meant[part] if part in meant else self.contents[int(part)] for part in parts[1::2]]
        whole = "".join(part for pair in zip(named, [*quoted, ""], strict=True) for part in pair)
        ids: list[int] = copy.encode(whole, add_special_tokens=add_special_tokens).ids
        return ids


@lru_cache(KEPT)
def _guard(tokenizer: PreTrainedTokenizerBase, size: int) -> _Guard:
    del size  # part of the key: tokens may be added to a tokenizer later
    added = [token for token in tokenizer.added_tokens_decoder.values() if _controls(token.content, token.special)]
    contents = tuple(dict.fromkeys(token.content for token in added))
    backend = getattr(tokenizer, "backend_tokenizer", None)
    late = [token.content for token in added if token.normalized]
    looks = bool(late) and backend is not None and backend.normalizer is not None
    return _Guard(tokenizer, contents, _any_of([*contents, MARK]), _any_of(late) if looks else None)


@lru_cache(KEPT)
def _copy(tokenizer: PreTrainedTokenizerBase, size: int) -> tuple[Tokenizer, dict[str, str]]:
    del size
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(
            f"a text contains what {type(tokenizer).__name__} takes for a control token, and this kind of tokenizer "
            "can't read it as text: use a model with a tokenizer.json"
        )
    content = json.loads(backend.to_str())
    names = _new_names(content)
    return _renamed(backend, content, names), names


def _controls(content: str, special: bool) -> bool:
    """Whether an added token is a control token: blanks and words of a domain may be added tokens, too."""
    return bool(content) and (special or MARKUP.fullmatch(content) is not None) and not BYTE.fullmatch(content)


def _any_of(contents: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(content) for content in sorted(contents, key=len, reverse=True)))


def _new_names(content: dict[str, Any]) -> dict[str, str]:
    secret = secrets.token_hex(8)
    found = [token["content"] for token in content["added_tokens"] if _controls(token["content"], token["special"])]
    return {text: f"{MARK}{secret}:{number}{MARK}" for number, text in enumerate(dict.fromkeys(found))}


def _renamed(tokenizer: Tokenizer, content: dict[str, Any], names: dict[str, str]) -> Tokenizer:
    """Build the tokenizer of the JSON `content` with other names and the same ids."""
    from tokenizers import Tokenizer

    for token in content["added_tokens"]:
        if token["content"] in names:
            token |= {"content": names[token["content"]], "normalized": False}
    model = content["model"]
    vocabulary = model.get("vocab", {})
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(text, text): number for text, number in vocabulary.items()}
    else:
        model["vocab"] = [[names.get(text, text), score] for text, score in vocabulary]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [pair for pair in model["merges"] if not _makes(pair, names)]
    copy = Tokenizer.from_str(json.dumps(content))
    copy.no_truncation()
    copy.no_padding()
    moved = [text for text, name in names.items() if copy.token_to_id(name) != tokenizer.token_to_id(text)]
    if moved:
        raise ModelError(f"the tokenizer's control token '{moved[0]}' looks the same as those words in a text")
    return copy


def _makes(pair: str | list[str], names: dict[str, str]) -> bool:
    """Whether a merge reads or makes a control token."""
    first, second = pair.split(" ", 1) if isinstance(pair, str) else pair
    return first in names or second in names or first + second in names
