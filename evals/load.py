"""Records as pandas frames, and plots of them, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evals.figures import breakdowns, item_figures, sample_labels
from evals.leaderboard.rows import cost_columns
from evals.store import read_results, read_samples, read_vectors
from tasks.labels import labels_of
from tasks.registry import SYSTEM_TITLES, family_of, system_of
from tasks.task import Task


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
COLOURS = dict(
    zip(SYSTEM_TITLES, ("#2458c5", "#c4570b", "#b3261e", "#75529f", "#6b6b6b", "#0d7b70", "#111111"), strict=True)
)
MARKERS = dict(zip(SYSTEM_TITLES, ("o", "s", "P", "^", "v", "D", "x"), strict=True))
SIZE = (6.4, 3.4)


def axes_of(x: str, y: str) -> tuple[Figure, Axes]:
    """Return an empty plot that belongs to no window."""
    figure = Figure(figsize=SIZE, dpi=80, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plot_cost(runs: pd.DataFrame, cost: str) -> Figure:
    """Plot the figure against one cost of `runs_frame`, with intervals; colour and shape show the kind of system."""
    figure, axes = axes_of(cost.replace("_", " "), str(runs["metric"].iloc[0]))
    axes.set_xscale("log")
    for system, rows in runs[runs[cost].notna()].groupby("system"):
        error = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
        name = str(system)
        look, colour = MARKERS[name], COLOURS[name]
        axes.errorbar(rows[cost], rows["value"], yerr=error, capsize=2, fmt=look, color=colour, label=name)
    axes.legend(frameon=False, fontsize=8)
    known = runs[runs[cost].notna() & runs["value"].notna()]
    name_points(figure, axes, [(str(row["run"]), row[cost], row["value"]) for _, row in known.iterrows()])
    return figure


LETTER, LINE = 5.4, 12.0
"""Approximate size in pixels of a letter of a point's name and of a line of names."""


def name_points(figure: Figure, axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Write each point's name beside it, moved up or down to avoid overlap, with a line to its point."""
    figure.draw_without_rendering()
    taken: list[tuple[float, float, float]] = []
    edge = axes.get_window_extent().x1
    for name, x, y in sorted(points, key=lambda point: point[2]):
        at_x, at_y = axes.transData.transform((x, y))
        wide = LETTER * len(name)
        left = at_x + 7 if at_x + 7 + wide <= edge else at_x - 7 - wide
        steps = [step * sign * LINE for step in range(len(points) + 1) for sign in (1, -1)]
        beside = [height for start, end, height in taken if left < end and start < left + wide]
        shift = next((s for s in steps if all(abs(at_y + s - height) >= LINE for height in beside)), 0.0)
        taken.append((left, left + wide, at_y + shift))
        inches = 72 / figure.dpi
        line = {"arrowstyle": "-", "linewidth": 0.6, "color": "#888888"} if shift else None
        place = ((left - at_x) * inches, (shift - 4) * inches)
        axes.annotate(name, (x, y), place, textcoords="offset points", fontsize=8, arrowprops=line)


def plot_frames(pictures: Any, seconds: Sequence[float], title: str) -> Figure:  # noqa: ANN401 - uint8 [T, H, W, 3]
    """Plot frames of a clip in a row, each with its time in seconds, under a title."""
    figure = Figure(figsize=(SIZE[0] * 1.5, 2.2), dpi=80, layout="constrained")
    for place, (picture, second) in enumerate(zip(pictures, seconds, strict=True)):
        axes = figure.add_subplot(1, len(seconds), place + 1)
        axes.imshow(picture)
        axes.set_title(f"{second:.0f} s", fontsize=8)
        axes.axis("off")
    figure.suptitle(title, fontsize=9)
    return figure


def plot_lines(frame: pd.DataFrame, x: str, lines: Sequence[str], y: str) -> Figure:
    """Plot columns of a frame as lines over another column."""
    figure, axes = axes_of(x, y)
    for line in lines:
        axes.plot(frame[x], frame[line], marker="o", markersize=3, label=line)
    axes.set_xscale("log")
    axes.legend(frameon=False, fontsize=8)
    return figure


def plot_memory(frame: pd.DataFrame) -> Figure:
    """Plot accuracy against training memory of `memory_accuracy.study_frame`, with intervals."""
    figure, axes = axes_of("activations kept in training, one clip, MB", str(frame["metric"].iloc[0]))
    axes.set_xscale("log")
    error = [frame["value"] - frame["low"], frame["high"] - frame["value"]]
    axes.errorbar(frame["activations_mb"], frame["value"], yerr=error, fmt="o", capsize=2, color=COLOURS["encoder"])
    points = [(str(row["method"]), row["activations_mb"], row["value"]) for _, row in frame.iterrows()]
    name_points(figure, axes, points)
    return figure
