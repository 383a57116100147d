"""Help in the terminal: plain text whose words stay whole, and examples that can be pasted from any width.

typer's own help names the types of values as Python does (`<list[int]>`) and breaks words at their hyphens.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import typer

EXAMPLE = "Example: "
NARROW, NARROW_COLUMN = 70, 24
"""Below this many columns, option names longer than that have a line of their own."""
METAVARS = (
    (r"<list\[(\w+)\]>", r"<\1>"),
    (r"<(int|float)( range)?>|(INTEGER|FLOAT)( RANGE)?", "N"),
    (r"<[Pp]ath>", "PATH"),
    (r"<str>", "TEXT"),
    (r" <bool>| BOOLEAN", ""),
    (r"[<{}>]", ""),
)
"""How versions of typer write the type of a value, and how it is written here."""


# click's own, or in newer versions of typer a copy of it.
class HelpScreen(typer.Context.formatter_class):  # type: ignore[misc, valid-type]
    """A command's help as plain text of at most 80 columns."""

    def write_text(self, text: str) -> None:
        """Write paragraphs; an example is continued on its next line as a shell reads it."""
        lead = " " * self.current_indent
        if text.startswith(EXAMPLE):
            self.write("".join(f"{lead}{line}\n" for line in example_lines(text, self.width - self.current_indent)))
            return
        paragraphs = (wrapped(" ".join(part.split()), self.width, lead) for part in text.split("\n\n"))
        self.write("\n\n".join("\n".join(lines) for lines in paragraphs) + "\n")

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names, and beside each what it means."""
        lead = " " * self.current_indent
        widest = min(col_max, NARROW_COLUMN) if self.width < NARROW else col_max
        column = min(widest, max(len(name) for name, _ in rows)) + col_spacing
        for name, meaning in rows:
            lines = wrapped(" ".join(meaning.split()), max(self.width - column - len(lead), 10)) or [""]
            is_beside = len(name) <= column - col_spacing
            first = f"{lead}{name:{column}}" if is_beside else f"{lead}{name}\n{lead}{'':{column}}"
            self.write(f"{first}{lines[0]}".rstrip() + "\n")
            self.write("".join(f"{lead}{'':{column}}{line}\n" for line in lines[1:]))


def wrapped(text: str, width: int, lead: str = "") -> list[str]:
    """A paragraph's lines, broken between words alone."""
    return textwrap.wrap(
        text, width, initial_indent=lead, subsequent_indent=lead, break_on_hyphens=False, break_long_words=False
    )


def example_lines(text: str, width: int) -> Iterator[str]:
    """An example's lines, broken before its options where that fits, each but the last ending with a backslash."""
    line = ""
    for part in re.split(r" (?=-)", text):
        for piece in [part] if len(part) + 6 <= width else part.split(" "):
            if line and len(line) + len(piece) + 3 > width:
                yield f"{line} \\"
                line = f"    {piece}"
            else:
                line = f"{line} {piece}" if line else piece
    yield line


def get_help(command: Any, ctx: Any) -> str:  # noqa: ANN401 - typer's command classes have no common public name
    """A command's help."""
    width = ctx.make_formatter().width
    screen = HelpScreen(width=width)
    command.format_help(ctx, screen)
    return str(screen.getvalue()).rstrip("\n")


def name_values(parameter: Any) -> None:  # noqa: ANN401
    """Make a parameter's help and usage name its values in capitals (N, TEXT, PATH)."""
    parameter.get_help_record = partial(help_record, parameter, parameter.get_help_record)
    parameter.get_usage_pieces = partial(usage_pieces, parameter.get_usage_pieces)


def help_record(parameter: Any, record: Callable[[Any], Any], ctx: Any) -> tuple[str, str] | None:  # noqa: ANN401
    """A parameter's names with what is given behind them, and what it means."""
    found = record(ctx)
    if found is None:
        return None
    name = metavar(found[0])
    if parameter.param_type_name == "argument":
        name = capitals(re.sub(r" (TEXT|PATH|N)$", "", name))
    return name, found[1]


def usage_pieces(pieces: Callable[[Any], Iterable[str]], ctx: Any) -> list[str]:  # noqa: ANN401
    """An argument as the line of usage names it."""
    return [capitals(re.sub(r"[{}]", "", piece)) for piece in pieces(ctx)]


def metavar(text: str) -> str:
    """An option's names with what is given behind them."""
    for pattern, written in METAVARS:
        text = re.sub(pattern, written, text)
    return text


def capitals(name: str) -> str:
    """An argument's name; one that was given in capitals, with signs of its own, stays."""
    name = name.replace("...", "…").replace("……", "…")
    return name.upper() if name.islower() else name
