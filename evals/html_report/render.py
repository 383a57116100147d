"""Templates to one self-contained file: everything from records is escaped, and a policy forbids what slips through."""

from __future__ import annotations

import base64
import hashlib
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evals.html_report.text import clean
from tasks.resources import resource

TEMPLATES = resource("evals", "templates")


@cache
def environment() -> Environment:
    """Jinja with autoescape always on; every text that a template prints is cleaned first."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=shown,
    )
    made.filters["sentence"] = lambda text: f"{text[:1].upper()}{text[1:].rstrip('.')}."
    made.filters["signed"] = lambda value: f"{value:+.1f}".replace("-", "−")
    return made


def shown(value: object) -> object:
    """What a template prints: text without control characters, and numbers of SVG without a tail of digits."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return clean(value)
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def render(template: str, **content: object) -> str:
    """A page. Its style and script are inline, and the only ones that its content security policy lets through."""
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{source_hash(style)}'; script-src '{source_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # Both files are the project's own; nothing from a record reaches them.
    assets = {"style": Markup(style), "script": Markup(script)}  # noqa: S704
    return environment().get_template(template).render(policy=policy, **assets, **content)


def source_hash(text: str) -> str:
    """A content security policy's name for an inline style or script."""
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"sha256-{digest}"
