"""Records as pandas frames, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from evals.store import read_results, read_samples


def samples_frame(folder: Path) -> pd.DataFrame:
    """One row per recorded item: nested fields by dotted name (`scores.accuracy`, `tokens.prompt`, `error.kind`)."""
    return pd.json_normalize([sample.model_dump(mode="json") for sample in read_samples(folder).values()])


def metrics_frame(folders: Iterable[Path]) -> pd.DataFrame:
    """One row per run and metric, floors included (`kind` is run or floor)."""
    rows = []
    for folder in folders:
        results = read_results(folder)
        shared = {"folder": str(folder), "task": results.task.name, "status": results.status}
        rows += [{**shared, "kind": "run", "model": results.name, **m.model_dump()} for m in results.metrics]
        rows += [{**shared, "kind": "floor", "model": f.model, **f.metric.model_dump()} for f in results.floors]
    return pd.DataFrame(rows)
