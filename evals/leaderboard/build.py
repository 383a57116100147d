"""Build the leaderboard from records and published figures: a pure function that does not depend on their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType

from pydantic import TypeAdapter

from evals.find_runs import Found, Skipped, read_runs
from evals.leaderboard.rows import BoardRow, BoardTable, Excluded, Figure, Leaderboard, cost_columns
from evals.record import Results, Row, seal_of
from evals.report import scoring_notes
from tasks.errors import RecordError
from tasks.registry import family_of, system_of
from tasks.resources import resource
from tasks.task import Metric, few_clusters

FILE = resource("evals.leaderboard", "reference_rows.json")
AS_PUBLISHED = "as published"
NO_FIGURES: Mapping[str, Metric] = MappingProxyType({})


class Reference(Row):
    """One system's published figures on one task and pool: fractions of 1, CIDEr-D on its own scale of 0 to 10."""

    task: str
    name: str
    protocol: str
    source: str
    figures: dict[str, float]


@cache
def references() -> tuple[Reference, ...]:
    """Read all reference rows, in the file's order."""
    return TypeAdapter(tuple[Reference, ...]).validate_json(FILE.read_bytes(), strict=False)


def reference_row(reference: Reference) -> BoardRow:
    """Turn a reference into a row of a table."""
    return BoardRow(
        kind="reference",
        run_here=False,
        name=reference.name,
        model=reference.name,
        protocol={"as published": reference.protocol},
        figures=tuple(Figure(name=name, value=value, method=AS_PUBLISHED) for name, value in reference.figures.items()),
        source=reference.source,
    )


NO_VALUE = float("-inf")


def record_sha256(results: Results) -> str:
    """Return the digest in a record; for records from before digests, compute it."""
    return results.sha256 or seal_of(results.model_dump(mode="json"))


def build_leaderboard(
    records: Iterable[Results],
    unreadable: Iterable[Excluded] = (),
    published: Sequence[Reference] | None = None,
    needs: Mapping[str, Metric] = NO_FIGURES,
) -> Leaderboard:
    """One table per task and pool from complete records; others are listed as excluded.

    `published` holds the reference rows; default: those shipped. `needs` maps a record's digest to its figure on the
    questions that need the video, if flags are given.
    """
    digested = sorted(((record_sha256(results), results) for results in records), key=lambda pair: pair[0])
    excluded = list(unreadable)
    kept: dict[str, Results] = {}
    for digest, results in digested:
        reason = "a copy of another record" if digest in kept else why_not(results)
        if reason:
            excluded.append(
                Excluded(name=results.name, task=results.task.name, reason=reason, record_sha256=digest),
            )
        else:
            kept[digest] = results
    by_task: dict[tuple[str, str, str], dict[str, Results]] = {}
    for digest, results in kept.items():
        task = results.task
        by_task.setdefault((task.name, task.version, task.items_sha256), {})[digest] = results
    known = references() if published is None else published
    tables = [make_table(by_task[key], [row for row in known if row.task == key[0]], needs) for key in sorted(by_task)]
    return Leaderboard(
        tables=tuple(tables),
        excluded=tuple(sorted(excluded, key=lambda row: row.model_dump_json())),
    )


def why_not(results: Results) -> str | None:
    """Return why a record is excluded, None if it is not: only a run with an answer to every item is a result."""
    counts = results.counts
    if results.status == "complete":
        return None
    if results.limit is not None and results.limit < counts.task_items:
        return f"{results.status}: limited to {results.limit} of {counts.task_items} items"
    return f"{results.status}: {counts.answered} of {counts.task_items} items answered"


def make_table(
    runs: dict[str, Results], published: Sequence[Reference], needs: Mapping[str, Metric] = NO_FIGURES
) -> BoardTable:
    """The table of one task's complete runs (by digest), its floors and its reference rows."""
    first = next(iter(runs.values()))
    metric = first.primary
    rows = [run_row(digest, results, needs.get(digest)) for digest, results in runs.items()]
    told = tuple(dict.fromkeys(needs[digest].name for digest in runs if digest in needs))
    rows += floor_rows(runs)
    rows += [reference_row(reference) for reference in published]
    direction = 1.0 if metric.higher_is_better else -1.0

    def best_first(row: BoardRow) -> tuple[float, str]:
        figure = row.figure(metric.name)
        value = NO_VALUE if figure is None or figure.value is None else direction * figure.value
        return (-value, row.model_dump_json())

    return BoardTable(
        task=first.task,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        beside=(*told, *family_of(first.task.family).beside.get(metric.name, ())),
        rows=tuple(sorted(rows, key=best_first)),
        notes=tuple(table_notes(list(runs.values()), rows)),
    )


def run_row(digest: str, results: Results, needs: Metric | None = None) -> BoardRow:
    """A complete run as a line."""
    blind = results.model.name == "blind"
    return BoardRow(
        kind="imported" if results.imported else "blind" if blind else "run",
        run_here=not results.imported,
        name=results.name,
        model=results.model.name,
        system=system_of(results.model.name, results.model.system, imported=results.imported),
        options=results.model.options,
        route=results.protocol.get("route"),
        protocol=results.protocol,
        figures=tuple(figure_of(metric) for metric in (*results.metrics, *([needs] if needs else []))),
        cost=cost_columns(results.cost, results.model.parameters),
        warnings=results.warnings,
        fingerprint=results.fingerprint,
        record_sha256=digest,
    )


def figure_of(metric: Metric) -> Figure:
    """Turn a record's metric into a leaderboard's figure."""
    return Figure(
        name=metric.name,
        value=metric.value,
        interval=metric.interval,
        method=metric.method,
        n=metric.n,
        clusters=metric.clusters,
    )


def floor_rows(runs: dict[str, Results]) -> list[BoardRow]:
    """Return each floor once. The floors in records differ by seed; those of the lowest seed are used."""
    found: dict[str, BoardRow] = {}
    for _, results in sorted(runs.items(), key=lambda pair: (pair[1].seed, pair[0])):
        for floor in results.floors:
            figures = tuple(figure_of(metric) for metric in (floor.metric, *floor.others))
            row = BoardRow(kind="floor", run_here=True, name=floor.model, model=floor.model, figures=figures)
            found.setdefault(floor.model, row)
    return list(found.values())


def table_notes(runs: Sequence[Results], rows: Sequence[BoardRow]) -> list[str]:
    """List what a reader of the table must know."""
    notes = []
    told: dict[str, list[str]] = {}
    for results in runs:
        few = few_clusters(results.primary.clusters, results.task.cluster)
        for note in dict.fromkeys([*([few] if few else []), *scoring_notes(results)]):
            told.setdefault(note, []).append(results.name)
    notes += [note if len(names) == len(runs) else f"{', '.join(names)}: {note}" for note, names in told.items()]
    if family_of(runs[0].task.family).needs_blind and not any(row.kind == "blind" for row in rows):
        notes.append("no blind run among these records, so that it is unknown how much the words alone give away")
    if any(not row.run_here for row in rows):
        notes.append(
            "imported runs were made elsewhere and scored here; reference rows were neither run nor scored here"
        )
    return notes


def collect_leaderboard(places: Sequence[Path], flags: Sequence[Path] = ()) -> Leaderboard:
    """Read every run at or under `places` and build; `flags` are files of 'longvid flags'."""
    return board_of(*read_runs(places), flags)


def board_of(found: Sequence[Found], skipped: Sequence[Skipped], flags: Sequence[Path] = ()) -> Leaderboard:
    """The leaderboard of what was read; what could not be is excluded by its folder's name.

    Raises RecordError for flags that are of none of the runs' benchmarks.
    """
    unreadable = [Excluded(name=printable(run.folder.name), task=None, reason=printable(run.reason)) for run in skipped]
    return build_leaderboard((run.results for run in found), unreadable, needs=needs_of(found, flags))


def needs_of(found: Sequence[Found], flags: Sequence[Path]) -> dict[str, Metric]:
    """By a record's digest its figure on the questions that need the video, of complete runs that flags are for."""
    from evals.flags import flags_of, needs_metric, read_flags

    made, used = {path: read_flags(path) for path in flags}, set()
    needs: dict[str, Metric] = {}
    for run in found if flags else ():
        own = flags_of(run.results.task.name, list(made.values()))
        if own is not None:
            used.add(own.task)
        if own is not None and run.results.status == "complete":
            needs[record_sha256(run.results)] = needs_metric(run.folder, run.results, own)
    for path, told in made.items():
        if told.task not in used:
            raise RecordError(f"{path} has flags of {told.task}, and none of the runs is of it")
    return needs


def printable(text: str) -> str:
    """Make text encodable as UTF-8: a folder's name may be any bytes."""
    return text.encode("utf-8", "replace").decode()
