"""`longvid sweep BENCHMARK -m MODEL --over frames=8,16,32`: measure the curve of one option, with differences and cost.

Each value is a separate run, so that a sweep can be resumed. Neighbouring values are compared item by item, and so are
the two ends; their p-values are corrected together (Holm).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from evals import console
from evals.benchmark_app import DATA, LIMIT, MODEL, OPTIONS, VIDEOS
from evals.record import Row
from tasks.errors import ModelError, RecordError
from tasks.registry import family_of
from tasks.task import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    """A curve: points as given, steps between neighbours and between the ends, and the finding in words."""

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
    over: Annotated[str, typer.Option("--over", metavar="KEY=V1,V2,…", help="The option, and its values.")],
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
        raise ModelError(f"{option} is given by --over and by -M; leave one of them out")
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
    console.say(f"page: {folder / PAGE}\nnext: longvid compare {folders[0]} {folders[-1]} --allow-mismatch")


def parse_values(over: str) -> tuple[str, tuple[str, ...]]:
    """Parse option and values from `frames=8,16,32`. Raises ModelError for another form or a repeated value."""
    option, equals, listed = over.partition("=")
    values = tuple(value.strip() for value in listed.split(","))
    if not option.strip() or not equals or len(values) < 2 or not all(values):
        raise ModelError(f"--over is of the form key=value,value,… with at least two values, not '{over}'")
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
    """Build the curve of finished runs. Raises RecordError if a run has no results or two share no item."""
    from evals.compare.record import read_records
    from evals.leaderboard.rows import cost_columns

    records = read_records(folders)
    points = []
    for value, record in zip(values, records, strict=True):
        results = record.results
        if results is None or results.primary.value is None:
            raise RecordError(f"{record.folder} has no figure to draw")
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
    """Return the pairs' differences; a step is supported if both its corrected p-value and its interval say so."""
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
    """State in a sentence or two what the curve supports: no more than its steps do."""
    unit = family_of(family).unit(told.points[0].metric.name)
    figure = told.points[0].metric.name.replace("_", " ")

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
    """Return the curve's rows as text."""
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
    console.show_table(title, (told.option, *COLUMNS[1:]), rows_of(told, family), COLUMNS[1:])
    for point in told.points:
        if point.status != "complete":
            console.warn(f"{point.run} is {point.status}: not a benchmark result")


def sweep_page(told: Sweep, family_name: str) -> str:
    """Render the page: the finding, the curve, the table."""
    from evals.html_report.render import render

    picture = io.BytesIO()
    draw(told, family_name).savefig(picture, format="svg")
    uri = f"data:image/svg+xml;base64,{base64.b64encode(picture.getvalue()).decode('ascii')}"
    columns = (told.option, *COLUMNS[1:])
    return render(
        "sweep.html.j2", told=told, picture=uri, columns=columns, rows=rows_of(told, family_name), figure=alt_of(told)
    )


def alt_of(told: Sweep) -> str:
    """Describe the picture in words."""
    values = ", ".join(f"{point.value}: {100 * (point.metric.value or 0):.1f}" for point in told.points)
    return f"{told.points[0].metric.name} over {told.option}: {values}"


def draw(told: Sweep, family: str) -> Figure:
    """Draw the curve with its intervals; below it the seconds per item, if they were measured."""
    from matplotlib.figure import Figure

    unit = family_of(family).unit(told.points[0].metric.name)
    places, numeric = places_of([point.value for point in told.points])
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    heights = [unit.scale * (point.metric.value or 0.0) for point in told.points]
    ends = [point.metric.interval or (point.metric.value or 0.0,) * 2 for point in told.points]
    error = [
        [height - unit.scale * end[0] for height, end in zip(heights, ends, strict=True)],
        [unit.scale * end[1] - height for height, end in zip(heights, ends, strict=True)],
    ]
    top.errorbar(places, heights, yerr=error, marker="o", capsize=3, color="#2458c5")
    top.set_ylabel(f"{told.points[0].metric.name.replace('_', ' ')} {unit.symbol}".strip())
    bottom.plot(
        places, [point.seconds_per_item or 0.0 for point in told.points], marker="o", color="#6b6b6b", clip_on=False
    )
    bottom.set(ylabel="s / item", xlabel=told.option)
    bottom.set_ylim(bottom=0)
    if numeric:
        bottom.set_xscale("log", base=2)
    bottom.set_xticks(places, [point.value for point in told.points])
    bottom.minorticks_off()
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def places_of(values: Sequence[str]) -> tuple[list[float], bool]:
    """Return the values' positions on the axis, and whether these are their log2 or only their order."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return [float(place) for place in range(len(values))], False
    return (numbers, True) if min(numbers) > 0 else ([float(place) for place in range(len(values))], False)
