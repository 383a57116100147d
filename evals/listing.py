"""`longvid models` and `longvid benchmarks`: list what is registered, from declarations alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from evals import console
from tasks import registry
from tasks.registry import SYSTEM_TITLES, ModelEntry, OptionHelp, find_model, option_help

NAME_WIDTH = 22


def models(
    name: Annotated[
        str | None, typer.Argument(help="Show this model's options; a name, module:Class or file.py:Class.")
    ] = None,
) -> None:
    """List the models, or one model's -M options."""
    if name is not None:
        show_model(find_model(name))
        return
    catalogue = registry.models()
    from baselines.llm.load import KINDS

    listed = [
        (title, [(entry.name, entry.summary) for entry in catalogue.entries.values() if entry.system == system])
        for system, title in SYSTEM_TITLES.items()
    ]
    width = max(map(len, catalogue.entries))
    for title, rows in filter(lambda titled: titled[1], listed):
        console.say(title)
        say_lines(rows, width)
    console.say("language models: -M llm=…")
    say_lines([(kind.form, kind.summary) for kind in KINDS], max(len(kind.form) for kind in KINDS))
    warn_of(catalogue.faults)
    console.say("One model's options: longvid models NAME. Your own: -m path/to/file.py:Class")


def say_lines(rows: Iterable[tuple[str, str]], width: int) -> None:
    """Print each name with its summary beside it, or below it on a narrow terminal."""
    for name, summary in rows:
        say_beside(name, summary, width)


def say_beside(name: str, text: str, width: int) -> None:
    """Print a name padded to a width and a text beside it, or below it on a narrow terminal."""
    lead = f"  {name:{width}}  "
    if console.out.width < console.NARROW:
        console.say(f"  {name}")
        lead = indent = "      "
    else:
        indent = " " * len(lead)
    console.say("\n".join(console.wrapped(text, console.out.width, indent, lead)))


def show_model(entry: ModelEntry) -> None:
    """Print a model's summary, families, options and an example."""
    console.say(f"{entry.name}: {entry.summary}")
    console.say(SYSTEM_TITLES[entry.system])
    console.say(f"serves {', '.join(entry.families) or 'no family'}")
    console.say(f"Example: -m {entry.name} {entry.example}".rstrip())
    group = ""
    for row in option_help(entry.name):
        title = f"within -M {row.within}=" if row.within else row.group
        if title != group:
            console.say(f"\n{title}")
            group = title
        say_option(row)


def say_option(row: OptionHelp) -> None:
    """Print an option with its help, wrapped between words; words longer than a line stay whole."""
    default = row.default if row.default in ("", "required") else f"default {row.default}"
    kind = row.kind.replace("|", " | ")
    text = f"{row.help} [{'; '.join(filter(None, (kind, default)))}]"
    say_beside(row.name, text, NAME_WIDTH)


def benchmarks(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Data root; default: $LONGVID_DATA, ./data, ../shared/data."),
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="Show all columns, however wide the table gets.")] = False,
) -> None:
    """List the benchmarks: their pools, and where their data are."""
    from evals.benchmarks import benchmark_folder
    from tasks.errors import DataError

    catalogue = registry.benchmarks()
    rows = []
    for entry in catalogue.entries.values():
        try:
            place, is_here = console.path_text(benchmark_folder(entry, data)), "yes"
        except DataError:
            place, is_here = f"longvid prepare {entry.name}", "no"
        rows.append((entry.name, is_here, ", ".join(entry.pools), entry.title, place))
    columns = ("name", "here", "pools", "what is asked", "data")
    console.show_table("benchmarks", columns, rows, least=("data",), wide=wide)
    console.say("Files that are not here: longvid prepare NAME. Then: longvid run NAME@POOL -m MODEL")
    warn_of(catalogue.faults)


def warn_of(faults: Iterable[str]) -> None:
    """Warn of plugins that could not be loaded."""
    for fault in faults:
        console.warn(fault)
