"""Render templates to one self-contained file; record texts are escaped, with a content security policy behind that."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Iterable
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from tasks.registry import family_of
from tasks.resources import resource
from tasks.task import figure_title

# Format characters (Cf) hold the bidirectional overrides, which can make a text read as another.
UNSHOWN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})
KEPT = frozenset("\n\t\u200d\u00ad")
REPLACEMENT = "�"


def clean(text: str) -> str:
    """Remove control, format and private-use characters."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(REPLACEMENT if unicodedata.category(c) in UNSHOWN and c not in KEPT else c for c in text)


def clipped(text: object, limit: int) -> str:
    """Clean a text and cut it to at most `limit` characters, noting its full length if it was cut."""
    whole = str(text)
    if len(whole) <= limit:
        return clean(whole)
    return f"{clean(whole[:limit])} … (cut: {len(whole):,} characters)"


def page_bytes(*texts: str) -> int:
    """Return the number of bytes that texts take in a page, escaped."""
    return sum(len(str(escape(text)).encode("utf-8", "replace")) for text in texts)


Terms = tuple[tuple[str, str], ...]

EVERYWHERE: Terms = (
    (
        "floor",
        (
            "what can be scored without looking at the video: random guesses (chance), the same answer every time "
            "(constant), a language model that reads the question alone (blind), another video's text. What counts in "
            "a figure is how far it is above its floors."
        ),
    ),
    (
        "95 % interval",
        (
            "where the figure would plausibly lie on other videos of the same kind. It is computed over source videos, "
            "since questions about one video are not independent; with fewer than ten of them no interval is reliable."
        ),
    ),
    (
        "cost",
        (
            "of one item (a question, a text or a clip): seconds, language-model tokens and frames looked at; memory "
            "is the process's peak. A dash stands for what was not measured."
        ),
    ),
    (
        "not run here",
        "imported answers were made elsewhere and scored here; published figures were neither made nor scored here.",
    ),
)


def terms(families: Iterable[str]) -> Terms:
    """Return the glossary of some families' pages, each term once."""
    return (*(term for family in dict.fromkeys(families) for term in family_of(family).terms), *EVERYWHERE)


TEMPLATES = resource("evals", "templates")


@cache
def environment() -> Environment:
    """Return a Jinja environment with autoescape always on; every text that a template prints is cleaned first."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=shown,
    )
    made.filters["figure_title"] = figure_title
    made.filters["opening"] = lambda text: f"{text[:1].upper()}{text[1:]}"
    made.filters["sentence"] = lambda text: f"{text[:1].upper()}{text[1:].rstrip('.')}."
    made.filters["signed"] = lambda value: f"{value:+.1f}".replace("-", "−")
    return made


def shown(value: object) -> object:
    """Prepare a value for a template: text without control characters, SVG numbers rounded."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return clean(value)
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def render(template: str, *, media: bool = False, **content: object) -> str:
    """Render a page. Its style and script are inline, and the only ones that its content security policy allows.

    With `media` it may also play video files of the machine that it is viewed on.
    """
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{source_hash(style)}'; script-src '{source_hash(script)}'; "
        f"{'media-src file:; ' if media else ''}base-uri 'none'; form-action 'none'"
    )
    # Both files are the project's own; nothing from a record reaches them.
    assets = {"style": Markup(style), "script": Markup(script)}  # noqa: S704
    return environment().get_template(template).render(policy=policy, **assets, **content)


def source_hash(text: str) -> str:
    """Return the hash by which a content security policy names an inline style or script."""
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"sha256-{digest}"
