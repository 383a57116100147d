"""Records as pandas frames, and plots of them, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evals.figures import breakdowns, item_figures, sample_labels
from evals.leaderboard.rows import cost_columns
from evals.store import read_results, read_samples, read_vectors
from tasks.registry import SYSTEM_TITLES, system_of


def samples_frame(folder: Path) -> pd.DataFrame:
    """One row per recorded item: nested fields by dotted name (`scores.accuracy`, `tokens.prompt`, `error.kind`)."""
    return pd.json_normalize([sample.model_dump(mode="json") for sample in read_samples(folder).values()])


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


def breakdown_frame(folders: Iterable[Path]) -> pd.DataFrame:
    """One row per run, kind of label and label: n, clusters, the figure with its interval, and whether n is small."""
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
                        made.figure: group.value,
                        "low": low,
                        "high": high,
                        "small": group.small,
                    }
                )
    return pd.DataFrame(rows)


COLOURS = dict(
    zip(SYSTEM_TITLES, ("#2458c5", "#c4570b", "#b3261e", "#75529f", "#6b6b6b", "#0d7b70", "#111111"), strict=True)
)
MARKERS = dict(zip(SYSTEM_TITLES, ("o", "s", "P", "^", "v", "D", "x"), strict=True))
SIZE = (6.4, 3.4)


def axes_of(x: str, y: str) -> tuple[Figure, Axes]:
    """An empty plot that belongs to no window."""
    figure = Figure(figsize=SIZE, dpi=80, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plot_cost(runs: pd.DataFrame, cost: str) -> Figure:
    """Figure against one cost of `runs_frame`, with intervals; a colour and a shape for each kind of system."""
    figure, axes = axes_of(cost.replace("_", " "), str(runs["metric"].iloc[0]))
    axes.set_xscale("log")
    for system, rows in runs[runs[cost].notna()].groupby("system"):
        error = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
        name = str(system)
        look, colour = MARKERS[name], COLOURS[name]
        axes.errorbar(rows[cost], rows["value"], yerr=error, capsize=2, fmt=look, color=colour, label=name)
        for _, row in rows.iterrows():
            axes.annotate(str(row["run"]), (row[cost], row["value"]), (6, 4), textcoords="offset points", fontsize=8)
    axes.legend(frameon=False, fontsize=8)
    return figure


def plot_lines(frame: pd.DataFrame, x: str, lines: Sequence[str], y: str) -> Figure:
    """Columns of a frame as lines over one of them."""
    figure, axes = axes_of(x, y)
    for line in lines:
        axes.plot(frame[x], frame[line], marker="o", markersize=3, label=line)
    axes.set_xscale("log")
    axes.legend(frameon=False, fontsize=8)
    return figure


def plot_memory(frame: pd.DataFrame) -> Figure:
    """Accuracy against training memory of `memory_accuracy.study_frame`, with intervals."""
    figure, axes = axes_of("activations kept in training, one clip, MB", str(frame["metric"].iloc[0]))
    axes.set_xscale("log")
    error = [frame["value"] - frame["low"], frame["high"] - frame["value"]]
    axes.errorbar(frame["activations_mb"], frame["value"], yerr=error, fmt="o", capsize=2, color=COLOURS["encoder"])
    for _, row in frame.iterrows():
        place = (row["activations_mb"], row["value"])
        axes.annotate(str(row["method"]), place, (4, 3), textcoords="offset points", fontsize=7)
    return figure
