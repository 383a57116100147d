"""The content of a comparison, as printed and as JSON. Its schema is published in evals/schemas."""

from __future__ import annotations

from typing import Literal

from evals.leaderboard.rows import CostColumns
from evals.record import Row


class Mismatch(Row):
    """A part of the protocol that two runs must share to be compared, and don't."""

    what: str
    first: str
    other: str


class ComparedRun(Row):
    """A compared run's figure and cost on the common items."""

    name: str
    model: str
    options: dict[str, str]
    route: str | None
    imported: bool
    answered: int
    value: float
    cost: CostColumns


class Difference(Row):
    """A figure of both runs on the common items; `difference` is the other's minus the first's."""

    name: str
    first: float
    other: float
    difference: float
    interval: tuple[float, float] | None
    level: float
    method: str
    primary: bool
    higher_is_better: bool


class SignificanceTest(Row):
    """A test of the primary figure's difference; `p_adjusted` is adjusted by Holm over all comparisons with it."""

    method: str
    p: float
    p_adjusted: float


class Pair(Row):
    """The first run against another one, item by item.

    Wins are the items on which the other run scores higher than the first by the primary figure. `detectable` is the
    smallest true difference that a comparison like this one finds in four of five cases, and `items_needed` how many
    items like these would find the difference seen here as often; null where nothing varies.
    """

    first: str
    other: str
    differences: tuple[Difference, ...]
    test: SignificanceTest
    detectable: float | None
    items_needed: int | None
    wins: tuple[str, ...]
    losses: tuple[str, ...]
    ties: tuple[str, ...]
    mismatches: tuple[Mismatch, ...]
    supported: bool
    conclusion: str

    @property
    def primary(self) -> Difference:
        """The difference that the conclusion is about."""
        return next(row for row in self.differences if row.primary)


class Comparison(Row):
    """Everything that `longvid compare` reports. Each run is compared with the first."""

    schema_version: Literal[1] = 1
    task: str
    family: str
    task_items: int
    items: int
    clusters: int
    metric: str
    runs: tuple[ComparedRun, ...]
    pairs: tuple[Pair, ...]
    correction: str
    notes: tuple[str, ...]
