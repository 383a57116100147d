"""What the evidence allows to say: a direction only where the interval leaves out 0 and the test agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.compare.rows import Difference, Mismatch, SignificanceTest
from tasks.family import Unit

ALPHA = 0.05
ITEMS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Power:
    """What a comparison could have found: see `Pair`."""

    detectable: float | None
    items_needed: int | None


def supported(row: Difference, test: SignificanceTest) -> bool:
    """Whether the data speak for a difference: interval and adjusted test alike (ours)."""
    interval = row.interval
    apart = interval is not None and not interval[0] <= 0.0 <= interval[1]
    return apart and test.p_adjusted < ALPHA


def conclusion(
    first: str,
    other: str,
    row: Difference,
    test: SignificanceTest,
    power: Power,
    items: int,
    whole: str | None,
    unit: Unit,
) -> str:
    """The pair in words; `whole` names the task where only a part of its items is compared."""
    figure = row.name.replace("_", " ")
    if row.interval is None:
        said = f"These {items} items say nothing about {other} against {first}: {same_everywhere(row)}."
    elif supported(row, test):
        other_is_better = (row.difference > 0) == row.higher_is_better
        better, worse = (other, first) if other_is_better else (first, other)
        seen = row if other_is_better else turned(row)
        said = (
            f"{better} does better than {worse}: its {figure} is {unit.amount(abs(row.difference))} "
            f"{'higher' if row.higher_is_better else 'lower'} on the same {items} items "
            f"(95 % interval of the difference {ends(seen, unit)}, {p_text(test)})."
        )
    else:
        said = (
            f"These {items} items do not tell {other} and {first} apart: the difference in {figure} is "
            f"{signed(row.difference, unit)}, and anything within {ends(row, unit)} fits the data ({p_text(test)})."
        )
        if power.detectable is not None:
            said += (
                f" A true difference of {unit.amount(power.detectable)} would have been found in four of five "
                f"comparisons like this one."
            )
        if power.items_needed is not None:
            said += f" To find one as small as that seen, about {power.items_needed:,} items would be needed."
    if whole:
        said += f" This is about these items, not about {whole}."
    return said


def turned(row: Difference) -> Difference:
    """The same difference as the first run's minus the other's."""
    low, high = row.interval or (0.0, 0.0)
    return row.model_copy(update={"difference": -row.difference, "interval": (-high, -low)})


def same_everywhere(row: Difference) -> str:
    """Why a difference has no interval."""
    if row.difference == 0:
        return "both score the same on all of them"
    return "the difference does not vary, or all items are of one video"


def caveat(first: str, other: str, rows: Sequence[Mismatch]) -> str:
    """What stands behind a conclusion that was allowed over a mismatch."""
    if not rows:
        return ""
    what = ", ".join(f"{row.what} ({row.first} in {first}, {row.other} in {other})" for row in rows)
    return f" The runs differ in {what}: the difference is not the models' alone."


def p_text(test: SignificanceTest) -> str:
    """The p-value, adjusted where there are several comparisons."""
    value = "p < 0.0001" if test.p_adjusted < 1e-4 else f"p = {test.p_adjusted:.2g}"
    return value if test.p == test.p_adjusted else f"{value} after Holm"


def signed(value: float, unit: Unit) -> str:
    """A difference with its sign."""
    return f"{sign(value)}{unit.amount(abs(value))}"


def sign(value: float) -> str:
    """Plus or minus."""
    return "−" if value < 0 else "+"


def ends(row: Difference, unit: Unit) -> str:
    """Both ends of a difference's interval, with the unit once."""
    low, high = row.interval or (0.0, 0.0)
    return f"{signed(low, unit).removesuffix(unit.points)} to {signed(high, unit)}"


def named(ids: Sequence[str], most: int = ITEMS_SHOWN) -> str:
    """A count of items and the first of their names."""
    if not ids:
        return "0"
    more = f" … and {len(ids) - most} more" if len(ids) > most else ""
    return f"{len(ids)}: {' '.join(ids[:most])}{more}"
