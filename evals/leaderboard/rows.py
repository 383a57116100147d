"""The content of `leaderboard.json`: a table per task and pool, and the records left out, with the reason.

The schema is published in evals/schemas.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evals.record import Cost, Row
from evals.report import NOT_MEASURED
from tasks.task import TaskInfo

LEADERBOARD_VERSION = 1

Kind = Literal["run", "blind", "floor", "imported", "reference"]


class Figure(Row):
    """A metric of a row. `interval`, `n` and `clusters` are null where a publication does not give them."""

    name: str
    value: float | None
    interval: tuple[float, float] | None = None
    method: str
    n: int | None = None
    clusters: int | None = None


class CostColumns(Row):
    """The cost of a row's answers; null where it was not measured. An item is a video or a clip of one."""

    frames_per_item: float | None = None
    prompt_tokens_per_item: float | None = None
    completion_tokens_per_item: float | None = None
    seconds_per_item: float | None = None
    peak_memory_bytes: int | None = None
    parameters: int | None = None


class BoardRow(Row):
    """One line of a table.

    Values of `kind`: `run` and `blind` were run by longvid, `blind` by a language model that saw no video; `floor` was
    computed from the items; `imported` was run elsewhere and scored here; `reference` was neither run nor scored here,
    and `source` and `protocol` say where and how it was published. `record_sha256` names the `results.json` of a run.
    """

    kind: Kind
    run_here: bool
    name: str
    model: str
    system: str | None = None
    options: dict[str, str] = Field(default_factory=dict)
    route: str | None = None
    protocol: dict[str, str] = Field(default_factory=dict)
    figures: tuple[Figure, ...]
    cost: CostColumns = CostColumns()
    source: str | None = None
    warnings: tuple[str, ...] = ()
    fingerprint: str | None = None
    record_sha256: str | None = None

    def figure(self, name: str) -> Figure | None:
        """The row's figure of that name."""
        return next((figure for figure in self.figures if figure.name == name), None)


class BoardTable(Row):
    """All rows of one task and pool, best first; `metric` ranks them, the figures of `beside` are shown beside it."""

    task: TaskInfo
    metric: str
    higher_is_better: bool
    beside: tuple[str, ...]
    rows: tuple[BoardRow, ...]
    notes: tuple[str, ...] = ()


class Excluded(Row):
    """A record that is in no table, and why. `task` is null if the record could not be read."""

    name: str
    task: str | None
    reason: str
    record_sha256: str | None = None


class Leaderboard(Row):
    """`leaderboard.json`: a pure function of `results.json` files and of the published reference rows."""

    schema_version: Literal[1] = 1
    tables: tuple[BoardTable, ...]
    excluded: tuple[Excluded, ...] = ()


NAMES = ("frames", "tokens in + out", "s / item", "peak GB", "parameters")


def cost_columns(cost: Cost, parameters: int | None) -> CostColumns:
    """Return a run's cost, with tokens only if a language model was used."""
    used_tokens = bool(cost.prompt_tokens or cost.completion_tokens)
    return CostColumns(
        frames_per_item=cost.frames_per_item,
        prompt_tokens_per_item=cost.prompt_tokens_per_item if used_tokens else None,
        completion_tokens_per_item=cost.completion_tokens_per_item if used_tokens else None,
        seconds_per_item=cost.seconds_per_item,
        peak_memory_bytes=cost.peak_memory_bytes,
        parameters=parameters,
    )


def cost_cells(cost: CostColumns, first: CostColumns | None = None) -> tuple[str, ...]:
    """Return a cell for each of `NAMES`, with its ratio to the `first` cost if that is given."""
    base = first or CostColumns()
    peak = None if cost.peak_memory_bytes is None else cost.peak_memory_bytes / 1e9
    return (
        number(cost.frames_per_item, "{:.1f}").removesuffix(".0") + times(cost.frames_per_item, base.frames_per_item),
        tokens(cost) + times(cost.prompt_tokens_per_item, base.prompt_tokens_per_item),
        number(cost.seconds_per_item, "{:.3g}") + times(cost.seconds_per_item, base.seconds_per_item),
        number(peak, "{:.2f}") + times(cost.peak_memory_bytes, base.peak_memory_bytes),
        NOT_MEASURED if cost.parameters is None else count(cost.parameters),
    )


def number(value: float | None, form: str) -> str:
    """Format a cost, or a dash if it was not measured."""
    return NOT_MEASURED if value is None else form.format(value)


def tokens(cost: CostColumns) -> str:
    """Format prompt and completion tokens per item."""
    if cost.prompt_tokens_per_item is None:
        return NOT_MEASURED
    return f"{cost.prompt_tokens_per_item:,.0f} + {cost.completion_tokens_per_item or 0:,.0f}"


def times(value: float | None, first: float | None) -> str:
    """Format the ratio to the first cost; empty if either is unknown."""
    return f" (×{value / first:.2g})" if value is not None and first else ""


def count(parameters: int) -> str:
    """Format a number of parameters in millions or billions."""
    if parameters >= 10**9:
        return f"{parameters / 10**9:.1f}B"
    return f"{parameters / 10**6:.0f}M" if parameters >= 10**6 else str(parameters)
