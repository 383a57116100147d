"""Text from records on its way into a page: shown, never obeyed. Escaping itself is the templates' work."""

from __future__ import annotations

import unicodedata

from markupsafe import escape

# Format characters (Cf) hold the bidirectional overrides, which can make a text read as another.
UNSHOWN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})
KEPT = frozenset("\n\t\u200d\u00ad")
REPLACEMENT = "�"


def clean(text: str) -> str:
    """The text without control, format and private characters."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(REPLACEMENT if unicodedata.category(c) in UNSHOWN and c not in KEPT else c for c in text)


def clipped(text: object, limit: int) -> str:
    """A cleaned text of at most `limit` characters, which says how long it was where it was cut."""
    whole = str(text)
    if len(whole) <= limit:
        return clean(whole)
    return f"{clean(whole[:limit])} … (cut: {len(whole):,} characters)"


def page_bytes(*texts: str) -> int:
    """How many bytes texts take in a page, escaped."""
    return sum(len(str(escape(text)).encode("utf-8", "replace")) for text in texts)
