"""What answers took, as columns: the same in the leaderboard and in comparisons."""

from __future__ import annotations

from evals.leaderboard.rows import CostColumns
from evals.record import Cost
from evals.report import NOT_MEASURED

NAMES = ("frames", "tokens in + out", "s / item", "peak GB", "parameters")


def cost_columns(cost: Cost, parameters: int | None) -> CostColumns:
    """A run's cost, with tokens only where a language model had any."""
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
    """A cell for each of `NAMES`, with how many times the `first` cost it is where that is given."""
    base = first or CostColumns()
    peak = None if cost.peak_memory_bytes is None else cost.peak_memory_bytes / 1e9
    return (
        number(cost.frames_per_item, "{:.1f}") + times(cost.frames_per_item, base.frames_per_item),
        tokens(cost) + times(cost.prompt_tokens_per_item, base.prompt_tokens_per_item),
        number(cost.seconds_per_item, "{:.3g}") + times(cost.seconds_per_item, base.seconds_per_item),
        number(peak, "{:.2f}") + times(cost.peak_memory_bytes, base.peak_memory_bytes),
        NOT_MEASURED if cost.parameters is None else count(cost.parameters),
    )


def number(value: float | None, form: str) -> str:
    """A cost, or a dash where it was not measured."""
    return NOT_MEASURED if value is None else form.format(value)


def tokens(cost: CostColumns) -> str:
    """Tokens read and written an item."""
    if cost.prompt_tokens_per_item is None:
        return NOT_MEASURED
    return f"{cost.prompt_tokens_per_item:,.0f} + {cost.completion_tokens_per_item or 0:,.0f}"


def times(value: float | None, first: float | None) -> str:
    """How many times the first cost, nothing where either is not known."""
    return f" (×{value / first:.2g})" if value is not None and first else ""


def count(parameters: int) -> str:
    """A number of parameters in millions or billions."""
    if parameters >= 10**9:
        return f"{parameters / 10**9:.1f}B"
    return f"{parameters / 10**6:.0f}M" if parameters >= 10**6 else str(parameters)
