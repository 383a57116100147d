"""`longvid sweep BENCHMARK -m MODEL --over frames=8,16,32`: measure the curve of one option, with differences and cost.

Each value is a separate run, so that a sweep can be resumed. Neighbouring values are compared item by item, and so are
the two ends; their p-values are corrected together (Holm).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from evals import console
from evals.benchmark_app import DATA, LIMIT, MODEL, OPTIONS, VIDEOS
from evals.record import Row
from tasks.errors import ModelError, RecordError
from tasks.registry import family_of
from tasks.task import Metric, figure_title

if TYPE_CHECKING:
    from markupsafe import Markup

    from evals.compare.record import Record
    from tasks.task import Task

SWEEP, PAGE = "sweep.json", "sweep.html"
LEVEL = 0.05


class Point(Row):
    """One value of the option: its run, its figure, and the cost of an item."""

    value: str
    run: str
    status: str
    metric: Metric
    frames_per_item: float | None
    prompt_tokens_per_item: float | None
    seconds_per_item: float | None
    peak_memory_bytes: int | None


class Step(Row):
    """The other value's figure minus the first's, on the items that both answered; `p` is corrected for all steps."""

    first: str
    other: str
    difference: float
    interval: tuple[float, float] | None
    p: float
    supported: bool


class Sweep(Row):
    """A curve: its points, the steps between neighbours and from first to last, and the finding in words."""

    schema_version: Literal[1] = 1
    task: str
    model: str
    options: dict[str, str]
    option: str
    points: tuple[Point, ...]
    steps: tuple[Step, ...]
    whole: Step
    finding: str


def sweep(
    benchmark: Annotated[
        str, typer.Argument(metavar="BENCHMARK[@POOL]", help="A benchmark's name, or the folder of your own.")
    ],
    model: MODEL,
    over: Annotated[str, typer.Option("--over", metavar="KEY=V1,V2,…", help="The option and the values to try.")],
    model_option: OPTIONS = None,
    data: DATA = None,
    videos: VIDEOS = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the runs and the page; default: runs/sweeps/….")
    ] = None,
    limit: LIMIT = None,
    seed: Annotated[int, typer.Option(help="Seed of the intervals and of the chance floor.")] = 0,
) -> None:
    """Run a model with several values of an option and draw the curve. Resumes by default.

    The page has the figure with its interval and its cost at each value, and the difference of each step.
    """
    from evals.benchmarks import find_target, load_task, place_of, with_videos
    from evals.run_verb import RunChoices, carry_out
    from tasks.registry import parse_options

    option, values = parse_values(over)
    options = parse_options(model_option or [])
    if option in options:
        raise ModelError(f"{option} is given by --over and by -M; remove one of them")
    named, pool = find_target(benchmark)
    found = with_videos(named, videos)
    task = load_task(found, pool or found.pools[0], data, to_ask=True)
    folder = out or Path("runs", "sweeps", f"{task.info.name}-{model.rpartition(':')[2]}-{option}".replace("/", "-"))
    folders = []
    for value in values:
        console.say(f"{option}={value}")
        place = folder / f"{option}={value}".replace("/", "-")
        choices = RunChoices(place, f"{option}={value}", limit, seed=seed, place=place_of(found))
        folders.append(carry_out(task, model, {**options, option: value}, choices)[0])
    made = make_sweep(task, model, options, option, values, folders, seed)
    (folder / SWEEP).write_text(made.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(sweep_page(made, family_name=task.info.family), encoding="utf-8")
    show(made, task.info.family)
    command = join(["longvid", "compare", str(folders[0]), str(folders[-1]), "--allow-mismatch"])
    console.say(f"page: {folder / PAGE}\nnext: {command}")


def parse_values(over: str) -> tuple[str, tuple[str, ...]]:
    """Parse option and values from `frames=8,16,32`. Raises ModelError for another form or a repeated value."""
    option, equals, listed = over.partition("=")
    values = tuple(value.strip() for value in listed.split(","))
    if not option.strip() or not equals or len(values) < 2 or not all(values):
        raise ModelError(f"--over must have the form key=value,value,… with at least two values, not '{over}'")
    if len(set(values)) < len(values):
        raise ModelError(f"--over names a value twice: {listed}")
    return option.strip(), values


def make_sweep(
    task: Task[Any],
    model: str,
    options: dict[str, str],
    option: str,
    values: Sequence[str],
    folders: Sequence[Path],
    seed: int = 0,
) -> Sweep:
    """Build the curve from finished runs. Raises RecordError if a run has no results or two have no item in common."""
    from evals.compare.record import read_records
    from evals.leaderboard.rows import cost_columns

    records = read_records(folders)
    points = []
    for value, record in zip(values, records, strict=True):
        results = record.results
        if results is None or results.primary.value is None:
            raise RecordError(f"{record.folder} has no figure to plot")
        cost = cost_columns(results.cost, None)
        points.append(
            Point(
                value=value,
                run=record.folder.name,
                status=results.status,
                metric=results.primary,
                frames_per_item=cost.frames_per_item,
                prompt_tokens_per_item=cost.prompt_tokens_per_item,
                seconds_per_item=cost.seconds_per_item,
                peak_memory_bytes=cost.peak_memory_bytes,
            )
        )
    pairs = [*pairwise(records)]
    if len(records) > 2:
        pairs.append((records[0], records[-1]))
    *between, whole = steps_of(pairs, task, seed)
    steps = tuple(between) if len(records) > 2 else (whole,)
    told = Sweep(
        task=task.info.name,
        model=model,
        options=options,
        option=option,
        points=tuple(points),
        steps=steps,
        whole=whole,
        finding="",
    )
    return told.model_copy(update={"finding": finding_of(told, task.info.family)})


def steps_of(pairs: Sequence[tuple[Record, Record]], task: Task[Any], seed: int) -> list[Step]:
    """Compare the pairs. A step is supported if its corrected p-value is below `LEVEL` and its interval excludes 0."""
    from evals.compare.build import compare
    from tasks.statistics import holm

    compared = [compare([first, other], task, allow_mismatch=True, seed=seed).pairs[0] for first, other in pairs]
    adjusted = holm([pair.test.p for pair in compared])
    return [
        Step(
            first=first.name.partition("=")[2],
            other=other.name.partition("=")[2],
            difference=pair.primary.difference,
            interval=pair.primary.interval,
            p=p,
            supported=p < LEVEL and pair.supported,
        )
        for (first, other), pair, p in zip(pairs, compared, adjusted, strict=True)
    ]


def finding_of(told: Sweep, family: str) -> str:
    """Summarise the curve in a sentence or two, claiming only changes that its steps support."""
    unit = family_of(family).unit(told.points[0].metric.name)
    figure = figure_title(told.points[0].metric.name)

    def change(step: Step) -> str:
        ends = "" if step.interval is None else f" ({' to '.join(signed(unit.scale * end) for end in step.interval)})"
        sign = "+" if step.difference >= 0 else "−"
        return f"{sign}{unit.amount(abs(step.difference))}{ends}"

    real = [step for step in told.steps if step.supported]
    named = "; ".join(f"from {step.first} to {step.other} {change(step)}" for step in real)
    whole = f"From {told.option}={told.whole.first} to {told.whole.other} {figure} changes by {change(told.whole)}"
    if not told.whole.supported:
        whole += ", which is within noise"
    if len(told.steps) == 1:
        return f"{whole}."
    if not real:
        return f"{whole}. No single step is significant."
    last = told.steps.index(real[-1])
    after = told.steps[last + 1 :]
    rest = f" Past {real[-1].other} no step is significant." if after else ""
    return f"{whole}. Significant steps: {named}.{rest}"


def signed(value: float) -> str:
    """Format a number with its sign."""
    return f"{value:+.1f}".replace("-", "−")


def rows_of(told: Sweep, family: str) -> list[tuple[str, ...]]:
    """Return the rows of the curve's table."""
    unit = family_of(family).unit(told.points[0].metric.name)
    steps = {step.other: step for step in told.steps}
    rows: list[tuple[str, ...]] = []
    for point in told.points:
        interval, step = point.metric.interval, steps.get(point.value)
        rows.append(
            (
                point.value,
                unit.text(point.metric.value or 0.0),
                "–" if interval is None else "–".join(unit.number(end) for end in interval),
                "" if step is None else f"{signed(unit.scale * step.difference)}{'' if step.supported else ' (noise)'}",
                told_or_dash(point.frames_per_item, ".0f"),
                told_or_dash(point.prompt_tokens_per_item or None, ".0f"),
                told_or_dash(point.seconds_per_item, ".2f"),
            )
        )
    return rows


def told_or_dash(value: float | None, form: str) -> str:
    """Format a number, or a dash if it was not measured."""
    return "–" if value is None else format(value, form)


COLUMNS = ("value", "figure", "95 % interval", "step", "frames / item", "tokens / item", "s / item")


def show(told: Sweep, family: str) -> None:
    """Print the finding, then the curve as a table."""
    console.say(told.finding)
    title = f"{told.task}: {told.points[0].metric.name} of {told.model} over {told.option}"
    console.show_table(title, (told.option, *COLUMNS[1:]), rows_of(told, family), COLUMNS[1:], least=COLUMNS[-3:])
    for point in told.points:
        if point.status != "complete":
            console.warn(f"{point.run} is {point.status}: not a benchmark result")


def sweep_page(told: Sweep, family_name: str) -> str:
    """Render the page: the finding, the curve, the table."""
    from evals.html_report.render import render
    from evals.html_report.table import NO_PLOTS, can_draw

    drawn = curve(told, family_name) if can_draw() else ""
    columns = (told.option, *COLUMNS[1:])
    return render(
        "sweep.html.j2", told=told, curve=drawn, no_plots=NO_PLOTS, columns=columns, rows=rows_of(told, family_name)
    )


def alt_of(told: Sweep, family: str) -> str:
    """Describe the plot in words, for screen readers."""
    unit = family_of(family).unit(told.points[0].metric.name)
    values = ", ".join(f"{point.value}: {unit.text(point.metric.value or 0.0)}" for point in told.points)
    return f"{told.points[0].metric.name} over {told.option}: {values}"


def curve(told: Sweep, family: str) -> Markup:
    """Draw the curve with its intervals; below it the seconds per item, if they were measured."""
    from markupsafe import Markup

    from evals.html_report.render import clean
    from evals.plots import PAGE, Line, Panel, lines_figure, page_svg

    metric, unit = told.points[0].metric, family_of(family).unit(told.points[0].metric.name)
    places, numeric = places_of([point.value for point in told.points])
    heights = [unit.scale * (point.metric.value or 0.0) for point in told.points]
    ends = [point.metric.interval or (point.metric.value or 0.0,) * 2 for point in told.points]
    intervals = [(unit.scale * low, unit.scale * high) for low, high in ends]
    known = [(at, point.seconds_per_item) for at, point in zip(places, told.points, strict=True)]
    timed = [(at, spent) for at, spent in known if spent is not None]
    base = 2.0 if numeric else 0.0
    ticks = [(at, clean(point.value)) for at, point in zip(places, told.points, strict=True)]
    panels = [
        Panel(
            [Line("", places, heights, intervals, role="accent")],
            y_title=f"{figure_title(metric.name)} {unit.symbol}".strip(), x_log=base, ticks=ticks, height=3,
        )
    ]  # fmt: skip
    if timed:
        spent_line = Line("", [at for at, _ in timed], [spent for _, spent in timed], role="muted")
        panels.append(Panel([spent_line], y_title="s / item", x_log=base, ticks=ticks, from_zero=True))
    panels[-1] = replace(panels[-1], x_title=clean(told.option))
    figure = lines_figure(panels, 700, 430, PAGE, stacked=True)
    return Markup(page_svg(figure, "curve", "curve", clean(alt_of(told, family))))  # noqa: S704 - texts are escaped


def places_of(values: Sequence[str]) -> tuple[list[float], bool]:
    """Return the values' positions on the axis, and whether it is logarithmic; if not, positions are their order."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return [float(place) for place in range(len(values))], False
    return (numbers, True) if min(numbers) > 0 else ([float(place) for place in range(len(values))], False)
