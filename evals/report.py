"""Report a run beside its floors and blind runs on the same items, as text and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.console import without_codes
from evals.record import Results
from evals.store import RESULTS, read_results
from tasks.errors import RecordError
from tasks.family import UNPARSED_RATE, Family
from tasks.registry import family_of
from tasks.task import Metric, few_clusters, figure_title, superseded

SIGNS = re.compile(r"([\\`*_{}\[\]<>|#!~&])")


def in_markdown(text: str) -> str:
    """Put text on one line, with everything escaped that Markdown or HTML would interpret."""
    plain = without_codes(" ".join(text.split()))
    return SIGNS.sub(r"\\\1", plain).replace("\\<", "&lt;").replace("\\>", "&gt;")


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str] = ()) -> list[str]:
    """Return the lines of a table; columns named in `numeric` are right-aligned."""
    rule = "|" + "|".join("---:" if column in numeric else "---" for column in columns) + "|"
    return [line(columns), rule, *(line(row) for row in rows)]


def line(cells: Sequence[str]) -> str:
    """Return one line of a table."""
    return "| " + " | ".join(in_markdown(cell) for cell in cells) + " |"


NOT_MEASURED = "–"
BLIND = "blind"


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One line of a report: its kind, its primary figure, and its cost."""

    name: str
    kind: str
    route: str
    status: str
    metric: Metric
    beside: tuple[Metric | None, ...] = ()
    unparsed: float | None = None
    seconds_per_item: float | None = None
    prompt_tokens_per_item: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The rows of one task, with notes for the reader."""

    task: str
    metric: str
    rows: tuple[ReportRow, ...]
    notes: tuple[str, ...]
    family: Family
    beside: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what `cells` gives."""
        return (*COLUMNS[:3], *self.named_beside, *COLUMNS[3:])

    @property
    def named_beside(self) -> tuple[str, ...]:
        """The names of the columns of `beside`."""
        return tuple(figure_title(name) for name in self.beside)

    @property
    def numeric(self) -> tuple[str, ...]:
        """The columns that hold numbers."""
        return tuple(name for name in self.columns if name not in WORDS)

    @property
    def least(self) -> tuple[str, ...]:
        """The columns that a narrow terminal drops, in this order."""
        return ("tokens / item", "unparsed", "route", "s / item", *reversed(self.named_beside), "items / clusters")

    @property
    def title(self) -> str:
        """The task with its pool and the figure that is shown."""
        return f"{self.task}: {self.metric}"


def blind_neighbours(folders: Sequence[Path], runs: Sequence[Results]) -> list[Results]:
    """Find blind runs on the same items beside the given run folders."""
    return [results for results in neighbours(folders, runs) if results.model.name == BLIND]


def neighbours(folders: Sequence[Path], runs: Sequence[Results]) -> list[Results]:
    """Find other runs on the same items beside the given run folders; unreadable ones are skipped."""
    return list(neighbour_folders(folders, runs).values())


def neighbour_folders(folders: Sequence[Path], runs: Sequence[Results]) -> dict[Path, Results]:
    """Find the same runs, by folder."""
    wanted = {(run.task.name, run.task.items_sha256) for run in runs}
    known = {run.fingerprint for run in runs}
    found: dict[Path, Results] = {}
    for parent in dict.fromkeys(folder.resolve().parent for folder in folders):
        for path in sorted(parent.glob(f"*/{RESULTS}")):
            try:
                results = read_results(path.parent)
            except RecordError:
                continue
            same_items = (results.task.name, results.task.items_sha256) in wanted
            if same_items and results.fingerprint not in known:
                known.add(results.fingerprint)
                found[path.parent] = results
    return found


def make_report(runs: Sequence[Results], blind: Iterable[Results]) -> Report:
    """Report the runs, then blind runs, then constant and chance. Raises RecordError if the tasks differ."""
    tasks = {run.task.name for run in runs}
    if len(tasks) != 1:
        msg = f"a report is on one task; these runs are on {', '.join(sorted(tasks))}"
        raise RecordError(msg)
    blind = list(blind)
    fullest = max(runs, key=lambda run: run.counts.answered)
    family = family_of(fullest.task.family)
    beside = family.beside.get(fullest.task.primary_metric, ())
    rows = [run_row(run, "run", beside) for run in runs] + [run_row(run, "floor: blind", beside) for run in blind]
    rows += [
        ReportRow(
            floor.model,
            "floor",
            "given",
            "complete",
            floor.metric,
            shown_beside(floor.others, beside),
        )
        for floor in fullest.floors
    ]
    notes = [f"{run.name}: {note}" for run in runs for note in (*run.warnings, *scoring_notes(run))]
    if family.needs_blind and not blind and all(run.model.name != "blind" for run in runs):
        notes.append(
            "no blind run on these items was found beside the run, so that it is unknown how much the words alone give "
            "away: run the same with --model blind"
        )
    return Report(tasks.pop(), fullest.task.primary_metric, tuple(rows), tuple(notes), family, beside)


def scoring_notes(run: Results) -> list[str]:
    """Warn, beyond the record's own notes, that the current code would score it differently."""
    notes = []
    if few := few_clusters(run.primary.clusters, run.task.cluster):
        notes += [few] if few not in run.warnings else []
    if any(superseded(metric.method) for metric in run.metrics):
        notes.append(
            "its intervals are by an earlier method (percentile bootstrap, too narrow with few clusters) and don't "
            "compare with those of other runs; score the run again"
        )
    if run.counts.answered and (why := family_of(run.task.family).outdated(run.details)):
        notes.append(why)
    return notes


def run_row(run: Results, kind: str, beside: Sequence[str]) -> ReportRow:
    """Return a run's line; if the primary figure is unknown, the one on public items takes its place."""
    metric = run.primary
    if metric.value is None:
        metric = next((m for m in run.metrics if m.name.endswith("_public")), metric)
    unparsed = next((m.value for m in run.metrics if m.name == UNPARSED_RATE), None)
    return ReportRow(
        name=run.name,
        kind="imported" if run.imported else kind,
        route=run.protocol.get("route", NOT_MEASURED),
        status=run.status,
        metric=metric,
        beside=shown_beside(run.metrics, beside),
        unparsed=unparsed,
        seconds_per_item=run.cost.seconds_per_item,
        prompt_tokens_per_item=run.cost.prompt_tokens_per_item if run.cost.prompt_tokens else None,
    )


def shown_beside(metrics: Sequence[Metric], names: Sequence[str]) -> tuple[Metric | None, ...]:
    """Return the figures shown beside a primary one, None where not measured."""
    by_name = {metric.name: metric for metric in metrics}
    return tuple(by_name.get(name) for name in names)


COLUMNS = (
    "model",
    "value",
    "95 % interval",
    "kind",
    "items / clusters",
    "s / item",
    "route",
    "unparsed",
    "tokens / item",
)
WORDS = ("model", "kind", "route")


def cells(row: ReportRow, family: Family) -> tuple[str, ...]:
    """Format a row; the kind of an incomplete run says so."""
    metric = row.metric
    interval = metric.interval
    named = "" if metric.primary else f" ({metric.name})"
    return (
        row.name,
        figure(metric, family) + named,
        NOT_MEASURED if interval is None else "–".join(family.unit(metric.name).number(end) for end in interval),
        *(figure(other, family) for other in row.beside),
        row.kind if row.status == "complete" else f"{row.kind}, {row.status}",
        f"{metric.n} / {metric.clusters}",
        NOT_MEASURED if row.seconds_per_item is None else f"{row.seconds_per_item:.2f}",
        row.route,
        NOT_MEASURED if row.unparsed is None else f"{100 * row.unparsed:.1f} %",
        NOT_MEASURED if row.prompt_tokens_per_item is None else f"{row.prompt_tokens_per_item:.0f}",
    )


def figure(metric: Metric | None, family: Family) -> str:
    """Format a figure with its unit."""
    return NOT_MEASURED if metric is None else shown(metric.name, metric.value, family)


def shown(name: str, value: float | None, family: Family) -> str:
    """Format a metric's value with its family's unit."""
    return NOT_MEASURED if value is None else family.unit(name).text(value)


def markdown(report: Report) -> str:
    """Render the report as a Markdown table and a list of notes."""
    lines = [
        f"### {report.title}",
        "",
        *table_lines(report.columns, [cells(row, report.family) for row in report.rows], report.numeric),
    ]
    if report.notes:
        lines += ["", *(f"- {in_markdown(note)}" for note in report.notes)]
    return "\n".join(lines)
