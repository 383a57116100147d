"""Build a comparison from records: each run against the first, on the items that all of them answered.

In order: what must match, the differences with their tests, and the conclusions they support.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evals.compare.record import Record, is_one_item, measure
from evals.compare.rows import ComparedRun, Comparison, Difference, Mismatch, Pair, SignificanceTest
from evals.leaderboard.rows import cost_columns
from evals.results import cost_of
from tasks.collector import waiting
from tasks.errors import RecordError
from tasks.family import Common, Family, Measured, Unit
from tasks.ranks import DUPLICATE_AWARE, MEDIANS
from tasks.registry import family_of
from tasks.statistics import (
    LEVEL,
    METHOD,
    Figures,
    Floats,
    bootstrap_errors,
    difference_errors,
    difference_interval,
    holm,
    items_needed,
    mcnemar_p,
    minimum_detectable_effect,
    randomisation_p,
)
from tasks.task import Task, few_clusters, figure_title

FRAMES = "frames_"
NONE = "none recorded"
UNKNOWN = "unknown"
FRAME_POLICY = "frame policy"
DIGEST = " sha256"
DIGEST_SHOWN = 12


def mismatches(first: Record, other: Record) -> tuple[Mismatch, ...]:
    """List what differs between two runs' protocols, with both values; digests only of texts of the same name."""
    ours, theirs = facts(first), facts(other)
    ours[FRAME_POLICY], theirs[FRAME_POLICY] = only_different(ours[FRAME_POLICY], theirs[FRAME_POLICY])
    names = [
        what
        for what in dict.fromkeys((*ours, *theirs))
        if ours.get(what, NONE) != theirs.get(what, NONE) and not (what == FRAME_POLICY and unknown_which(ours, theirs))
    ]
    return tuple(
        Mismatch(what=what, first=ours.get(what, NONE), other=theirs.get(what, NONE))
        for what in names
        if what.removesuffix(DIGEST) not in names or not what.endswith(DIGEST)
    )


def facts(record: Record) -> dict[str, str]:
    """Return a run's protocol by name: task, item set, frame policy, and what the task adds."""
    task = record.run.task
    protocol = dict(record.run.protocol)
    # `score` parses replies again, so the parser that counts is the one in results.json.
    if "parser" in protocol and record.results is not None:
        protocol["parser"] = str(record.results.details.get("parser", protocol["parser"]))
    digests = {key: value[:DIGEST_SHOWN] for key, value in protocol.items() if key.endswith("sha256")}
    return {
        "task": f"{task.name} (version {task.version})",
        "item set": task.items_sha256[:DIGEST_SHOWN],
        FRAME_POLICY: frame_policy(record),
        **{key.replace("_", " "): value for key, value in {**protocol, **digests}.items()},
    }


def frame_policy(record: Record) -> str:
    """Describe the frame policy in words; if none is recorded, the mean number of frames, if known.

    What an imported run was shown is unknown where its file doesn't say; a run made here without a frame saw none.
    """
    told = {key.removeprefix(FRAMES): v for key, v in record.run.model.details.items() if key.startswith(FRAMES)}
    if told:
        return ", ".join(f"{key} {value}" for key, value in sorted(told.items()))
    counts = [sample.frames.count for sample in record.samples.values() if sample.frames is not None]
    if counts:
        return f"{UNKNOWN} ({sum(counts) / len(counts):.1f} frames a clip)"
    return UNKNOWN if record.run.imported else NONE


def only_different(first: str, other: str) -> tuple[str, str]:
    """Leave out what two lists of settings have in common; lists of which one would be empty stay whole."""
    parts = [policy.split(", ") for policy in (first, other)]
    ours, theirs = (", ".join(part for part in own if part not in others) for own, others in (parts, parts[::-1]))
    return (ours, theirs) if ours and theirs else (first, other)


def unknown_which(ours: Mapping[str, str], theirs: Mapping[str, str]) -> bool:
    """Whether neither frame policy is known, and at most one number of frames, so that nothing says they differ."""
    policies = (ours[FRAME_POLICY], theirs[FRAME_POLICY])
    return UNKNOWN in policies and all(policy.startswith(UNKNOWN) for policy in policies)


def require_same_figure(records: Sequence[Record]) -> None:
    """Raise RecordError if runs have no figure in common; no option can override that."""
    kinds = {record.name: (record.run.task.family, record.run.task.primary_metric) for record in records}
    if len(set(kinds.values())) > 1:
        said = ", ".join(f"{name} ({family}, {metric})" for name, (family, metric) in kinds.items())
        raise RecordError(f"these runs have no figure in common: {said}")


def refuse(first: Record, found: Mapping[str, Sequence[Mismatch]]) -> None:
    """Raise RecordError naming, run by run, what differs from the first, with both values."""
    said = [
        f"{name}: " + "; ".join(f"{row.what} is {row.other}, not {row.first}" for row in rows)
        for name, rows in found.items()
        if rows
    ]
    if said:
        raise RecordError(
            f"these runs are not comparable with {first.name}: {' | '.join(said)}. --allow-mismatch compares them "
            f"anyway and says so in the result"
        )


MCNEMAR = "McNemar over source videos, exact, two-sided mid-p"
MEDIAN_METHOD = "t over clusters, bootstrap standard error ({} resamples), version 2"
RANDOMISATION = "approximate randomisation over source videos, two-sided, {} draws"


@dataclass(frozen=True, slots=True)
class Contrast:
    """Differences of all figures; for the primary one also the p-value with its method, and the standard error if any.

    `freedom` is the number of degrees of freedom of the standard errors.
    """

    differences: tuple[Difference, ...]
    p: float
    method: str
    standard_error: float | None
    freedom: float

    @property
    def primary(self) -> Difference:
        """The primary figure's difference."""
        return next(row for row in self.differences if row.primary)


def contrast(first: Measured, other: Measured, common: Common, primary: str, family: Family, seed: int) -> Contrast:
    """Compare two runs on the common items; the same seed draws the same resamples for every pair."""
    rng = np.random.default_rng(seed)
    figures = first.paired(other)
    errors: dict[str, float] = {}
    freedom = 1.0
    if common.count > 1:
        errors, freedom = difference_errors(figures, common.sums(np.ones(len(common.ids))))
        if any(is_median(name) for name in errors):
            drawn = bootstrap_errors(figures, common.count, rng, first.resamples)
            errors |= {name: error for name, error in drawn.items() if is_median(name)}
    rows = [
        difference_row(
            name, *pair, errors.get(name), freedom, first, primary=name == primary, lower=family.is_lower_better(name)
        )
        for name, pair in both_values(figures, common.count).items()
    ]
    if first.binary and other.binary:
        p, method = mcnemar_p(np.rint(common.sums(other.values - first.values)).astype(int).tolist()), MCNEMAR
    else:
        p = randomisation_p(figures, primary, common.count, rng, first.resamples)
        method = RANDOMISATION.format(first.resamples)
    ordered = tuple(sorted(rows, key=lambda row: not row.primary))
    return Contrast(ordered, p, method, errors.get(primary) or None, freedom)


def is_median(name: str) -> bool:
    """Whether a figure is a median, for which the jackknife is not valid."""
    return name.removesuffix(DUPLICATE_AWARE).endswith(MEDIANS)


def both_values(figures: Figures, clusters: int) -> dict[str, tuple[float, float]]:
    """Return every figure of both runs on all common items."""
    whole, none = np.ones((1, clusters)), np.zeros((1, clusters))
    first, other = figures(np.hstack([whole, none])), figures(np.hstack([none, whole]))
    return {name: (float(values[0]), float(other[name][0])) for name, values in first.items()}


def difference_row(
    name: str,
    first: float,
    other: float,
    error: float | None,
    freedom: float,
    measured: Measured,
    *,
    primary: bool,
    lower: bool,
) -> Difference:
    """Return one figure's difference; without an interval if all source videos show the same difference."""
    interval = None if error is None else difference_interval(other - first, error, freedom, measured.bounds(name))
    method = MEDIAN_METHOD.format(measured.resamples) if is_median(name) else f"{METHOD}, paired"
    return Difference(
        name=name,
        first=first,
        other=other,
        difference=other - first,
        interval=interval,
        level=LEVEL,
        method="none (no variation)" if interval is None else method,
        primary=primary,
        higher_is_better=not lower,
    )


ALPHA = 0.05
ITEMS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Power:
    """The smallest difference that a comparison could have found; see `Pair`."""

    detectable: float | None
    items_needed: int | None


def supported(row: Difference, test: SignificanceTest) -> bool:
    """Whether both the interval and the adjusted test support a difference (our criterion)."""
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
    """State the pair's conclusion in words; `whole` names the task if only part of its items is compared."""
    figure = figure_title(row.name)
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
    """Reverse a difference: the first run's value minus the other's."""
    low, high = row.interval or (0.0, 0.0)
    return row.model_copy(update={"difference": -row.difference, "interval": (-high, -low)})


def same_everywhere(row: Difference) -> str:
    """Say why a difference has no interval."""
    if row.difference == 0:
        return "both score the same on all of them"
    return "the difference does not vary, or all items are of one video"


def caveat(first: str, other: str, rows: Sequence[Mismatch]) -> str:
    """Return the caveat added to a conclusion that was allowed despite a mismatch."""
    if not rows:
        return ""
    what = ", ".join(f"{row.what} ({row.first} in {first}, {row.other} in {other})" for row in rows)
    return f" The runs differ in {what}: the difference is not the models' alone."


def p_text(test: SignificanceTest) -> str:
    """Format the p-value, adjusted if there are several comparisons."""
    value = "p < 0.0001" if test.p_adjusted < 1e-4 else f"p = {test.p_adjusted:.2g}"
    return value if test.p == test.p_adjusted else f"{value} after Holm"


def signed(value: float, unit: Unit) -> str:
    """Format a difference with its sign."""
    return f"{sign(value)}{unit.amount(abs(value))}"


def sign(value: float) -> str:
    """Return a plus or minus sign."""
    return "−" if value < 0 else "+"


def ends(row: Difference, unit: Unit) -> str:
    """Format both ends of a difference's interval, naming the unit once."""
    low, high = row.interval or (0.0, 0.0)
    return f"{signed(low, unit).removesuffix(unit.points)} to {signed(high, unit)}"


def named(ids: Sequence[str], most: int = ITEMS_SHOWN) -> str:
    """Format a count of items with the first of their names."""
    if not ids:
        return "0"
    more = f" … and {len(ids) - most} more" if len(ids) > most else ""
    return f"{len(ids)}: {' '.join(ids[:most])}{more}"


SAME = 1e-6
APART_SHOWN = 5
UNKNOWN = "unknown"


@waiting()
def compare(
    records: Sequence[Record], task: Task[Any] | None, *, allow_mismatch: bool = False, seed: int = 0
) -> Comparison:
    """Compare every run with the first. Raises RecordError if they are not comparable and that is not allowed."""
    require_same_figure(records)
    first, *others = records
    found = {record.name: mismatches(first, record) for record in others}
    if not allow_mismatch:
        refuse(first, found)
    primary = first.run.task.primary_metric
    family = family_of(first.run.task.family)
    common, measured = measure(records, task)
    contrasts = [contrast(measured[0], other, common, primary, family, seed) for other in measured[1:]]
    adjusted = holm([pair.p for pair in contrasts])
    whole = None if len(common.ids) == first.run.task.item_count else first.run.task.name
    pairs = [
        pair_row(common, whole, first, record, numbers, p, len(others), found[record.name], family.unit(primary))
        | outcomes(common, other.values - measured[0].values)
        for record, other, numbers, p in zip(others, measured[1:], contrasts, adjusted, strict=True)
    ]
    values = [contrasts[0].primary.first, *(pair.primary.other for pair in contrasts)]
    return Comparison(
        task=first.run.task.name,
        family=first.run.task.family,
        task_items=first.run.task.item_count,
        items=len(common.ids),
        clusters=common.count,
        metric=primary,
        runs=tuple(run_row(record, common, value) for record, value in zip(records, values, strict=True)),
        pairs=tuple(Pair(**pair) for pair in pairs),
        correction="none: one comparison" if len(others) == 1 else f"Holm, {len(others)} comparisons with {first.name}",
        notes=tuple(notes(records, values, common, task)),
    )


def pair_row(
    common: Common,
    whole: str | None,
    first: Record,
    other: Record,
    numbers: Contrast,
    p_adjusted: float,
    comparisons: int,
    found: Sequence[Mismatch],
    unit: Unit,
) -> dict[str, Any]:
    """Build a pair's fields except for the items' names."""
    error, seen = numbers.standard_error, abs(numbers.primary.difference)
    power = Power(
        detectable=None if error is None else minimum_detectable_effect(error, comparisons, numbers.freedom),
        items_needed=None if error is None or not seen else items_needed(seen, error, len(common.ids)),
    )
    test = SignificanceTest(method=numbers.method, p=numbers.p, p_adjusted=p_adjusted)
    said = conclusion(first.name, other.name, numbers.primary, test, power, len(common.ids), whole, unit)
    return {
        "first": first.name,
        "other": other.name,
        "differences": numbers.differences,
        "test": test,
        "detectable": power.detectable,
        "items_needed": power.items_needed,
        "mismatches": tuple(found),
        "supported": supported(numbers.primary, test),
        "conclusion": said + caveat(first.name, other.name, found),
    }


def outcomes(common: Common, gains: Floats) -> dict[str, tuple[str, ...]]:
    """List the items on which the other run scores higher, lower and the same by the primary figure."""
    places = {"wins": gains > 0, "losses": gains < 0, "ties": gains == 0}
    return {name: tuple(common.ids[i] for i in np.flatnonzero(where)) for name, where in places.items()}


def run_row(record: Record, common: Common, value: float) -> ComparedRun:
    """Return a run's figure and cost on the common items."""
    model = record.run.model
    return ComparedRun(
        name=record.name,
        model=model.name,
        options=model.options,
        route=record.run.protocol.get("route"),
        imported=record.run.imported,
        answered=len(record.samples),
        value=value,
        cost=cost_columns(cost_of([record.samples[key] for key in common.ids]), model.parameters),
    )


def notes(records: Sequence[Record], values: Sequence[float], common: Common, task: Task[Any] | None) -> Iterator[str]:
    """Yield what a reader must know: which items, how they were parsed, and where numbers differ from the records."""
    info = records[0].run.task
    if len(common.ids) < info.item_count:
        counts = ", ".join(f"{record.name} {len(record.samples)}" for record in records)
        yield (
            f"compared on the {len(common.ids)} items that all runs answered and that can be scored, of the "
            f"{info.item_count} of {info.name} (answered: {counts}): no benchmark result"
        )
    answered = set.intersection(*(set(record.samples) for record in records))
    if apart := sorted(key for key in answered if not is_one_item(records, key)):
        named = ", ".join(apart[:APART_SHOWN]) + " …" * (len(apart) > APART_SHOWN)
        yield f"{len(apart)} items are left out: the runs looked at different segments or files ({named})"
    untold = [r.name for r in records if task is None and any(sample.clip is None for sample in r.samples.values())]
    if untold and not all(record.run.imported for record in records):
        yield f"{', '.join(untold)}: the record does not say which clips were looked at; items are matched by id"
    if few := few_clusters(common.count, info.cluster):
        yield few
    family = family_of(info.family)
    unit = family.unit(info.primary_metric)
    if task is None and family.rank is None:
        yield "the benchmark's files were not found: scores are those that were recorded"
    if family.comparison_note:
        yield family.comparison_note
    for record, value in zip(records, values, strict=True):
        told = record.results.primary.value if record.results else None
        if told is not None and len(common.ids) == len(record.samples) and abs(told - value) > SAME:
            yield (
                f"{record.name}: results.json says {unit.text(told)}, its items are now scored {unit.text(value)}; "
                f"score the run again"
            )
        if record.run.imported and record.run.protocol.get("route") == UNKNOWN:
            yield f"{record.name} was run elsewhere: how its answers were obtained is not known"
