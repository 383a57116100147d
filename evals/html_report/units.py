"""Costs as a reader takes them in: three figures and a unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from evals.leaderboard.rows import CostColumns
from evals.report import NOT_MEASURED

SUFFIXES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
BYTE_SUFFIXES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def three_figures(value: float) -> str:
    """A number that is not negative, with about three figures and no exponent."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.0e}"


def count(value: float) -> str:
    """Tokens, frames, parameters: 1,659 as `1.66k`."""
    for size, suffix in SUFFIXES:
        if value >= size:
            return f"{three_figures(value / size)}{suffix}"
    return three_figures(value)


def seconds(value: float) -> str:
    """Seconds; minutes from two minutes on, milliseconds below a tenth of a second."""
    if value < 0.1:
        return f"{three_figures(1000 * value)} ms"
    return f"{three_figures(value / 60)} min" if value >= 120 else f"{three_figures(value)} s"


def memory(value: float) -> str:
    """Bytes, in powers of ten."""
    for size, suffix in BYTE_SUFFIXES:
        if value >= size:
            return f"{three_figures(value / size)} {suffix}"
    return f"{value:.0f} B"


@dataclass(frozen=True, slots=True)
class CostKind:
    """One way to count what an answer took: names, where it stands in a row, and how it is written."""

    title: str
    short: str
    value: Callable[[CostColumns], float | None]
    text: Callable[[float], str]

    def cell(self, cost: CostColumns) -> str:
        """A row's cost as text."""
        value = self.value(cost)
        return NOT_MEASURED if value is None else self.text(value)


COSTS: Mapping[str, CostKind] = MappingProxyType(
    {
        "seconds": CostKind("time per item", "time", lambda cost: cost.seconds_per_item, seconds),
        "tokens": CostKind(
            "tokens per item",
            "tokens",
            lambda cost: (
                None
                if cost.prompt_tokens_per_item is None
                else cost.prompt_tokens_per_item + (cost.completion_tokens_per_item or 0.0)
            ),
            count,
        ),
        "frames": CostKind("frames per item", "frames", lambda cost: cost.frames_per_item, count),
        "memory": CostKind("peak memory", "memory", lambda cost: cost.peak_memory_bytes, memory),
        "parameters": CostKind("parameters", "params", lambda cost: cost.parameters, count),
    }
)
