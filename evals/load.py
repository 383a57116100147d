"""Records as pandas frames, and plots of them, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from evals.figures import breakdowns, item_figures, sample_labels
from evals.leaderboard.rows import cost_columns
from evals.store import read_results, read_samples, read_vectors
from tasks.labels import labels_of
from tasks.registry import family_of, system_of
from tasks.task import Task, figure_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def samples_frame(folder: Path) -> pd.DataFrame:
    """One row per recorded item: nested fields by dotted name (`scores.accuracy`, `tokens.prompt`, `error.kind`)."""
    return pd.json_normalize([sample.model_dump(mode="json") for sample in read_samples(folder).values()])


def answers_frame(folder: Path, task: Task[Any]) -> pd.DataFrame:
    """One row per answered question with options: what was asked, chosen and right, and a column per kind of label."""
    items = {item.id: item for item in task.items()}
    rows = []
    for key, sample in read_samples(folder).items():
        told = family_of(task.info.family).show(items[key])
        if sample.error is not None or not isinstance(sample.answer, int) or told.answer is None:
            continue
        rows.append(
            {
                "id": key,
                "question": told.title,
                "chosen": told.options[sample.answer],
                "right": told.options[told.answer],
                "is_right": sample.answer == told.answer,
                **sample_labels(sample, labels_of(items[key])),
            }
        )
    return pd.DataFrame(rows)


def metrics_frame(folders: Iterable[Path]) -> pd.DataFrame:
    """One row per run and metric, floors included (`kind` is run or floor)."""
    rows = []
    for folder in folders:
        results = read_results(folder)
        shared = {"folder": str(folder), "task": results.task.name, "status": results.status}
        rows += [{**shared, "kind": "run", "model": results.name, **asdict(m)} for m in results.metrics]
        rows += [{**shared, "kind": "floor", "model": f.model, **asdict(f.metric)} for f in results.floors]
    return pd.DataFrame(rows)


def runs_frame(folders: Iterable[Path]) -> pd.DataFrame:
    """One row per run, best first: its primary figure, which system it is, and what an answer costs."""
    rows = []
    for folder in folders:
        results = read_results(folder)
        metric = results.primary
        low, high = metric.interval or (None, None)
        rows.append(
            {
                "run": results.name,
                "system": str(system_of(results.model.name, results.model.system, imported=results.imported)),
                "task": results.task.name,
                "status": results.status,
                "metric": metric.name,
                "value": metric.value,
                "low": low,
                "high": high,
                **cost_columns(results.cost, results.model.parameters).model_dump(),
            }
        )
    return pd.DataFrame(rows).sort_values("value", ascending=False, ignore_index=True)


def by_task(folders: Iterable[Path]) -> dict[str, list[Path]]:
    """Group complete runs by task and item set, so that they are comparable; the task with the most runs is first."""
    found: dict[tuple[str, str], list[Path]] = {}
    for folder in folders:
        results = read_results(folder)
        if results.status == "complete":
            found.setdefault((results.task.name, results.task.items_sha256), []).append(folder)
    ordered = sorted(found.items(), key=lambda pair: -len(pair[1]))
    names = [name for (name, _), _ in ordered]
    return {name if names.count(name) == 1 else f"{name}, items {digest[:8]}": runs for (name, digest), runs in ordered}


def breakdown_frame(folders: Iterable[Path]) -> pd.DataFrame:
    """One row per run, kind of label and label: n, clusters, the figure with its interval, and whether n is small.

    `figure` names the metric of `value`, which may differ between tasks.
    """
    rows = []
    for folder in folders:
        samples, results = read_samples(folder), read_results(folder)
        figures = item_figures(results.task, samples, read_vectors(folder, samples))
        labels = {key: sample_labels(sample) for key, sample in samples.items()}
        for made in breakdowns(figures, samples, labels) if figures else ():
            for group in made.groups:
                low, high = group.interval or (None, None)
                rows.append(
                    {
                        "run": results.name,
                        "kind": made.kind,
                        "label": group.label,
                        "n": group.n,
                        "clusters": group.clusters,
                        "figure": made.figure,
                        "value": group.value,
                        "low": low,
                        "high": high,
                        "small": group.small,
                    }
                )
    return pd.DataFrame(rows, columns=BREAKDOWN)


BREAKDOWN = ("run", "kind", "label", "n", "clusters", "figure", "value", "low", "high", "small")
WIDTH, HEIGHT = 660.0, 330.0
"""Size of a plot in a notebook, in points."""


COST_KINDS = {"seconds_per_item": "seconds", "frames_per_item": "frames", "peak_memory_bytes": "memory"}
"""What the pages call a column of costs, which they know how to write."""


def plot_cost(runs: pd.DataFrame, cost: str) -> Figure:
    """Plot the figure against one cost of `runs_frame`, with intervals; colour and shape show the kind of system."""
    from evals.html_report.table import COSTS
    from evals.plots import Point, Scales, Size, cost_figure

    known = runs[runs[cost].notna() & runs["value"].notna()]
    points = [
        Point(str(row["run"]), str(row["system"]), float(row[cost]), float(row["value"]), interval_of(row))
        for _, row in known.iterrows()
    ]
    kind = COSTS.get(COST_KINDS.get(cost, cost))
    title, text = (kind.title, kind.text) if kind else (cost.replace("_", " "), "{:.3g}".format)
    figure_name = figure_title(str(runs["metric"].iloc[0]))
    scales = Scales(f"{figure_name} against {title}", figure_name, text, "{:.2f}".format)
    return cost_figure(points, (), scales, Size(WIDTH, HEIGHT))


def interval_of(row: pd.Series[Any]) -> tuple[float, float] | None:
    """Return the interval of a row, or None if it has none."""
    return None if pd.isna(row["low"]) or pd.isna(row["high"]) else (float(row["low"]), float(row["high"]))


def plot_frames(pictures: Any, seconds: Sequence[float], title: str) -> Figure:  # noqa: ANN401 - uint8 [T, H, W, 3]
    """Plot frames of a clip in a row, each with its time in seconds, under a title."""
    from evals.plots import frames_figure

    return frames_figure(list(pictures), seconds, title)


def plot_lines(frame: pd.DataFrame, x: str, lines: Sequence[str], y: str) -> Figure:
    """Plot columns of a frame as lines over another column."""
    from evals.plots import Line, Panel, lines_figure

    made = [Line(line, frame[x].tolist(), frame[line].tolist()) for line in lines]
    ticks = [(at, f"{at:,}") for at in frame[x].tolist()]
    return lines_figure([Panel(made, x_title=x, y_title=y, x_log=10, ticks=ticks)], WIDTH, HEIGHT)


def plot_memory(frame: pd.DataFrame) -> Figure:
    """Plot accuracy against training memory of `memory_accuracy.study_frame`, with intervals."""
    from evals.plots import Point, Scales, Size, cost_figure

    points = [
        Point(str(row["method"]), "encoder", float(row["activations_mb"]), float(row["value"]), interval_of(row))
        for _, row in frame.iterrows()
    ]
    figure_name = figure_title(str(frame["metric"].iloc[0]))
    title = f"{figure_name} against activations kept in training, one clip, MB"
    scales = Scales(title, figure_name, "{:.3g}".format, "{:.2f}".format)
    return cost_figure(points, (), scales, Size(WIDTH, HEIGHT))
