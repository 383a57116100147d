"""Tables in Markdown whose cells stay text, also in the HTML that is made of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evals.console import without_codes

SIGNS = re.compile(r"([\\`*_{}\[\]<>|#!~&])")


def in_markdown(text: str) -> str:
    """Text on one line, with everything escaped that Markdown or HTML would act on."""
    plain = without_codes(" ".join(text.split()))
    return SIGNS.sub(r"\\\1", plain).replace("\\<", "&lt;").replace("\\>", "&gt;")


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str] = ()) -> list[str]:
    """The lines of a table; columns named in `numeric` are set right."""
    rule = "|" + "|".join("---:" if column in numeric else "---" for column in columns) + "|"
    return [line(columns), rule, *(line(row) for row in rows)]


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(in_markdown(cell) for cell in cells) + " |"
