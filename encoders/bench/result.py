"""The one shape of every bench's result: who did what, round by round, how often slower than ours, on which machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from encoders.bench.machine import MachineFacts
from tasks.errors import DataError, LongvidError
from tasks.task import JsonValue

Facts = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: seconds by the clock, of processors (all threads and ended child processes), and what else it found."""

    seconds: float
    cpu_seconds: float
    facts: Facts = field(default_factory=dict)


Way = Callable[[], Measured]


class NotMeasuredError(LongvidError):
    """Why a peer gave no figure: it is not installed, ran out of memory, hung."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way of doing the work, with the seconds of each round.

    `ratio` is the median over rounds of its time over ours in the same round: above 1, ours is faster; `cpu_ratio`
    likewise, which other work on the machine hardly moves. `missing` says why there is no figure.
    """

    name: str
    seconds: tuple[float, ...] = ()
    cpu_seconds: tuple[float, ...] = ()
    median_seconds: float | None = None
    median_cpu_seconds: float | None = None
    ratio: float | None = None
    cpu_ratio: float | None = None
    facts: Facts = field(default_factory=dict)
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same work done in several ways, ours first."""

    work: str
    rows: tuple[Row, ...]
    facts: Facts = field(default_factory=dict)

    def row(self, name: str) -> Row:
        """The way of that name."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True, slots=True)
class Result:
    """A bench's whole outcome; `details` are its own."""

    bench: str
    machine: MachineFacts
    settings: Facts
    comparisons: tuple[Comparison, ...]
    details: Facts = field(default_factory=dict)

    def to_json(self) -> str:
        """As indented JSON."""
        return json.dumps(asdict(self), indent=1, default=str) + "\n"


def read_result(path: Path) -> dict[str, Any]:
    """A result's JSON. Raises DataError when it isn't one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise DataError(f"{path} is not a bench result: no object")
        missing = [key for key in ("bench", "machine", "comparisons", "details") if key not in data]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a bench result: {error}") from error
    if missing:
        raise DataError(f"{path} is not a bench result: it has no {missing[0]}")
    return data


def cpu_seconds() -> float:
    """Processor time of this process, all its threads, and its ended children."""
    spent = os.times()
    return process_time() + spent.children_user + spent.children_system


def clocked(call: Callable[[], object], drain: Callable[[], None] = lambda: None, facts: Facts | None = None) -> Way:
    """`call` as a way: its seconds, the device drained before each reading."""

    def run() -> Measured:
        drain()
        begin, before = perf_counter(), cpu_seconds()
        call()
        drain()
        return Measured(perf_counter() - begin, cpu_seconds() - before, facts or {})

    return run


def in_turn(
    work: str,
    ways: Mapping[str, Way],
    rounds: int,
    done: Callable[[str], None],
    *,
    facts: Facts | None = None,
    warm_up: bool = True,
) -> Comparison:
    """Run every way once in each round, ours first, so that what else the machine does falls on all alike.

    With `warm_up` a round comes before that does not count. A way that raises NotMeasuredError is not run again.
    """
    found: list[dict[str, Measured]] = []
    missing: dict[str, str] = {}
    for number in range(rounds + warm_up):
        measured: dict[str, Measured] = {}
        for name, way in ways.items():
            if name in missing:
                continue
            try:
                measured[name] = way()
            except NotMeasuredError as error:
                missing[name] = str(error)
        if number or not warm_up:
            found.append(measured)
            done(f"{work}, round {len(found)} of {rounds}")
    return Comparison(work, rows_of(list(ways), found, missing), facts or {})


def rows_of(
    names: Sequence[str], rounds: Sequence[Mapping[str, Measured]], missing: Mapping[str, str]
) -> tuple[Row, ...]:
    """Rows from what was measured round by round; the first name is ours."""
    ours = names[0]
    rows = []
    for name in names:
        runs = [measured[name] for measured in rounds if name in measured]
        if not runs:
            rows.append(Row(name, missing=missing.get(name, "it gave nothing")))
            continue
        both = [(m[name], m[ours]) for m in rounds if name in m and ours in m]
        rows.append(
            Row(
                name,
                tuple(run.seconds for run in runs),
                tuple(run.cpu_seconds for run in runs),
                median(run.seconds for run in runs),
                median(run.cpu_seconds for run in runs),
                _ratio([(run.seconds, own.seconds) for run, own in both]),
                _ratio([(run.cpu_seconds, own.cpu_seconds) for run, own in both]),
                runs[-1].facts,
                missing.get(name),
            )
        )
    return tuple(rows)


def _ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    """The median of theirs over ours; None where a clock too coarse saw nothing of ours."""
    return median(theirs / ours for theirs, ours in pairs) if pairs and all(ours > 0 for _, ours in pairs) else None
