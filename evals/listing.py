"""`longvid models` and `longvid benchmarks`: what there is, from declarations alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from textwrap import shorten, wrap
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
    """A line for each name with its summary, whose last words are left out where the terminal is too narrow."""
    for name, summary in rows:
        lead = f"  {name:{width}}  "
        console.say(lead + shorten(summary, console.out.width - len(lead), placeholder=" …"))


def show_model(entry: ModelEntry) -> None:
    """What a model is, whom it serves, its options and an example."""
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
    """An option with its meaning, wrapped between words: what is longer than a line is left whole."""
    default = row.default if row.default in ("", "required") else f"default {row.default}"
    kind = row.kind.replace("|", " | ")
    text = f"{row.help} [{'; '.join(filter(None, (kind, default)))}]"
    lead = f"  {row.name:{NAME_WIDTH}}  "
    lines = wrap(text, console.out.width - len(lead), break_long_words=False, break_on_hyphens=False)
    console.say("\n".join([lead + lines[0], *(" " * len(lead) + line for line in lines[1:])]))


def benchmarks(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Data root; default: $LONGVID_DATA, ./data, ../shared/data."),
    ] = None,
) -> None:
    """List the benchmarks: their pools, and where their data are."""
    from evals.benchmarks import benchmark_folder
    from tasks.errors import DataError

    catalogue = registry.benchmarks()
    rows = []
    for entry in catalogue.entries.values():
        try:
            place = str(benchmark_folder(entry, data))
        except DataError:
            place = f"not here: longvid {entry.name} prepare"
        rows.append((entry.name, entry.title, ", ".join(entry.pools), place))
    console.show_table("benchmarks", ("name", "what is asked", "pools", "data"), rows)
    warn_of(catalogue.faults)


def warn_of(faults: Iterable[str]) -> None:
    """Say which plugins could not be taken."""
    for fault in faults:
        console.warn(fault)
