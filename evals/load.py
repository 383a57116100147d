"""Records as pandas frames, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from evals.breakdowns import breakdowns, sample_labels
from evals.item_figures import item_figures
from evals.leaderboard.costs import cost_columns
from evals.store import read_results, read_samples
from evals.vector_store import read_vectors
from tasks.registry import system_of


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
