"""Figures that others published: shown beside ours, marked as not run here. They are data, in `reference_rows.json`."""

from __future__ import annotations

from functools import cache

from pydantic import TypeAdapter

from evals.leaderboard.rows import BoardRow, Figure
from evals.record import Row
from tasks.resources import resource

FILE = resource("evals.leaderboard", "reference_rows.json")
AS_PUBLISHED = "as published"


class Reference(Row):
    """One system's published figures on one task and pool: fractions of 1, CIDEr-D on its own scale of 0 to 10."""

    task: str
    name: str
    protocol: str
    source: str
    figures: dict[str, float]


@cache
def references() -> tuple[Reference, ...]:
    """All reference rows, in the file's order."""
    return TypeAdapter(tuple[Reference, ...]).validate_json(FILE.read_bytes(), strict=False)


def reference_row(reference: Reference) -> BoardRow:
    """A reference as a line of a table."""
    return BoardRow(
        kind="reference",
        run_here=False,
        name=reference.name,
        model=reference.name,
        protocol={"as published": reference.protocol},
        figures=tuple(Figure(name=name, value=value, method=AS_PUBLISHED) for name, value in reference.figures.items()),
        source=reference.source,
    )
