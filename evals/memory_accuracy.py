"""Training memory against accuracy, method by method: counted by `longvid bench encode`, tried by `longvid study`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from encoders.bench.report import read_json
from evals.store import read_row
from evals.study_rows import Study

STUDY = Path("studies/masking/study.json")
METRIC = "text_to_video_r1"
BENCH = Path("bench.json")
QUICK_SIZE, QUICK_FRAMES = "tiny", 16


def bench_frame(path: Path | None) -> pd.DataFrame:
    """A row per method, size and frame count of a bench report; of a quick count of the tiny size where there is none.

    `training_gb` is by count, `activations_gb` what masking saves, both in 10^9 bytes. Raises DataError.
    """
    if path is not None and path.is_file():
        report = read_json(path)
    else:
        from encoders.bench.run import BenchOptions, bench

        report = bench(BenchOptions((QUICK_SIZE,), (QUICK_FRAMES,)))
    rows = [{**asdict(row), "training_gb": row.total_bytes / 1e9} for row in report.rows]
    frame = pd.DataFrame(rows)
    frame["activations_gb"] = frame["activation_bytes"] / 1e9
    return frame[["size", "frames", "method", "mask", "tokens", "trainable", "activations_gb", "training_gb"]]


def study_frame(path: Path, metric: str = METRIC) -> pd.DataFrame:
    """A row per method of a study, cheapest first: mean over seeds with its interval, and the memory it trained in.

    `activations_mb` are of one clip, `training_mb` of the batch with weights and optimiser, in 10^6 bytes.
    Raises RecordError where the file is no study.
    """
    rows = [
        {
            "method": method.method,
            "metric": figure.name,
            "value": figure.value,
            "low": figure.interval[0] if figure.interval else figure.value,
            "high": figure.interval[1] if figure.interval else figure.value,
            "seeds": figure.seeds,
            "activations_mb": method.cost.activation_bytes / 1e6,
            "training_mb": method.cost.training_bytes / 1e6,
        }
        for method in read_row(path, Study).methods
        for figure in method.figures
        if figure.name == metric
    ]
    return pd.DataFrame(rows).sort_values("activations_mb", ignore_index=True)
