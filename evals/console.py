"""The only place that prints. Text from records is escaped: a caption can't be taken for markup or control codes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from threading import Timer
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 140
WIDTH_VARIABLE = "COLUMNS"
FORCING = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JUPYTER_COLUMNS")
"""Variables by which rich is told that a pipe is as good as a terminal, or a terminal none."""
NARROW = 60
"""Terminals with fewer columns than this get a list of facts in place of a table."""
NOTHING = frozenset({"", "–"})
"""Cell values that a list of facts omits."""
GAP, AT_EASE = 2, 24
SIGNS = "/\\-_.,:;@=&?"
"""Characters after which a word longer than a line may be broken."""
PATH_WIDTHS = (60, 40, 24)
"""In a table that is too wide otherwise, paths and addresses longer than this are broken after a slash."""
PLAIN_EVERY_SECONDS = 30.0
QUIET_SECONDS = 60.0
LONGEST_TEXT = 20_000
LONGEST_CELL = 500
# Control codes other than line ends and tabs, lone surrogates, and marks that reverse the reading direction.
UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


class LateConsole:
    """rich's Console of a standard stream, made when it is needed: plain lines for a pipe do without it."""

    def __init__(self, *, stderr: bool = False, pipe_width: int | None = None) -> None:
        self._made: Console | None = None
        self._stderr = stderr
        # A pipe has no width; what a terminal or $COLUMNS says, rich finds out.
        has_width = pipe_width is None or sys.stdout.isatty() or WIDTH_VARIABLE in os.environ
        self._width = None if has_width else pipe_width

    @property
    def console(self) -> Console:
        """The console itself."""
        if self._made is None:
            from rich.console import Console

            self._made = Console(stderr=self._stderr, highlight=False, emoji=False, width=self._width)
        return self._made

    @property
    def plain_stream(self) -> Any:  # noqa: ANN401 - whatever stands for a standard stream
        """The stream where lines are written as they are; None where it is, or is said to be, a terminal."""
        stream = sys.stderr if self._stderr else sys.stdout
        is_told = self._made is not None or any(name in os.environ for name in FORCING)
        return None if is_told or stream.isatty() else stream

    @property
    def is_terminal(self) -> bool:
        return self.plain_stream is None and self.console.is_terminal

    @property
    def width(self) -> int:
        told = os.environ.get(WIDTH_VARIABLE, "")
        return self._width or (int(told) if told.isdigit() else self.console.width)

    def print(self, *objects: Any, **settings: Any) -> None:  # noqa: ANN401 - as rich's own
        """As rich prints it."""
        self.console.print(*objects, **settings)


out: LateConsole | Console = LateConsole(pipe_width=PIPE_WIDTH)
err: LateConsole | Console = LateConsole(stderr=True)


def drawn(console: LateConsole | Console) -> Console:
    """The console as rich's own."""
    return console.console if isinstance(console, LateConsole) else console


def safe(text: object) -> str:
    """Remove control characters and escape markup; cut text that is too long, with a mark."""
    from rich.markup import escape

    return escape(printable(clipped(str(text), LONGEST_TEXT)))


def printable(text: str) -> str:
    """Replace each character that would control the terminal with a visible mark."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


def cell_text(text: object) -> str:
    """Put a table cell's text on one line, so that no part of it looks like another row."""
    return printable(clipped(" ".join(str(text)[: LONGEST_TEXT + 1].split()), LONGEST_CELL))


def clipped(text: str, most: int) -> str:
    """Cut a text to at most `most` characters, with an ellipsis if something was left out."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def say(text: str) -> None:
    """Print a line on standard output."""
    write(out, text)


def note(text: str) -> None:
    """Print a progress message on standard error."""
    write(err, text, style="dim")


def warn(text: str) -> None:
    """Print a warning on standard error."""
    write(err, text, label="warning:", colour="yellow")


def fail(text: str) -> None:
    """Print an error on standard error."""
    write(err, " ".join(text.split()), label="error:", colour="red")


def write(console: LateConsole | Console, text: str, *, style: str = "", label: str = "", colour: str = "") -> None:
    """Print lines, broken between words if the terminal is too narrow; in a file they stay as they are."""
    whole = printable(clipped(f"{label} {text}" if label else text, LONGEST_TEXT))
    if isinstance(console, LateConsole) and (stream := console.plain_stream) is not None:
        write_plainly(stream, whole)
        return
    from rich.text import Text

    if console.is_terminal:
        lines = (part for line in whole.split("\n") for part in fitting(line, console.width))
        whole = "\n".join(lines)
    shown = Text(whole, style)
    shown.stylize(colour, 0, len(label))
    console.print(shown, soft_wrap=True)


def write_plainly(stream: Any, text: str) -> None:  # noqa: ANN401
    """A line as it is, at once. Where nobody reads any more (`| head`) it ends the program, as rich does."""
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:
        drawn(out).on_broken_pipe()


def fitting(line: str, width: int) -> list[str]:
    """Break a line that does not fit into several with its indentation."""
    indent = line[: len(line) - len(line.lstrip(" "))]
    return [line] if cell_len(line) <= width else wrapped(line, width, indent)


def number_of(count: int, what: str) -> str:
    """`1 video`, `2 videos`, `1,000 videos`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def path_text(path: Path) -> str:
    """Return a path relative to the working directory if it lies inside."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def without_codes(text: str) -> str:
    """Replace every code that would control a terminal, now or when a file is shown there, with a visible mark."""
    return UNSAFE.sub("�", text)


def emit(text: str) -> None:
    """Print machine-readable output in full, except for codes that would control a terminal."""
    plain = without_codes(text)
    sys.stdout.write(plain if plain.endswith("\n") else f"{plain}\n")


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    numeric: Sequence[str] = (),
    *,
    least: Sequence[str] = (),
    wide: bool = False,
    split: bool = False,
    most: int | None = None,
) -> None:
    """Print a table that fits the terminal with whole words; failing that, or below `NARROW` columns, a list of facts.

    Args:
        title: Heading of the table.
        columns: Column names, the most important first.
        rows: A cell for each column.
        numeric: Columns that are right-aligned and keep each number on one line.
        least: Columns to drop if they don't fit, in this order; a line names those dropped.
        wide: Keep all columns, however wide the table gets.
        split: Show columns that don't fit in further tables below, with only the rows that have a value there.
        most: Maximum width of the table in characters.
    """
    if not rows:
        write(out, f"{cell_text(title)}: none" if title else "none")
        return
    names = [cell_text(name) for name in columns]
    cells = [[cell_text(cell) for cell in row] for row in rows]
    right = {place for place, name in enumerate(columns) if name in numeric}
    width = min(out.width, most or out.width)
    kept = [at for at in range(len(names)) if wide or columns[at] not in least or not is_empty(cells, at)]
    needed = needs(names, cells, right)
    if not wide:
        cells, needed = with_paths_broken(names, cells, right, [at for at in kept if columns[at] not in least], width)
    # Dropping a column is better than wrapping words into many short lines.
    full = [max(cell_len(text) for text in (name, *(row[at] for row in cells))) for at, name in enumerate(names)]
    wanted = [max(pair[0], min(pair[1], AT_EASE)) for pair in zip(needed, full, strict=True)]
    for name in () if wide else least:
        if room([wanted[place] for place in kept]) > width:
            kept = [place for place in kept if columns[place] != name]
    if title:
        write(out, cell_text(title), style="italic")
    parts = in_parts(kept, needed, width) if split and not wide else [kept]
    if not wide and (width < NARROW or any(room([needed[place] for place in part]) > width for part in parts)):
        # A list has room for columns that a table of that width has not.
        kept = [place for place in kept if columns[place] not in least]
        show_lines(facts_lines(*picked(kept, names, cells), width))
    else:
        for number, part in enumerate(parts):
            rows_of = [row for row in cells if len(parts) == 1 or any(row[at] not in NOTHING for at in part[1:])]
            widths = [full[place] for place in part]
            if not wide:
                widths = shared_out([needed[at] for at in part], [wanted[at] for at in part], widths, width)
            show_lines([("", False)] if number else [])
            show_lines(table_lines(*picked(part, names, rows_of), widths, [place in right for place in part]))
    left_out = [name for place, name in enumerate(names) if place not in kept and not is_empty(cells, place)]
    if left_out:
        note(f"not shown: {', '.join(left_out)} (--wide)")


def in_parts(kept: Sequence[int], needed: Sequence[int], width: int) -> list[list[int]]:
    """Split the columns into as few tables as possible, with the first column in each."""
    first, *others = kept
    parts = [[first]]
    for place in others:
        if len(parts[-1]) > 1 and room([needed[at] for at in (*parts[-1], place)]) > width:
            parts.append([first])
        parts[-1].append(place)
    return parts


def show_lines(lines: Iterable[tuple[str, bool]]) -> None:
    """Print lines unchanged; each comes with whether it is bold."""
    stream = out.plain_stream if isinstance(out, LateConsole) else None
    for line, is_bold in lines:
        if stream is not None:
            write_plainly(stream, line)
        else:
            out.print(line, style="bold" if is_bold else None, markup=False, soft_wrap=True)


def picked(
    kept: Sequence[int], names: Sequence[str], cells: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """Select some columns of a table."""
    return [names[place] for place in kept], [[row[place] for place in kept] for row in cells]


def is_empty(cells: Sequence[Sequence[str]], place: int) -> bool:
    """Whether a column says nothing."""
    return all(row[place] in NOTHING for row in cells)


def needs(names: Sequence[str], cells: Sequence[Sequence[str]], right: Collection[int]) -> list[int]:
    """Return the least width of each column that breaks no word and no number."""
    return [narrowest(names[at], [row[at] for row in cells], at in right) for at in range(len(names))]


def with_paths_broken(
    names: Sequence[str], cells: list[list[str]], right: Collection[int], kept: Sequence[int], width: int
) -> tuple[list[list[str]], list[int]]:
    """Return cells and columns' least widths; long paths are broken where the kept columns fit by that alone."""
    needed = needs(names, cells, right)
    if room([needed[at] for at in kept]) <= width:
        return cells, needed
    for longest in PATH_WIDTHS:
        broken = [[broken_at_slashes(text, longest) for text in row] for row in cells]
        least = needs(names, broken, right)
        if room([least[at] for at in kept]) <= width:
            return broken, least
    return cells, needed


def broken_at_slashes(text: str, width: int) -> str:
    """Put a space after slashes within words longer than `width` columns, as few as make parts of that width."""
    return " ".join(part for word in text.split(" ") for part in path_parts(word, width))


def path_parts(word: str, width: int) -> Iterator[str]:
    """Yield the parts of a path or an address; a part without a slash stays whole."""
    line = ""
    for piece in re.findall(r"[^/]*/+|[^/]+", word) if cell_len(word) > width else [word]:
        if line and cell_len(line + piece) > width:
            yield line
            line = ""
        line += piece
    yield line


def narrowest(name: str, texts: Sequence[str], is_number: bool) -> int:
    """Return the least column width that breaks no word and no number."""
    pieces = [*name.split(), *(texts if is_number else (word for text in texts for word in text.split()))]
    return max(map(cell_len, pieces), default=1)


def room(widths: Sequence[int]) -> int:
    """Return the width of columns with the gaps between them."""
    return sum(widths) + GAP * (len(widths) - 1)


def shared_out(needed: Sequence[int], wanted: Sequence[int], full: Sequence[int], width: int) -> list[int]:
    """Share out a width: each column gets what it needs, then up to what it wants and can fill, smallest lack first."""
    widths = list(needed)
    for aim in (wanted, full):
        waiting = sorted(range(len(widths)), key=lambda place: aim[place] - widths[place])
        for number, place in enumerate(waiting):
            spare = width - room(widths)
            widths[place] += min(aim[place] - widths[place], spare // (len(waiting) - number))
    return widths


def table_lines(
    names: Sequence[str], cells: Sequence[Sequence[str]], widths: Sequence[int], right: Sequence[bool]
) -> Iterator[tuple[str, bool]]:
    """Lay out a table as lines, each with whether it is bold; `right` says which columns are right-aligned."""

    def lines_of(row: Sequence[str]) -> Iterator[str]:
        broken = [wrapped(text, width) for text, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*broken, fillvalue=""):
            padded = (
                " " * (width - cell_len(part)) + part if is_right else set_cell_size(part, width)
                for part, width, is_right in zip(parts, widths, right, strict=True)
            )
            yield (" " * GAP).join(padded).rstrip()

    if any(names):
        yield from ((line, True) for line in lines_of(names))
        yield (" " * GAP).join("─" * width for width in widths), False
    for row in cells:
        yield from ((line, False) for line in lines_of(row))


def facts_lines(names: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> Iterator[tuple[str, bool]]:
    """Yield a line for each fact of each row, under the row's bold name; unknown values are omitted."""
    for first, *others in cells:
        yield from ((line, True) for line in wrapped(in_pieces(first, width), width))
        for name, cell in zip(names[1:], others, strict=True):
            if cell not in NOTHING:
                fact = in_pieces(f"{name}: {cell}" if name else cell, width - len("    "))
                yield from ((line, False) for line in wrapped(fact, width, "    ", "  "))


def wrapped(text: str, width: int, indent: str = "", first: str | None = None) -> list[str]:
    """Wrap a text to lines of at most `width` columns; longer words stay whole.

    Args:
        text: The text to wrap.
        width: Width of a line, its indentation included.
        indent: Start of each line.
        first: Start of the first line, if different.
    """
    lines, line = [], indent if first is None else first
    empty = True
    for word in text.split():
        if not empty and cell_len(line) + 1 + cell_len(word) > width:
            lines.append(line)
            line, empty = indent, True
        line += word if empty else f" {word}"
        empty = False
    return [*lines, line]


def in_pieces(text: str, width: int) -> str:
    """Insert spaces into words longer than `width` columns, after punctuation within them if there is any."""
    return " ".join(piece for word in text.split() for piece in pieces_of(word, width))


def pieces_of(word: str, width: int) -> Iterator[str]:
    """Yield the parts of a word, each of at most `width` columns."""
    while cell_len(word) > width:
        part = set_cell_size(word, width).rstrip()
        end = max((part.rfind(sign) for sign in SIGNS), default=-1) + 1 or len(part)
        yield word[:end]
        word = word[end:]
    yield word


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show what is being done when there is nothing to count: at once on a terminal, late in a log."""
    if err.is_terminal:
        note(what)
        yield
        return
    timer = Timer(QUIET_SECONDS, note, [what])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Ticker(Protocol):
    """Called after each finished item, with a few words on how it stands."""

    def __call__(self, note: str) -> None: ...


MEANT_ITEMS, MEANT_SECONDS = 3, 5.0
"""Our choice: before this many items and seconds the remaining time is a guess; the first item is slow."""


def seconds_left(finished: int, seconds: float, left: int) -> float | None:
    """Estimate the remaining seconds; None while that would be a guess."""
    if finished < MEANT_ITEMS or seconds < MEANT_SECONDS:
        return None
    return left * seconds / finished


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


@contextmanager
def progress(label: str, total: int, done: int) -> Iterator[Ticker]:
    """Show a progress bar, or occasional lines without a terminal; both give the remaining time once it is reliable."""
    if not err.is_terminal:
        yield plain_ticker(label, total, done)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    # Where there is little room the bar is short and the note is cut, and never a number.
    counts = 2 * len(str(total)) + 1
    name = cut(label, max(8, err.width - counts - 20))
    bar_width = max(4, min(40, (err.width - 50) // 2))
    room = err.width - cell_len(name) - bar_width - counts - len("0:00:00") - 4 * GAP
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=bar_width),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    started, finished = monotonic(), done
    with Progress(*columns, console=drawn(err)) as bar:
        task = bar.add_task(safe(name), total=total, completed=done, note="")

        def tick(note: str) -> None:
            nonlocal finished
            finished += 1
            left = seconds_left(finished - done, monotonic() - started, total - finished)
            told = [f"{duration(left)} left"] if left else []
            bar.update(task, advance=1, note=safe(cut(", ".join([*told, *([note] if note else [])]), room)))

        yield tick


def cut(text: str, width: int) -> str:
    """A text of at most `width` columns, with an ellipsis where it was longer."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + "…" * (width > 0)


def plain_ticker(label: str, total: int, done: int) -> Ticker:
    """Return a ticker that writes log lines at the first item, every half minute, and at the last."""
    started = last = monotonic()
    finished = done

    def tick(note: str) -> None:
        nonlocal finished, last
        finished += 1
        now = monotonic()
        if finished in (done + 1, total) or now - last >= PLAIN_EVERY_SECONDS:
            last = now
            left = seconds_left(finished - done, now - started, total - finished)
            told = [f"{duration(left)} left"] if left else []
            facts = [f"{finished}/{total}", f"{now - started:.0f} s", *told, *([note] if note else [])]
            write(err, f"{label}: {', '.join(facts)}")

    return tick
