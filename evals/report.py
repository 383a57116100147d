"""A result never stands alone: the run, its floors and the blind model's runs on the same items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from evals.markdown import in_markdown, table_lines
from evals.record import MetricRow, Results
from evals.store import RESULTS, read_results
from tasks.caption_metrics.figures import METRICS_VERSION
from tasks.errors import RecordError
from tasks.intervals import few_clusters, superseded

NOT_MEASURED = "–"
UNIT_FREE = ("_rank", "_rank_duplicate_aware", "cider_d")
BLIND_FAMILY = "multiple-choice"
# by primary figure, with the names of figures that stand beside it
BESIDE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "text_to_video_recall_at_1": (
            "text_to_video_recall_at_5",
            "text_to_video_recall_at_10",
            "text_to_video_median_rank",
            "video_to_text_recall_at_1",
        ),
        "micro_cider_d": ("micro_bleu_4", "micro_meteor", "micro_rouge_l", "macro_cider_d", "paragraph_cider_d"),
        "summary_rouge_l": ("summary_bleu_4", "summary_meteor", "summary_cider_d"),
    }
)


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One line of a report: what it is, its primary figure, and what it cost."""

    name: str
    kind: str
    route: str
    status: str
    metric: MetricRow
    beside: tuple[MetricRow | None, ...] = ()
    unparsed: float | None = None
    seconds_per_item: float | None = None
    prompt_tokens_per_item: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The rows of one task, and what a reader has to know beside them."""

    task: str
    metric: str
    rows: tuple[ReportRow, ...]
    notes: tuple[str, ...]
    beside: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what `cells` gives."""
        return (*COLUMNS[:5], *(name.replace("_", " ") for name in self.beside), *COLUMNS[5:])

    @property
    def numeric(self) -> tuple[str, ...]:
        """The columns that hold numbers."""
        return self.columns[3:]

    @property
    def title(self) -> str:
        """The task with its pool and the figure that is shown."""
        return f"{self.task}: {self.metric}"


def blind_neighbours(folders: Sequence[Path], runs: Sequence[Results]) -> list[Results]:
    """Blind runs on the same items that lie beside the given run folders."""
    return [results for results in neighbours(folders, runs) if results.model.name == "blind"]


def neighbours(folders: Sequence[Path], runs: Sequence[Results]) -> list[Results]:
    """Other runs on the same items that lie beside the given run folders; what can't be read is passed over."""
    wanted = {(run.task.name, run.task.items_sha256) for run in runs}
    known = {run.fingerprint for run in runs}
    found = {}
    for parent in dict.fromkeys(folder.resolve().parent for folder in folders):
        for path in sorted(parent.glob(f"*/{RESULTS}")):
            try:
                results = read_results(path.parent)
            except RecordError:
                continue
            same_items = (results.task.name, results.task.items_sha256) in wanted
            if same_items and results.fingerprint not in known:
                found[results.fingerprint] = results
    return list(found.values())


def make_report(runs: Sequence[Results], blind: Iterable[Results]) -> Report:
    """Rows of the runs, then blind, then constant and chance. Raises RecordError when the tasks differ."""
    tasks = {run.task.name for run in runs}
    if len(tasks) != 1:
        msg = f"a report is on one task; these runs are on {', '.join(sorted(tasks))}"
        raise RecordError(msg)
    blind = list(blind)
    rows = [run_row(run, "run") for run in runs] + [run_row(run, "floor: blind") for run in blind]
    fullest = max(runs, key=lambda run: run.counts.answered)
    rows += [
        ReportRow(
            floor.model,
            "floor",
            "given",
            "complete",
            floor.metric,
            shown_beside(floor.others, fullest.task.primary_metric),
        )
        for floor in fullest.floors
    ]
    notes = [f"{run.name}: {note}" for run in runs for note in (*run.warnings, *scoring_notes(run))]
    if fullest.task.family == BLIND_FAMILY and not blind and all(run.model.name != "blind" for run in runs):
        notes.append(
            "no blind run on these items was found beside the run: without it nobody knows what the words alone give "
            "away; run the same with --model blind"
        )
    beside = BESIDE.get(fullest.task.primary_metric, ())
    return Report(tasks.pop(), fullest.task.primary_metric, tuple(rows), tuple(notes), beside)


def scoring_notes(run: Results) -> list[str]:
    """What has to be said of a record beside its own warnings: that today's code would score it otherwise."""
    notes = []
    if few := few_clusters(run.primary.clusters, run.task.cluster):
        notes += [few] if few not in run.warnings else []
    if any(superseded(metric.method) for metric in run.metrics):
        notes.append(
            "its intervals are by an earlier method (percentile bootstrap, too narrow with few clusters) and don't "
            "compare with those of other runs; score the run again"
        )
    if (
        run.task.family == "captioning"
        and run.counts.answered
        and run.details.get("caption_metrics") != METRICS_VERSION
    ):
        notes.append(
            "its figures are by an earlier version of the caption metrics (METEOR too low where a caption equals its "
            "reference); score the run again"
        )
    return notes


def run_row(run: Results, kind: str) -> ReportRow:
    """A run's line; where the primary figure is unknown the public one stands in, under its own name."""
    metric = run.primary
    if metric.value is None:
        metric = next((m for m in run.metrics if m.name.endswith("_public")), metric)
    unparsed = next((m.value for m in run.metrics if m.name == "unparsed_rate"), None)
    return ReportRow(
        name=run.name,
        kind="imported" if run.imported else kind,
        route=run.protocol.get("route", NOT_MEASURED),
        status=run.status,
        metric=metric,
        beside=shown_beside(run.metrics, run.task.primary_metric),
        unparsed=unparsed,
        seconds_per_item=run.cost.seconds_per_item,
        prompt_tokens_per_item=run.cost.prompt_tokens_per_item if run.cost.prompt_tokens else None,
    )


def shown_beside(metrics: Sequence[MetricRow], primary: str) -> tuple[MetricRow | None, ...]:
    """The figures that stand beside a primary one, None where they were not measured."""
    by_name = {metric.name: metric for metric in metrics}
    return tuple(by_name.get(name) for name in BESIDE.get(primary, ()))


COLUMNS = (
    "model",
    "kind",
    "route",
    "value",
    "95 % interval",
    "items / clusters",
    "unparsed",
    "s / item",
    "tokens / item",
)
NUMERIC = COLUMNS[3:]


def cells(row: ReportRow) -> tuple[str, ...]:
    """A row as text; what is not complete says so in its kind."""
    metric = row.metric
    interval = metric.interval
    named = "" if metric.primary else f" ({metric.name})"
    return (
        row.name,
        row.kind if row.status == "complete" else f"{row.kind}, {row.status}",
        row.route,
        figure(metric) + named,
        NOT_MEASURED if interval is None else "–".join(plain(metric.name, end) for end in interval),
        *(figure(other) for other in row.beside),
        f"{metric.n} / {metric.clusters}",
        NOT_MEASURED if row.unparsed is None else f"{100 * row.unparsed:.1f} %",
        NOT_MEASURED if row.seconds_per_item is None else f"{row.seconds_per_item:.2f}",
        NOT_MEASURED if row.prompt_tokens_per_item is None else f"{row.prompt_tokens_per_item:.0f}",
    )


def figure(metric: MetricRow | None) -> str:
    """A figure with its unit."""
    return NOT_MEASURED if metric is None else shown(metric.name, metric.value)


def shown(name: str, value: float | None) -> str:
    """A metric's value with its unit: fractions in percent; CIDEr-D, which is none, and ranks as they are."""
    if value is None:
        return NOT_MEASURED
    return plain(name, value) + (" %" if in_percent(name) else "")


def in_percent(name: str) -> bool:
    """Whether a metric is a fraction of 1; ranks and CIDEr-D are not."""
    return not name.endswith(UNIT_FREE)


def plain(name: str, value: float) -> str:
    """A metric's value as a number alone."""
    if in_percent(name):
        return f"{100 * value:.1f}"
    return f"{value:.3f}" if name.endswith("cider_d") else f"{value:.1f}".removesuffix(".0")


def markdown(report: Report) -> str:
    """The report as a Markdown table and a list of notes."""
    lines = [f"### {report.title}", "", *table_lines(report.columns, list(map(cells, report.rows)), report.numeric)]
    if report.notes:
        lines += ["", *(f"- {in_markdown(note)}" for note in report.notes)]
    return "\n".join(lines)
