"""Options that every bench has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

REPEATS = Annotated[int, typer.Option(min=1, help="Rounds; each runs every way in turn, and medians count.")]
JSON = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the whole result here; - prints it instead of the tables."),
]
