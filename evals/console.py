"""The only place that prints. Text from records is escaped: a caption can't pass for markup or control codes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

from rich.console import Console
from rich.markup import escape

PIPE_WIDTH = 140
out = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
PLAIN_EVERY_SECONDS = 30.0
LONGEST_TEXT = 20_000
LONGEST_CELL = 500
# Control codes but line ends and tabs, lone surrogates, and marks that reverse the reading direction.
UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def safe(text: object) -> str:
    """Text without control characters and with markup escaped; endless text is cut, and says so."""
    shown = clipped(str(text), LONGEST_TEXT)
    return escape("".join(c if c.isprintable() or c == "\n" else "�" for c in shown))


def safe_cell(text: object) -> str:
    """Text of a table's cell: on one line, so that nothing in it passes for another row."""
    return safe(clipped(" ".join(str(text)[: LONGEST_TEXT + 1].split()), LONGEST_CELL))


def clipped(text: str, most: int) -> str:
    """At most `most` characters, with a sign where something was left out."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def say(text: str) -> None:
    """A line for the reader."""
    out.print(safe(text), soft_wrap=True)


def note(text: str) -> None:
    """What is going on, on standard error."""
    err.print(f"[dim]{safe(text)}[/]")


def warn(text: str) -> None:
    """A warning, on standard error."""
    err.print(f"[yellow]warning:[/] {safe(text)}")


def fail(text: str) -> None:
    """One clear line about what went wrong, on standard error."""
    err.print(f"[red]error:[/] {safe(' '.join(text.split()))}")


def without_codes(text: str) -> str:
    """The text with a mark in place of every code that would act on a terminal, now or when a file is shown there."""
    return UNSAFE.sub("�", text)


def emit(text: str) -> None:
    """Machine-readable output: whole, but for codes that would act on a terminal."""
    plain = without_codes(text)
    sys.stdout.write(plain if plain.endswith("\n") else f"{plain}\n")


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    numeric: Sequence[str] = (),
    width: int | None = None,
) -> None:
    """A table, at most `width` columns wide where that is said; columns named in `numeric` are set right."""
    from rich.table import Table

    table = Table(title=safe_cell(title) or None, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(safe_cell(column), justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(safe_cell(cell) for cell in row))
    out.print(table, width=width)


class Ticker(Protocol):
    """Called after each finished item, with a few words on how it stands."""

    def __call__(self, note: str) -> None: ...


@contextmanager
def progress(label: str, total: int, done: int) -> Iterator[Ticker]:
    """A progress bar with ETA; a line now and then where there is no terminal."""
    if not err.is_terminal:
        yield plain_ticker(label, total, done)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task(safe(label), total=total, completed=done, note="")

        def tick(note: str) -> None:
            bar.update(task, advance=1, note=safe(note))

        yield tick


def plain_ticker(label: str, total: int, done: int) -> Ticker:
    """Lines for logs: at the first item, every half minute, and at the last."""
    started = last = monotonic()
    finished = done

    def tick(note: str) -> None:
        nonlocal finished, last
        finished += 1
        now = monotonic()
        if finished in (done + 1, total) or now - last >= PLAIN_EVERY_SECONDS:
            last = now
            left = (total - finished) * (now - started) / (finished - done)
            err.print(safe(f"{label}: {finished}/{total}, {now - started:.0f} s, {left:.0f} s left, {note}"))

    return tick
