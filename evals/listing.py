"""`longvid models` and `longvid benchmarks`: what there is, from declarations alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from evals import console
from tasks import registry
from tasks.registry import SYSTEM_TITLES, ModelEntry, find_model, option_help


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
    for system, title in SYSTEM_TITLES.items():
        entries = [entry for entry in catalogue.entries.values() if entry.system == system]
        if entries:
            console.show_table(title, ("-m", "what it is"), [(entry.name, entry.summary) for entry in entries])
    from baselines.llm.load import KINDS

    console.show_table("language models (-M llm=…)", ("spec", "meaning"), [(kind.form, kind.summary) for kind in KINDS])
    warn_of(catalogue.faults)
    console.say("One model's options: longvid models NAME. A class of your own: -m path/to/file.py:Class")


def show_model(entry: ModelEntry) -> None:
    """What a model is, whom it serves, its options and an example."""
    console.say(f"{entry.name}: {entry.summary}")
    console.say(f"{SYSTEM_TITLES[entry.system]}; serves {', '.join(entry.families) or 'no family'}")
    rows = [(row.name, row.kind, row.default, row.help) for row in option_help(entry.name)]
    if rows:
        console.show_table(f"-M options of {entry.name}", ("option", "type", "default", "meaning"), rows)
    console.say(f"Example: -m {entry.name} {entry.example}".rstrip())


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
