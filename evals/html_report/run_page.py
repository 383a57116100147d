"""The page of one run: its figure beside its floors, its cost, its breakdowns, and every item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from baselines.captions import CaptionFile, load_captions
from evals import console
from evals.figures import Breakdown, Group, ItemFigures, breakdowns, depth_grid, item_figures, sample_labels
from evals.flags import NEED, Flags, flags_of, need_labels, read_flags
from evals.html_report.items import (
    CAPTIONS_DIGEST,
    OUTCOMES,
    Budget,
    Card,
    ItemView,
    admitted_reels,
    from_both_ends,
    item_view,
    make_cards,
    standing_of,
    with_captions,
    within_budget,
    worst_and_best,
)
from evals.html_report.render import clipped, render, terms
from evals.html_report.table import BAR_WIDTH as BAR_END
from evals.html_report.table import Bar, TableView, bar_scale, grid_rows, memory, seconds, table_view
from evals.leaderboard.build import make_table, record_sha256, references
from evals.leaderboard.rows import Figure
from evals.provenance import changes, commit_text
from evals.record import Results, Sample
from evals.report import figure, neighbours
from evals.results import WAIT, prediction_of
from evals.store import PAGE, RESULTS, Vectors, read_results, read_samples, read_vectors, write_atomic
from tasks.collector import waiting
from tasks.errors import DataError, RecordError
from tasks.family import Family
from tasks.labels import labels_of
from tasks.multiple_choice import option_names
from tasks.registry import family_of
from tasks.task import Item, Metric, Task, figure_title

LABEL_LETTERS = 80
GROUPS_SHOWN = 12
LEADS_SHOWN = 5
SAME = 0.05
AGREES = 5e-4  # figures print to a tenth of a percent


@dataclass(frozen=True, slots=True)
class Lead:
    """The difference between a run and a reference figure, in the figure's unit."""

    name: str
    kind: str
    figure: str
    points: float

    @property
    def sign(self) -> str:
        """Whether it is above, below, or the same in the digits shown."""
        return "even" if abs(self.points) < SAME else "up" if self.points > 0 else "down"


@dataclass(frozen=True, slots=True)
class GroupView:
    """The line of one label."""

    label: str
    n: int
    clusters: int
    figure: str
    interval: str
    bar: Bar
    small: bool


@dataclass(frozen=True, slots=True)
class BreakdownView:
    """A breakdown's table: `overall` is the position of the run's figure on bars; rows beyond `shown` are folded."""

    kind: str
    figure: str
    groups: tuple[GroupView, ...]
    overall: float
    shown: int = GROUPS_SHOWN


@dataclass(frozen=True, slots=True)
class Count:
    """How often an option was chosen and how often it is right, as shares of the larger count."""

    letter: str
    chosen: int
    right: int
    chosen_share: float
    right_share: float


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the work: its time per item, and its share of the whole."""

    name: str
    text: str
    share: float


def leads(results: Results, view: TableView, family: Family) -> list[Lead]:
    """Return the run's differences from its floors and from blind runs, the smallest first."""
    own = shown_metric(results).value
    scale = family.unit(results.primary.name).scale
    if own is None:
        return []
    rows = [row for row in view.rows if row.kind in {"floor", "blind"} and not row.here and row.value is not None]
    found = [Lead(row.name, row.kind, row.figure, scale * (own - (row.value or 0.0))) for row in rows]
    return sorted(found, key=lambda lead: abs(lead.points))[:LEADS_SHOWN]


def shown_metric(results: Results) -> Metric:
    """Return the primary figure or, if it is unknown, the one on public items."""
    primary = results.primary
    if primary.value is not None:
        return primary
    return next((m for m in results.metrics if m.name.endswith("_public") and m.value is not None), primary)


def breakdown_views(made: Sequence[Breakdown], figures: ItemFigures | None, family: Family) -> list[BreakdownView]:
    """Put all breakdowns on one scale, so that their bars can be compared; small groups do not widen it."""
    if figures is None or not made:
        return []
    overall = sum(figures.values.values()) / len(figures.values)
    groups = [group for breakdown in made for group in breakdown.groups]
    large = [group for group in groups if not group.small]
    everything = [as_figure(figures.name, group) for group in large or groups]
    everything.append(Figure(name=figures.name, value=overall, method=""))
    scale, unit = bar_scale(everything), family.unit(figures.name)

    def line(group: Group) -> GroupView:
        ends = group.interval or (group.value, group.value)
        return GroupView(
            label=clipped(group.label, LABEL_LETTERS),
            n=group.n,
            clusters=group.clusters,
            figure=unit.number(group.value),
            interval="–" if group.interval is None else "–".join(map(unit.number, group.interval)),
            bar=Bar(*(within(scale(value)) for value in (group.value, *ends))),
            small=group.small,
        )

    return [
        BreakdownView(
            clipped(breakdown.kind, LABEL_LETTERS),
            figure_title(breakdown.figure),
            tuple(line(group) for group in breakdown.groups),
            scale(overall),
        )
        for breakdown in made
    ]


def within(place: float) -> float:
    """Clamp a position to the bar; small groups may exceed the scale of the larger ones."""
    return min(max(place, 0.0), BAR_END)


def as_figure(name: str, group: Group) -> Figure:
    """Turn a group's value into a figure for the scale."""
    return Figure(name=name, value=group.value, interval=group.interval, method="")


def option_counts(results: Results) -> list[Count]:
    """Count how often each option was chosen and right; empty if the details hold no such counts."""
    chosen, right = results.details.get("chosen_counts"), results.details.get("answer_counts")
    if not isinstance(chosen, list) or not isinstance(right, list) or len(chosen) != len(right):
        return []
    pairs = list(zip(chosen, right, strict=True))
    if not pairs or not all(isinstance(n, int) and n >= 0 for pair in pairs for n in pair):
        return []
    counts = [(int(str(c)), int(str(r))) for c, r in pairs]
    most = max(max(pair) for pair in counts) or 1
    return [
        Count(letter, c, r, 100 * c / most, 100 * r / most)
        for letter, (c, r) in zip(option_names(len(counts)), counts, strict=True)
    ]


def stages(results: Results) -> list[Stage]:
    """Return seconds per item by stage, the longest first, with the rest that no stage accounts for."""
    total, answered = results.cost.seconds, results.counts.answered
    spent = results.cost.seconds_by_stage
    # Decoding delayed the model only while the model waited for it.
    overlapped = {"decode"} if WAIT in spent else set()
    known = {name: value for name, value in spent.items() if value > 0 and name not in overlapped}
    if WAIT in known:
        known["waiting for frames"] = known.pop(WAIT)
    if not total or not answered or not known:
        return []
    rest = total - sum(known.values())
    parts = sorted(known.items(), key=lambda part: -part[1]) + ([("other", rest)] if rest > 0.01 * total else [])
    whole = max(total, sum(value for _, value in parts))
    return [Stage(clipped(name, 40), seconds(value / answered), 100 * value / whole) for name, value in parts]


def facts(results: Results) -> list[tuple[str, str]]:
    """List what identifies the run: task, model, protocol, machine."""
    model, provenance, task = results.model, results.provenance, results.task
    rows = [
        ("task", f"{task.name}, version {task.version}"),
        ("items", f"{task.item_count:,}, digest {task.items_sha256[:16]}"),
        ("model", model.name),
        *((f"option {name}", value) for name, value in model.options.items()),
        ("parameters", "" if model.parameters is None else f"{model.parameters:,}"),
        ("weights", (model.weights_sha256 or "")[:16]),
        ("device", " ".join(part for part in (model.device, model.dtype) if part)),
        *results.protocol.items(),
        ("seed", str(results.seed)),
        ("peak memory", "" if results.cost.peak_memory_bytes is None else memory(results.cost.peak_memory_bytes)),
        ("command", " ".join(provenance.argv)),
        ("code", commit_text(provenance) if provenance.commit else ""),
        ("versions", ", ".join(f"{name} {version}" for name, version in provenance.versions.items())),
        ("platform", provenance.platform),
        ("started", provenance.created),
        *resumed_facts(results),
        ("source", task.source),
        ("licence", task.licence),
        ("citation", task.citation),
    ]
    return [(clipped(name, 60), clipped(value, 600)) for name, value in rows if value]


def resumed_facts(results: Results) -> list[tuple[str, str]]:
    """List when the run was resumed by other code, on another machine or by another command, and what changed."""
    rows, before = [], results.provenance
    if results.resumed:
        begun = results.counts.answered - sum(part.answered for part in results.resumed)
        rows.append(("answers by that code", f"{begun:,} of {results.counts.answered:,}"))
    for number, part in enumerate(results.resumed, start=1):
        told = "; ".join(changes(before, part.provenance))
        rows.append((f"resumed {number}", f"{part.provenance.created}, {part.answered:,} answers; changed: {told}"))
        before = part.provenance
    return rows


def other_figures(results: Results, family: Family) -> list[tuple[str, str, str]]:
    """List all figures except the headline's: name, value, interval."""
    first = shown_metric(results)
    return [
        (
            clipped(figure_title(metric.name), LABEL_LETTERS),
            figure(metric, family),
            "–" if metric.interval is None else "–".join(map(family.unit(metric.name).number, metric.interval)),
        )
        for metric in results.metrics
        if metric is not first
    ]


def differs(results: Results, figures: ItemFigures | None) -> bool:
    """Whether the items' mean differs from the recorded figure, which means that another parser read them."""
    if figures is None or not figures.values:
        return False
    recorded = {metric.name: metric for metric in results.metrics}.get(figures.name)
    if recorded is None or recorded.value is None or recorded.n != len(figures.values):
        return False
    return abs(sum(figures.values.values()) / len(figures.values) - recorded.value) > AGREES


CARDS = 6
HITS = 3


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The content of a run directory, and the results of neighbouring runs on the same items."""

    results: Results
    samples: Mapping[str, Sample]
    vectors: Mapping[str, Vectors]
    neighbours: tuple[Results, ...] = ()


def read_run_files(folder: Path) -> RunFiles:
    """Read everything that a page needs from a run directory. Raises RecordError."""
    results, samples = read_results(folder), read_samples(folder)
    if sum(metric.primary for metric in results.metrics) != 1:
        msg = f"{folder / RESULTS} must have exactly one primary metric"
        raise RecordError(msg)
    return RunFiles(results, samples, read_vectors(folder, samples))


@waiting()
def run_page(
    files: RunFiles,
    task: Task[Any] | None = None,
    captions: CaptionFile | None = None,
    flags: Flags | None = None,
    *,
    media: bool = False,
) -> str:
    """Render the page. Without `task` (the benchmark's files are missing) it has no questions, texts or pictures.

    With `media` it plays the videos of this machine; with `flags` the figure is broken down by what needs the video.
    """
    results = files.results
    items: dict[str, Item] = {item.id: item for item in task.items()} if task is not None else {}
    samples = files.samples if task is None else reread(task, items, files)
    vectors = {key: files.vectors[key] for key in samples if key in files.vectors}
    family = family_of(results.task.family)
    figures = item_figures(results.task, samples, vectors)
    rankings = family.rank(vectors, HITS) if family.rank is not None and vectors else {}
    labels = all_labels(samples, items, flags)

    def view_of(key: str) -> ItemView:
        item = items.get(key)
        return item_view(samples[key], item, figures, labels[key], rankings, family, captions, media=media)

    standings = (standing_of(sample, items.get(key), figures, rankings, family) for key, sample in samples.items())
    ordered = sorted(standings, key=lambda one: one.worth)
    kept = within_budget(from_both_ends([one.key for one in ordered]), view_of)
    worst, best = ([view_of(key) for key in keys] for keys in worst_and_best(ordered, CARDS))
    budget = Budget()
    metric = shown_metric(results)
    table = run_table(files)
    lowest, highest = (list(make_cards(views, items, samples, budget, family)) for views in (worst, best))
    shown, unpictured = listed_items([one.key for one in ordered if one.key in kept], kept, items, budget)
    made = breakdowns(figures, samples, labels) if figures else []
    grid = depth_grid(figures, samples, labels) if figures else None
    return render(
        "run.html.j2",
        media=media,
        results=results,
        metric=metric,
        headline="" if metric.value is None else family.unit(metric.name).number(metric.value),
        interval="" if metric.interval is None else "–".join(map(family.unit(metric.name).number, metric.interval)),
        view=table,
        leads=leads(results, table, family),
        figures=other_figures(results, family),
        breakdowns=breakdown_views(made, figures, family),
        grid=grid,
        grid_rows=grid_rows(grid, family.unit(grid.figure)) if grid else [],
        counts=option_counts(results),
        stages=stages(results),
        facts=facts(results),
        worst=lowest,
        best=highest,
        no_pictures=no_pictures([*lowest, *highest]),
        items=shown,
        left_out=len(ordered) - len(kept),
        unpictured=unpictured,
        outcomes=[(o, sum(v.outcome == o for v in shown)) for o in OUTCOMES if any(v.outcome == o for v in shown)],
        has_items=bool(items),
        kinds=label_kinds(shown),
        older=differs(results, figures),
        terms=terms([results.task.family]),
        captions_read=captions is None or CAPTIONS_DIGEST in results.model.details,
    )


def listed_items(
    order: Sequence[str], kept: Mapping[str, ItemView], items: Mapping[str, Item], budget: Budget
) -> tuple[list[ItemView], int]:
    """Return the kept views in order with their captions and reels, and how many have none if others have one."""
    shown = with_captions([kept[key] for key in order], budget)
    pictured = admitted_reels(list(kept), kept, items, budget)
    found = [replace(view, reel=pictured.get(view.key)) for view in shown]
    return found, len(found) - len(pictured) if pictured else 0


def all_labels(
    samples: Mapping[str, Sample], items: Mapping[str, Item], flags: Flags | None
) -> dict[str, dict[str, str]]:
    """Return every sample's labels by kind, with `flags` also whether it needs the video."""
    labels = {
        key: sample_labels(sample, labels_of(items[key]) if key in items else None) for key, sample in samples.items()
    }
    if flags is not None:
        for key, need in need_labels(list(labels), flags).items():
            labels[key][NEED] = need
    return labels


MOST_LABELS = 40
"""Our choice: a kind with more labels than this is not offered as a filter."""


def label_kinds(labelled: Iterable[Labelled]) -> list[tuple[str, list[str]]]:
    """Return the kinds of label that split some items, each with its labels."""
    kinds: dict[str, dict[str, None]] = {}
    for one in labelled:
        for kind, label in one.labels.items():
            kinds.setdefault(kind, {})[label] = None
    return [(kind, sorted(labels)) for kind, labels in kinds.items() if 1 < len(labels) <= MOST_LABELS]


class Labelled(Protocol):
    """Something with labels by kind."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels by kind."""


def no_pictures(cards: Sequence[Card]) -> str:
    """Say why no card has pictures; empty if one has."""
    reasons = [card.strip.why_not for card in cards if not card.strip.frames]
    return next(iter(reasons), "") if len(reasons) == len(cards) else ""


def reread(task: Task[Any], items: Mapping[str, Item], files: RunFiles) -> dict[str, Sample]:
    """Parse the samples again with the current parser, in the task's order; samples of unknown items are left out."""
    return {
        key: reread_sample(task, item, files.samples[key], files.vectors.get(key))
        for key, item in items.items()
        if key in files.samples
    }


def reread_sample(task: Task[Any], item: Item, sample: Sample, vectors: Vectors | None) -> Sample:
    """Return a sample with the answer, rule and scores of the current code."""
    if sample.error is not None:
        return sample
    prediction = task.reread(item, prediction_of(sample, vectors))
    scores = dict(task.score(item, prediction).values)
    if (prediction.answer, prediction.rule, scores) == (sample.answer, sample.rule, sample.scores):
        return sample
    return sample.model_copy(update={"answer": prediction.answer, "rule": prediction.rule, "scores": scores})


def run_table(files: RunFiles) -> TableView:
    """Table the run with its neighbours, floors and published figures; an incomplete run with its floors only.

    Figures on other items would not be comparable.
    """
    own = record_sha256(files.results)
    runs, published = {own: files.results}, []
    if files.results.status == "complete":
        runs |= {record_sha256(results): results for results in files.neighbours}
        published = [row for row in references() if row.task == files.results.task.name]
    return table_view(make_table(runs, published), here=own)


@dataclass(frozen=True, slots=True)
class Written:
    """A page on disk: its size in bytes, and notes on how it was made."""

    path: Path
    size: int
    notes: tuple[str, ...]


def write_run_page(
    folder: Path,
    out: Path,
    task: Task[Any] | None,
    captions: Path | None = None,
    beside: Sequence[Results] | None = None,
    *,
    media: bool = False,
    flags: Path | None = None,
) -> Written:
    """Write the page of a run beside other complete runs on its items; None takes those in neighbouring folders.

    Raises RecordError, and DataError if the caption file is not the run's.
    """
    files = read_run_files(folder)
    if beside is None:
        beside = neighbours([folder], [files.results])
    own = files.results.task
    same = ((run, run.task) for run in beside if run.status == "complete")
    beside = tuple(run for run, it in same if (it.name, it.items_sha256) == (own.name, own.items_sha256))
    notes = []
    if task is not None and task.info.items_sha256 != files.results.task.items_sha256:
        notes.append(f"{folder} is a run on other items than this {task.info.name}: the page has no questions")
        task = None
    read = run_captions(files.results, captions) if captions else None
    made = None if flags is None else flags_for(files.results, flags)
    page = run_page(replace(files, neighbours=beside), task, read, made, media=media)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, page)
    return Written(out, len(page.encode("utf-8")), tuple(notes))


def flags_for(results: Results, path: Path) -> Flags:
    """The flags of a file. Raises RecordError where they are of another benchmark than the run."""
    made = read_flags(path)
    if flags_of(results.task.name, [made]) is None:
        raise RecordError(f"{path} has flags of {made.task}, {results.name} is a run of {results.task.name}")
    return made


def run_captions(results: Results, path: Path) -> CaptionFile:
    """Read the captions that a run used. Raises DataError if the file's digest differs from the recorded one."""
    file = load_captions(path)
    recorded = results.model.details.get(CAPTIONS_DIGEST)
    if recorded is not None and recorded != file.sha256:
        raise DataError(f"captions file {path} is not the one that {results.name} read: its digest differs")
    return file


def make_page(
    folders: Sequence[Path],
    out: Path | None,
    captions: Path | None,
    load_task: Callable[[], Task[Any]],
    *,
    media: bool = False,
    flags: Path | None = None,
) -> None:
    """Write one run's page; if the benchmark's files are missing, it has no questions and pictures, and says so."""
    if len(folders) != 1:
        raise RecordError(
            f"a page is on one run, not {len(folders)}; for many there is 'longvid leaderboard -o x.html'"
        )
    task = None
    try:
        task = load_task()
    except DataError as error:
        console.warn(f"the page has no questions, texts or pictures: {error}")
    written = write_run_page(folders[0], out or folders[0] / PAGE, task, captions, media=media, flags=flags)
    for note in written.notes:
        console.warn(note)
    console.say(f"wrote {written.path} ({written.size / 1e6:.1f} MB)")
